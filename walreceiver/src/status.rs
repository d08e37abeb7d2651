//! What a receiver is doing, for whoever asks.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use pgdata::Lsn;

use crate::error::Error;

/// Where a timeline ended and which one follows: the primary was promoted or recovered to a point in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimelineSwitch {
    /// The timeline that ended.
    pub timeline: u32,
    /// The timeline that follows.
    pub next_timeline: u32,
    /// The position at which it begins: the first byte that does not belong to `timeline`.
    pub switch_lsn: Lsn,
}

/// What a receiver is doing.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum State {
    /// Not connected yet, or connecting.
    Connecting,
    /// Connected; WAL arrives as the server writes it.
    Streaming,
    /// Waiting before the next attempt.
    Backoff {
        /// When the next attempt begins.
        until: SystemTime,
        /// How many attempts failed in a row.
        failures: u32,
        /// Why the last one failed.
        error: Arc<Error>,
    },
    /// All WAL of the timeline was received; the server goes on with another one.
    TimelineSwitched(TimelineSwitch),
    /// Ended by an error that another attempt would meet again.
    Failed {
        /// What has to be cured first.
        error: Arc<Error>,
    },
    /// Ended because it was asked to.
    Stopped,
}

/// A moment of a receiver.
#[derive(Clone, Debug)]
pub struct StatusSnapshot {
    /// What it is doing.
    pub state: State,
    /// The position after the last byte given to the sink.
    pub received: Lsn,
    /// The last `flushed` position of the sink: what the server was told.
    pub flushed: Lsn,
    /// The end of the server's WAL as it last said; its distance from `received` is the lag.
    pub server_end: Lsn,
    /// Since when the present connection streams; `None` while none does.
    pub connected_since: Option<SystemTime>,
    /// When the server last sent anything.
    pub last_message: Option<SystemTime>,
    /// The timeline that is, or is to be, streamed; 0 before the first attempt.
    pub timeline: u32,
    /// How often streaming began.
    pub connections: u64,
    /// Bytes of WAL received over all connections.
    pub bytes: u64,
}

/// The status of one receiver, shared by it and by those who ask. Clones are the same status.
#[derive(Clone, Debug)]
pub struct ReceiverStatus {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    now: Mutex<StatusSnapshot>,
    changed: Condvar,
}

impl Default for ReceiverStatus {
    fn default() -> Self {
        Self::new()
    }
}

impl ReceiverStatus {
    /// A status of a receiver that has not begun: [`State::Connecting`], all positions [`Lsn::INVALID`].
    #[must_use]
    pub fn new() -> Self {
        let now = Mutex::new(StatusSnapshot {
            state: State::Connecting,
            received: Lsn::INVALID,
            flushed: Lsn::INVALID,
            server_end: Lsn::INVALID,
            connected_since: None,
            last_message: None,
            timeline: 0,
            connections: 0,
            bytes: 0,
        });
        ReceiverStatus { shared: Arc::new(Shared { now, changed: Condvar::new() }) }
    }

    /// The present moment.
    #[must_use]
    pub fn snapshot(&self) -> StatusSnapshot {
        // Nothing panics while the lock is held; if something did, the numbers are still whole.
        self.shared.now.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until the status is such that `is_it` says so, or `limit` has passed; the moment when it ended.
    #[must_use]
    pub fn wait_until(&self, limit: Duration, is_it: impl Fn(&StatusSnapshot) -> bool) -> StatusSnapshot {
        let now = self.shared.now.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.shared.changed.wait_timeout_while(now, limit, |now| !is_it(now));
        waited.unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    pub(crate) fn update(&self, change: impl FnOnce(&mut StatusSnapshot)) {
        change(&mut self.shared.now.lock().unwrap_or_else(PoisonError::into_inner));
        self.shared.changed.notify_all();
    }

    /// Sets a state in which no connection streams.
    pub(crate) fn leave_streaming(&self, state: State) {
        self.update(|status| {
            status.state = state;
            status.connected_since = None;
        });
    }
}
