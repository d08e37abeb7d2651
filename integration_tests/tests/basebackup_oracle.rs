//! Clones of the moments that the oracle's workload notes: each starts at once, holds in every table what the primary held then, is whole
//! (`pg_amcheck --heapallindexed --rootdescend`, checksums), takes the same workload itself, and is whole afterwards and after
//! a restart.
//!
//! Not all moments are cloned unless `BASEBACKUP_ALL_LSNS` is set to 1: then also some chosen at random, and each as a standby as well.

use std::env;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use integration_tests::workload::{self, Workload};
use integration_tests::{
    Cluster, ClusterOptions, Contents, Counters, Lab, RunAs, TIMELINE, WalDump, in_scratch, random_record_ends,
};
use pgdata::Lsn;

/// How many moments are chosen at random.
const RANDOM: usize = 5;
/// The round of the workload on a clone: what it makes has other names than all before.
const ROUND_ON_CLONE: u32 = 40;

#[test]
fn with_checksums() {
    // In the second noted moment transactions are prepared, and one is open.
    in_scratch("clones", |dir| run(dir, &workload::options().with_checksums(), &[1]));
}

/// `pg_resetwal` has set the counters before the run.
#[test]
fn without_checksums_and_with_high_counters() {
    let counters = Counters {
        xid: (3 << 20) - 600,
        epoch: 2,
        multixact: (1 << 16) - 40,
        member: 52_352 - 60,
        wal_segment: (1 << 12) - 4,
    };
    let mut options = workload::options().with("track_commit_timestamp", "on");
    options.counters = Some(counters);
    in_scratch("clones_high", |dir| run(dir, &options, &[3]));
}

fn run(dir: &Path, options: &ClusterOptions, few: &[usize]) -> Result<()> {
    let mut lab = Lab::start(dir, options)?;
    Workload::set_up(&lab.primary)?;
    lab.attach()?;
    let mut work = Workload::resume(&lab.primary, 0);
    let mut held = Vec::new();
    work.round_with(|_| {
        held.push(Contents::of(&lab.primary)?);
        Ok(())
    })?;
    let end = lab.primary.current_lsn()?;
    // It installs the extension that standbys want to have from their primary.
    lab.primary.amcheck(false)?;
    let moments: Vec<(Lsn, Contents)> = work.noted().iter().copied().zip(held).collect();
    ensure!(moments.len() >= 4, "only {} moments were noted", moments.len());
    let all = env::var("BASEBACKUP_ALL_LSNS").is_ok_and(|all| all != "0");
    for (number, (lsn, held)) in moments.iter().enumerate() {
        if all || few.contains(&number) {
            clone_at(&lab, &dir.join(format!("clone-{number}")), *lsn, Some(held))?;
            if all {
                standby_at(&lab, &dir.join(format!("standby-{number}")), *lsn)?;
            }
        } else {
            println!("{lsn}: noted, and left out: BASEBACKUP_ALL_LSNS is not set");
        }
    }
    if all {
        let dump = WalDump::new(lab.primary.install(), &lab.primary.data().join("pg_wal"));
        let records = dump.records(moments[0].0, end)?;
        let size = u64::from(options.wal_segment_mb) << 20;
        for lsn in random_record_ends(&records, size, RANDOM) {
            clone_at(&lab, &dir.join(format!("clone-{}", lsn.0)), lsn, None)?;
            standby_at(&lab, &dir.join(format!("standby-{}", lsn.0)), lsn)?;
        }
    } else {
        println!("{RANDOM} moments at random are left out: BASEBACKUP_ALL_LSNS is not set");
    }
    lab.pageserver.sigterm()
}

fn backup(lab: &Lab, dir: &Path, lsn: Lsn, more: &[&str]) -> Result<Cluster> {
    RunAs::server_user().make_dir(dir)?;
    let data = dir.join("data");
    let (at, data) = (lsn.to_string(), data.to_str().context("a strange path")?);
    lab.pageserver.cli(&[&["basebackup", TIMELINE, "--at", &at, "-D", data], more].concat())?;
    Cluster::adopt(lab.primary.install(), dir)
}

fn clone_at(lab: &Lab, dir: &Path, lsn: Lsn, held: Option<&Contents>) -> Result<()> {
    let mut clone = backup(lab, dir, lsn, &[])?;
    let checksums = clone.verify_checksums()?;
    check_clone(&mut clone, held).with_context(|| format!("the clone at {lsn}"))?;
    ensure!(clone.verify_checksums()? == checksums, "the clone at {lsn} changed its mind about checksums");
    let tables = held.map_or_else(|| "not known".to_owned(), |held| held.tables().to_string());
    println!("{lsn}: a clone is whole (tables with their contents: {tables}; checksums: {checksums})");
    std::fs::remove_dir_all(dir)?;
    Ok(())
}

fn check_clone(clone: &mut Cluster, held: Option<&Contents>) -> Result<()> {
    clone.start()?;
    if let Some(held) = held {
        let differences = held.differences(&Contents::of(clone)?);
        ensure!(differences.is_empty(), "then, and in the clone: {differences:#?}");
    }
    clone.amcheck(false)?;
    // What waits for prepared transactions would wait for ever.
    clone.roll_back_prepared()?;
    clone.amcheck(true)?;
    Workload::resume(clone, ROUND_ON_CLONE).round()?;
    clone.amcheck(true)?;
    clone.restart()?;
    clone.amcheck(true)?;
    clone.stop()
}

/// A standby from there catches up and is whole.
fn standby_at(lab: &Lab, dir: &Path, lsn: Lsn) -> Result<()> {
    let mut standby = backup(lab, dir, lsn, &["--standby", "--primary-conninfo", &lab.primary.conninfo()])?;
    standby.start()?;
    standby.wait_for_replay(&lab.primary)?;
    let differences = Contents::of(&lab.primary)?.differences(&Contents::of(&standby)?);
    ensure!(differences.is_empty(), "the primary, and the standby from {lsn}: {differences:#?}");
    standby.amcheck(false)?;
    standby.stop()?;
    standby.verify_checksums()?;
    println!("{lsn}: a standby from there has followed the primary");
    std::fs::remove_dir_all(dir)?;
    Ok(())
}
