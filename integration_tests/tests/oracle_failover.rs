//! The oracle across failovers: the workload goes on on a copy of the primary that was promoted, and on a copy of that; every page is what a
//! standby has that followed the same switches, before and after them.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use integration_tests::workload::{self, Workload};
use integration_tests::{Cluster, DumpedRecord, Lab, PageSource, Random, WalDump, choose_lsns, in_scratch, run};
use pgdata::{Lsn, Timelines};

const SEGMENT: u64 = 16 << 20;

/// A promotion (`END_OF_RECOVERY`), a kill of the pageserver, and a recovery to the end of a killed primary's WAL, which a checkpoint ends.
#[test]
fn every_page_is_what_a_standby_has_over_two_failovers() {
    in_scratch("oracle-failover", |dir| {
        let options = workload::options();
        let mut lab = Lab::start(dir, &options)?;
        lab.make_many_images()?;
        Workload::set_up(&lab.primary)?;
        lab.attach()?;
        let attached = lab.primary.current_lsn()?;
        let mut work = Workload::resume(&lab.primary, 0);
        work.round()?;
        let mut noted = work.noted().to_vec();
        let end = lab.primary.current_lsn()?;
        lab.primary.stop()?;
        let backup = lab.relay.base_backup()?;

        let mut second = Cluster::restored(&lab.primary, &[], &backup, &dir.join("second"), &options, false)?;
        second.promote_at(end)?;
        ensure!(second.timeline()? == 2, "the promoted standby is not on timeline 2");
        lab.relay.point_at(second.port());
        let mut work = Workload::resume(&second, 1);
        work.round_with(|step| {
            if step == 2 {
                lab.pageserver.kill9()?;
                lab.pageserver.start()?;
            }
            Ok(())
        })?;
        noted.extend_from_slice(work.noted());
        let second_end = second.current_lsn()?;
        second.kill9()?;

        let others = [&second];
        let mut third = Cluster::restored(&lab.primary, &others, &backup, &dir.join("third"), &options, true)?;
        ensure!(third.timeline()? == 3, "the recovered copy is not on timeline 3");
        lab.relay.point_at(third.port());
        let mut work = Workload::resume(&third, 2);
        work.round()?;
        noted.extend_from_slice(work.noted());
        let third_end = third.current_lsn()?;
        // A server that stops waits for those who follow it, but not for one that is just about to come back.
        lab.pages()?.relation_blocks("1663/5/1259".parse()?, third_end)?;
        third.stop()?;

        // What has been followed as it came is now read back from the log.
        lab.pageserver.kill9()?;
        lab.pageserver.start()?;
        let history = std::fs::read(third.data().join("pg_wal/00000003.history"))?;
        let history = Timelines::parse(3, &history)?;
        let mut records = dump(&lab.primary, 1, attached, end)?;
        records.extend(dump(&second, 2, history.end_of(1).context("no switch")?, second_end)?);
        records.extend(dump(&third, 3, history.begin(), third_end)?);
        let lsns = choose_lsns(&records, SEGMENT, &noted, 3, &mut Random::new(end.0));
        ensure!(noted.iter().all(|lsn| lsns.contains(lsn)), "not all of {noted:?} are among {lsns:?}");
        lab.compare_over(&lsns, &[&second, &third])?;
        lab.ensure_images()?;
        for timeline in 1..=3 {
            let count = lsns.iter().filter(|lsn| history.before(**lsn) == timeline).count();
            ensure!(count >= 4, "only {count} LSNs were compared on timeline {timeline}");
        }
        waldump_reads_ours(&lab, &history, attached, third_end)
    });
}

fn dump(server: &Cluster, timeline: u32, from: Lsn, to: Lsn) -> Result<Vec<DumpedRecord>> {
    let wal = server.data().join("pg_wal");
    WalDump::new(server.install(), &wal).on_timeline(timeline).records(from, to)
}

/// `pg_waldump` finds the same records in the pageserver's files as it would in a primary's, on each timeline up to its end.
fn waldump_reads_ours(lab: &Lab, history: &Timelines, from: Lsn, to: Lsn) -> Result<()> {
    let wal = lab.pageserver.wal_files()?;
    let mut at = from;
    for timeline in 1..=3 {
        let end = history.end_of(timeline).unwrap_or(to);
        let mut command = lab.primary.install().command("pg_waldump");
        command.arg("--path").arg(readable_copy(lab, &wal)?).arg(format!("--timeline={timeline}"));
        let output = run(command.arg(format!("--start={at}")).arg(format!("--end={end}")))?;
        let records = output.stdout.split(|&byte| byte == b'\n').count();
        ensure!(records > 1000, "pg_waldump finds {records} records of timeline {timeline}");
        at = end;
    }
    Ok(())
}

/// The files as the servers' user may read them.
fn readable_copy(lab: &Lab, wal: &Path) -> Result<std::path::PathBuf> {
    let copy = lab.primary.data().with_file_name("pageserver-wal");
    if !copy.exists() {
        std::fs::create_dir(&copy)?;
        for entry in std::fs::read_dir(wal)? {
            let entry = entry?;
            std::fs::copy(entry.path(), copy.join(entry.file_name()))?;
        }
        integration_tests::RunAs::server_user().own_all(&copy)?;
    }
    Ok(copy)
}
