//! The corners of PostgreSQL's counters and of its crashes: segments of SLRUs begin, wrap around and go; records are torn. The same
//! comparison as everywhere, and the proof that the records in question were there.

use std::path::Path;

use anyhow::{Result, ensure};
use integration_tests::workload::{self, Workload, corners};
use integration_tests::{ClusterOptions, Counters, Lab, in_scratch};

/// The first transaction id of the second segment of `pg_xact`, which is near the first of a segment of `pg_commit_ts` too, and the first
/// multixact and the first member of the second segments of theirs.
const SECOND_XACT_SEGMENT: u32 = 1 << 20;
const SECOND_OFFSETS_SEGMENT: u32 = 1 << 16;
const SECOND_MEMBERS_SEGMENT: u32 = 52_352;

/// Second segments begin and first ones go; WAL segments are small, their numbers carry over, and the general workload runs as well.
#[test]
fn second_segments() {
    let counters = Counters {
        xid: SECOND_XACT_SEGMENT - 600,
        epoch: 0,
        multixact: SECOND_OFFSETS_SEGMENT - 40,
        member: SECOND_MEMBERS_SEGMENT - 60,
        wal_segment: (1 << 12) - 4,
    };
    let mut options = workload::options().with("wal_level", "logical").with("wal_compression", "on");
    options.wal_segment_mb = 1;
    in_scratch("corners", |dir| run(dir, options, counters, 1));
}

/// Every counter wraps around.
#[test]
fn wraparound() {
    let counters = Counters {
        xid: u32::MAX - 1500,
        epoch: 7,
        multixact: u32::MAX - 200,
        member: u32::MAX - 300,
        wal_segment: (1 << 8) - 1,
    };
    let options = ClusterOptions::default().with_checksums().with("autovacuum", "off").with("shared_buffers", "4MB");
    in_scratch("wraparound", |dir| run(dir, options, counters, 0));
}

fn run(dir: &Path, options: ClusterOptions, counters: Counters, rounds: u32) -> Result<()> {
    let mut options = options.with("track_commit_timestamp", "on");
    options.counters = Some(counters);
    let hints = options.checksums;
    let mut lab = Lab::start(dir, &options)?;
    lab.make_many_images()?;
    lab.attach()?;
    let mut noted = corners::run(&mut lab.primary)?;
    if rounds > 0 {
        let mut work = Workload::set_up(&lab.primary)?;
        for _ in 0..rounds {
            work.round()?;
        }
        noted.extend_from_slice(work.noted());
    }
    // What has been followed as it came is now read back from the log, torn record and all.
    lab.pageserver.kill9()?;
    lab.pageserver.start()?;
    let compared = lab.compare(&noted, 4)?;
    lab.ensure_images()?;
    ensure!(compared.len() > noted.len(), "no LSN was chosen at random");
    for kind in corners::KINDS {
        let count = lab.kinds().get(*kind).copied().unwrap_or(0);
        println!("{kind}: {count}");
        let only_with_checksums = *kind == "XLOG FPI_FOR_HINT";
        ensure!(count > 0 || (only_with_checksums && !hints), "there was no record {kind}: {:?}", lab.kinds());
    }
    Ok(())
}
