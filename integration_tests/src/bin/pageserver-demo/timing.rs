//! How long single page reads take.

use std::time::{Duration, Instant};

use anyhow::Result;
use integration_tests::{Random, StreamSource};
use pgdata::{Lsn, RelTag};

/// Reads to measure.
pub const READS: usize = 2000;

/// What was measured.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// Half of the reads took at most this long.
    pub median: Duration,
    /// Of a hundred reads, 99 took at most this long.
    pub p99: Duration,
}

/// Reads random blocks of a table at random ones of `lsns`, one after the other, each with its way there and back.
pub fn measure(pages: &mut StreamSource, table: RelTag, blocks: u32, lsns: &[Lsn]) -> Result<Timing> {
    let mut random = Random::new(1);
    let mut took = Vec::with_capacity(READS);
    for _ in 0..READS {
        let (block, lsn) = (random.below(blocks as usize) as u32, lsns[random.below(lsns.len())]);
        let start = Instant::now();
        pages.stream().page(table, block, lsn)?;
        took.push(start.elapsed());
    }
    took.sort_unstable();
    Ok(Timing { median: took[READS / 2], p99: took[READS * 99 / 100] })
}
