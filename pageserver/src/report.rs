//! What is known of each timeline at a moment: `status` says it in words, `/metrics` in numbers, `/readyz` in one word.

use std::time::{Duration, SystemTime};

use pgdata::{Lsn, PgVersion};
use repository::{BrokenTimeline, Status, Timeline};
use walreceiver::{State, StatusSnapshot};

use crate::advice;
use crate::backend::Pageserver;

/// One timeline.
pub struct TimelineReport {
    pub name: String,
    pub id: String,
    pub state: TimelineState,
    /// What is to be said about the state; empty if there is nothing.
    pub detail: String,
    /// `None` for a timeline that cannot be opened.
    pub numbers: Option<Numbers>,
}

/// What a timeline is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimelineState {
    /// It takes the primary's WAL as it is written.
    Streaming,
    /// As [`TimelineState::Streaming`], and the WAL of its base backup has not all arrived: it cannot be read yet.
    CatchingUp,
    Connecting,
    /// The connection failed and will be tried again.
    Retrying,
    /// It follows nobody.
    Detached,
    /// It was asked to follow nobody any more.
    Stopped,
    /// The primary went on with another timeline.
    Ended,
    /// It takes no more WAL. What it has can be read.
    Failed,
    /// It cannot be opened.
    Broken,
}

impl TimelineState {
    /// All of them.
    pub const ALL: [TimelineState; 9] = [
        TimelineState::Streaming,
        TimelineState::CatchingUp,
        TimelineState::Connecting,
        TimelineState::Retrying,
        TimelineState::Detached,
        TimelineState::Stopped,
        TimelineState::Ended,
        TimelineState::Failed,
        TimelineState::Broken,
    ];

    /// In words.
    pub const fn words(self) -> &'static str {
        match self {
            TimelineState::Streaming => "streaming",
            TimelineState::CatchingUp => "catching up",
            TimelineState::Connecting => "connecting",
            TimelineState::Retrying => "retrying",
            TimelineState::Detached => "detached",
            TimelineState::Stopped => "stopped",
            TimelineState::Ended => "ended",
            TimelineState::Failed => "failed",
            TimelineState::Broken => "broken",
        }
    }
}

/// What a timeline that is open holds, and how far it is.
pub struct Numbers {
    pub version: PgVersion,
    pub status: Status,
    /// How it follows its primary, if it does.
    pub following: Option<Following>,
}

/// A timeline's receiver.
pub struct Following {
    pub receiver: StatusSnapshot,
    /// The time since the primary's WAL was last known to end where the timeline is now.
    pub lag: Duration,
}

impl Numbers {
    /// Whether there is an LSN that can be read at.
    pub fn is_readable(&self) -> bool {
        self.status.last_record_lsn >= self.status.consistent_lsn
    }

    /// The end of the primary's WAL, as far as it is known.
    pub fn primary_lsn(&self) -> Option<Lsn> {
        self.following.as_ref().map(|following| following.receiver.server_end).filter(|end| end.is_valid())
    }

    /// Bytes of WAL that the primary has and readers do not see.
    pub fn lag_bytes(&self) -> Option<u64> {
        self.primary_lsn().map(|end| end.bytes_since(self.status.last_record_lsn))
    }
}

/// All timelines: the open ones by id, then the broken ones.
pub fn timelines(server: &Pageserver) -> Vec<TimelineReport> {
    let open = server.repository.timelines();
    let open = open.iter().map(|timeline| of_open(server, timeline));
    open.chain(server.repository.broken().iter().map(of_broken)).collect()
}

/// A timeline of which nothing is known but what is wrong.
fn of_broken(timeline: &BrokenTimeline) -> TimelineReport {
    TimelineReport {
        name: timeline.name.clone(),
        id: timeline.id.to_string(),
        state: TimelineState::Broken,
        detail: timeline.error.to_string(),
        numbers: None,
    }
}

fn of_open(server: &Pageserver, timeline: &Timeline) -> TimelineReport {
    let status = timeline.status();
    let follower = server
        .followers()
        .get(&timeline.id())
        .map(|follower| (follower.status(), follower.is_dead(), follower.lag(status.last_record_lsn)));
    let (state, detail) = match (timeline.fault(), server.why_not_followed(timeline.id())) {
        (Some(fault), _) => (TimelineState::Failed, format!("takes no more WAL: {fault}")),
        (None, Some(error)) => (TimelineState::Failed, error),
        (None, None) => state(timeline, &status, follower.as_ref().map(|(receiver, dead, _)| (receiver, *dead))),
    };
    let detail = match timeline.lost_wal() {
        Some(lost) => format!("{lost}; {detail}").trim_end_matches("; ").to_owned(),
        None => detail,
    };
    TimelineReport {
        name: timeline.name().to_owned(),
        id: timeline.id().to_string(),
        state,
        detail,
        numbers: Some(Numbers {
            version: timeline.info().version,
            status,
            following: follower.map(|(receiver, _, lag)| Following { receiver, lag }),
        }),
    }
}

/// The state of a timeline that takes WAL, as far as its receiver (and whether its thread is dead) goes.
fn state(timeline: &Timeline, status: &Status, receiver: Option<(&StatusSnapshot, bool)>) -> (TimelineState, String) {
    let Some((receiver, dead)) = receiver else {
        return (TimelineState::Detached, "follows no primary".to_owned());
    };
    match &receiver.state {
        State::Failed { error } => (TimelineState::Failed, format!("{error}; {}", advice::on(error, timeline))),
        State::Stopped => (TimelineState::Stopped, String::new()),
        State::TimelineSwitched(switch) => (
            TimelineState::Ended,
            format!(
                "the primary went from timeline {} to {} at {}",
                switch.timeline, switch.next_timeline, switch.switch_lsn
            ),
        ),
        _ if dead => (TimelineState::Failed, "the receiver's thread has panicked: see the log".to_owned()),
        State::Streaming if status.last_record_lsn < status.consistent_lsn => (
            TimelineState::CatchingUp,
            "no LSN can be read at before the WAL of the base backup has arrived".to_owned(),
        ),
        State::Streaming => (TimelineState::Streaming, advice::since_failover(timeline)),
        State::Backoff { until, failures, error } => {
            let wait = until.duration_since(SystemTime::now()).unwrap_or_default();
            let detail = format!("attempt {failures} failed, next in {:.1} s: {error}", wait.as_secs_f64());
            (TimelineState::Retrying, detail)
        }
        // Connecting, and whatever else a receiver may come to do on its way to streaming.
        _ => (TimelineState::Connecting, String::new()),
    }
}

/// Made-up timelines.
#[cfg(test)]
pub mod testing {
    use super::*;

    /// One that is open, has come to `last` and can be read from `from` on.
    pub fn open(name: &str, state: TimelineState, last: u64, from: u64) -> TimelineReport {
        let status = Status {
            start_lsn: Lsn(8),
            consistent_lsn: Lsn(from),
            last_record_lsn: Lsn(last),
            wal_end: Lsn(last),
            wal_flushed: Lsn(last),
            wal_bytes: 1000,
            layer_bytes: 2000,
            images: 6,
            image_bytes: 3000,
            damaged_images: 1,
            objects: 3,
            pages: 4,
            versions: 5,
            index_bytes: 600,
            window_bytes: 70,
            poison: None,
            wal_poison: None,
        };
        let numbers = Some(Numbers { version: PgVersion::V15, status, following: None });
        TimelineReport { name: name.to_owned(), id: "0".repeat(32), state, detail: String::new(), numbers }
    }

    /// One that cannot be opened.
    pub fn broken(name: &str, why: &str) -> TimelineReport {
        let (state, detail) = (TimelineState::Broken, why.to_owned());
        TimelineReport { name: name.to_owned(), id: "f".repeat(32), state, detail, numbers: None }
    }
}
