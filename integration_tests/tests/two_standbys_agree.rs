//! The oracle is itself sound: two standbys of one base backup, one led from LSN to LSN and one that goes straight to the last,
//! have the same bytes in every page; and a byte that differs is found.

use std::fs::File;
use std::os::unix::fs::FileExt;

use anyhow::{Context, Result, ensure};
use integration_tests::workload::{self, Workload, start_pgbench};
use integration_tests::{
    Cluster, Comparison, DataFiles, Random, Standby, WalDump, choose_lsns, current_lsn, in_scratch,
};
use pgdata::{Lsn, Object};
use rustix::process::Signal;

const SEGMENT: u64 = 16 << 20;

#[test]
fn two_standbys_agree() {
    in_scratch("standbys", |dir| {
        let start = std::time::Instant::now();
        let mut primary = Cluster::start_new(&dir.join("primary"), &workload::options())?;
        let mut work = Workload::set_up(&primary)?;
        let bench = start_pgbench(&primary, 2)?;
        println!("{:?}: set up", start.elapsed());
        let mut straight = Standby::from_backup_of(&primary, &dir.join("straight"))?;
        let mut led = Standby::unpack(&dir.join("straight.tar"), &dir.join("led"), &primary)?;
        let first = primary.current_lsn()?;
        work.round()?;
        work.round()?;
        println!("{:?}: worked", start.elapsed());
        let noted = work.noted().to_vec();
        bench.end_by(Signal::TERM)?;
        let end = current_lsn(&mut primary.connect("postgres")?)?;
        primary.stop()?;
        let wal = WalDump::new(primary.install(), &primary.data().join("pg_wal"));
        let records = wal.records(first, end)?;
        let lsns = choose_lsns(&records, SEGMENT, &noted, 4, &mut Random::new(1));
        println!("{:?}: {} records, {} LSNs", start.elapsed(), records.len(), lsns.len());
        ensure!(lsns.len() >= noted.len(), "too few LSNs: {lsns:?}");
        for lsn in &lsns {
            led.advance(*lsn)?;
            println!("{:?}: led to {lsn}", start.elapsed());
        }
        let last = *lsns.last().context("no LSN")?;
        let led_files = DataFiles::scan(&led.data())?;
        straight.advance(last)?;
        let mut straight_files = DataFiles::scan(&straight.data())?;
        println!("{:?}: straight to {last}", start.elapsed());
        let report = Comparison::default().at(last, &led_files, &mut straight_files, &wal)?;
        println!("{:?}: {report}", start.elapsed());
        find_a_flipped_bit(last, &led_files, &mut straight_files, &wal)
    });
}

/// Flips one bit in the last block of the largest relation and expects the comparison to name the block.
fn find_a_flipped_bit(lsn: Lsn, left: &DataFiles, right: &mut DataFiles, wal: &WalDump) -> Result<()> {
    let relations =
        right.objects().filter(|object| matches!(object, Object::Relation(rel) if rel.fork == pgdata::Fork::Main));
    let victim = relations.max_by_key(|object| right.size(*object)).context("no relation")?;
    let block = right.size(victim).context("no size")? - 1;
    let (path, offset) = right.place(victim, block).context("no place")?;
    let file = File::options().read(true).write(true).open(path)?;
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset + 5000)?;
    file.write_all_at(&[byte[0] ^ 4], offset + 5000)?;
    let error = Comparison::default().at(lsn, left, right, wal).expect_err("a flipped bit has to be found").to_string();
    let expected = format!("{victim} block {block}: 1 bytes differ, at offsets [5000]");
    ensure!(error.contains(&expected), "{error}\ndoes not say: {expected}");
    Ok(())
}
