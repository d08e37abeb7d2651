//! The main job: attach a busy PostgreSQL, follow its WAL while it works, and read every page at many LSNs exactly as a standby
//! that was stopped there has it on disk.

use anyhow::{Result, ensure};
use integration_tests::workload::{self, Workload, start_pgbench};
use integration_tests::{ClusterOptions, Lab, in_scratch};
use rustix::process::Signal;
use std::path::Path;

#[test]
fn every_page_is_what_a_standby_has() {
    in_scratch("oracle", |dir| run(dir, &workload::options(), 2));
}

/// With checksums, hint bits reach the WAL, and pages carry `pd_checksum` as the standby's files do. Commit timestamps add an SLRU.
#[test]
fn checksums_and_commit_timestamps() {
    in_scratch("checksums", |dir| {
        run(dir, &workload::options().with_checksums().with("track_commit_timestamp", "on"), 1)
    });
}

/// One round before the attach, so that there is much to copy; `rounds` after it; pgbench all the while.
fn run(dir: &Path, options: &ClusterOptions, rounds: usize) -> Result<()> {
    let mut lab = Lab::start(dir, options)?;
    lab.make_many_images()?;
    let bench = start_pgbench(&lab.primary, 2)?;
    let mut before = Workload::set_up(&lab.primary)?;
    before.round()?;
    let round = before.rounds();
    lab.attach()?;
    let mut work = Workload::resume(&lab.primary, round);
    for _ in 0..rounds {
        work.round()?;
    }
    let noted = work.noted().to_vec();
    bench.end_by(Signal::TERM)?;
    let reports = lab.compare(&noted, 5)?;
    lab.ensure_images()?;
    ensure!(reports.len() > noted.len(), "no LSN was chosen at random");
    ensure!(reports.iter().any(|(_, report)| report.absent > 0), "nothing was dropped");
    Ok(())
}
