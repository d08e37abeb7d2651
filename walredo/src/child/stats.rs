//! What a pool of redo processes has done.

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
    /// Processes started, the first included.
    pub starts: u64,
    /// Processes that failed: died, timed out or broke the protocol.
    pub failures: u64,
    /// Time spent talking to processes, all threads together.
    pub busy: Duration,
}

/// The counters behind [`RedoStats`].
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) pages: AtomicU64,
    pub(super) records: AtomicU64,
    pub(super) errors: AtomicU64,
    pub(super) starts: AtomicU64,
    pub(super) failures: AtomicU64,
    pub(super) busy_nanos: AtomicU64,
}

impl Counters {
    pub(super) fn add(counter: &AtomicU64, value: u64) {
        counter.fetch_add(value, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> RedoStats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        RedoStats {
            pages: get(&self.pages),
            records: get(&self.records),
            errors: get(&self.errors),
            starts: get(&self.starts),
            failures: get(&self.failures),
            busy: Duration::from_nanos(get(&self.busy_nanos)),
        }
    }
}
