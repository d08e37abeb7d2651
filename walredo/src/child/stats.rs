//! What a pool of redo processes has done.

use std::ops::AddAssign;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Counters of a pool since its start. Read at slightly different moments: sums need not match exactly.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RedoStats {
    /// Pages made.
    pub pages: u64,
    /// Records applied in making them.
    pub records: u64,
    /// Requests that failed for good.
    pub errors: u64,
    /// Processes that there are now, those that are being started included.
    pub processes: u64,
    /// Processes started, the first included.
    pub starts: u64,
    /// Processes that failed: died, timed out or broke the protocol. Another takes the place of each when there is need of it.
    pub failures: u64,
    /// Those of the failed processes that gave no answer in time.
    pub timeouts: u64,
    /// Time spent talking to processes, all threads together.
    pub busy: Duration,
}

/// Another pool's work besides.
impl AddAssign for RedoStats {
    fn add_assign(&mut self, other: RedoStats) {
        self.pages += other.pages;
        self.records += other.records;
        self.errors += other.errors;
        self.processes += other.processes;
        self.starts += other.starts;
        self.failures += other.failures;
        self.timeouts += other.timeouts;
        self.busy += other.busy;
    }
}

/// The counters behind [`RedoStats`].
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) pages: AtomicU64,
    pub(super) records: AtomicU64,
    pub(super) errors: AtomicU64,
    pub(super) starts: AtomicU64,
    pub(super) failures: AtomicU64,
    pub(super) timeouts: AtomicU64,
    pub(super) busy_nanos: AtomicU64,
}

impl Counters {
    pub(super) fn add(counter: &AtomicU64, value: u64) {
        counter.fetch_add(value, Ordering::Relaxed);
    }

    /// With the number of processes, which is no counter.
    pub(super) fn read(&self, processes: usize) -> RedoStats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        RedoStats {
            pages: get(&self.pages),
            records: get(&self.records),
            errors: get(&self.errors),
            processes: processes as u64,
            starts: get(&self.starts),
            failures: get(&self.failures),
            timeouts: get(&self.timeouts),
            busy: Duration::from_nanos(get(&self.busy_nanos)),
        }
    }
}
