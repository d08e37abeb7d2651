//! What to do when a timeline is followed no longer.

use repository::Timeline;
use walreceiver::Error;

/// What to do about an error that no other attempt cures.
pub fn on(error: &Error, timeline: &Timeline) -> String {
    let again = format!("pageserver follow {}", timeline.name());
    match error {
        Error::SlotMissing { .. } | Error::SlotInvalidated { .. } => format!(
            "{again} makes it anew and goes on, if the WAL from {} on is still there",
            timeline.ingest().resume_lsn()
        ),
        Error::WrongSystem { .. }
        | Error::WrongVersion { .. }
        | Error::TimelineBehind { .. }
        | Error::AheadOfServer { .. } => {
            format!("what was received stays readable; if another server goes on with it: {again} --primary CONNINFO")
        }
        Error::TimelineDiverged { .. } | Error::WalDiffers { .. } => {
            format!("if another server goes on with it: {again} --primary CONNINFO")
        }
        Error::WalRemoved { .. } => {
            "what was received stays readable; to follow on, attach anew under another name".to_owned()
        }
        _ => format!("once that is cured: {again}"),
    }
}

/// On which timeline of PostgreSQL it is, if that is not the one of the base backup.
pub fn since_failover(timeline: &Timeline) -> String {
    let timelines = timeline.pg_timelines();
    match timelines.last() {
        last if last == timeline.info().pg_timeline => String::new(),
        last => format!("after a failover, on timeline {last} of PostgreSQL since {}", timelines.begin()),
    }
}
