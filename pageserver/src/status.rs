//! `status`: what the server holds, and how far behind its primaries it is.

use std::time::SystemTime;

use page_service::{Column, RowSink, ServiceError, Value};
use pgdata::Lsn;
use repository::{BrokenTimeline, Timeline};
use walreceiver::{State, StatusSnapshot};

use crate::backend::{Pageserver, lsn_text};

/// One row for each timeline.
pub const COLUMNS: [Column<'static>; 12] = [
    Column::text("timeline"),
    Column::text("id"),
    Column::text("postgres"),
    Column::text("state"),
    Column::text("last_record_lsn"),
    Column::text("primary_lsn"),
    Column::int8("lag_bytes"),
    Column::text("readable_from"),
    Column::int8("base_bytes"),
    Column::int8("wal_bytes"),
    Column::int8("memory_bytes"),
    Column::text("detail"),
];

/// Runs the command.
pub fn run(server: &Pageserver, out: &mut dyn RowSink) -> Result<String, ServiceError> {
    out.columns(&COLUMNS)?;
    let timelines = server.repository.timelines();
    for timeline in &timelines {
        let receiver = server.followers().get(&timeline.id()).map(|f| (f.status(), f.is_dead()));
        row(timeline, receiver, server.why_not_followed(timeline.id()), out)?;
    }
    let broken = server.repository.broken();
    broken.iter().try_for_each(|timeline| broken_row(timeline, out))?;
    Ok(format!("STATUS {}", timelines.len() + broken.len()))
}

/// A timeline of which nothing is known but what is wrong.
fn broken_row(timeline: &BrokenTimeline, out: &mut dyn RowSink) -> Result<(), ServiceError> {
    let (id, error) = (timeline.id.to_string(), timeline.error.to_string());
    let mut values = [Value::Null; COLUMNS.len()];
    (values[0], values[1], values[3], values[11]) =
        (timeline.name.as_str().into(), (&id).into(), "broken".into(), (&error).into());
    out.row(&values)
}

fn row(
    timeline: &Timeline,
    receiver: Option<(StatusSnapshot, bool)>,
    not_followed: Option<String>,
    out: &mut dyn RowSink,
) -> Result<(), ServiceError> {
    let stats = timeline.status();
    let last = timeline.last_record_lsn();
    let (state, detail) = match (timeline.fault(), not_followed) {
        (Some(fault), _) => ("failed", format!("takes no more WAL: {fault}")),
        (None, Some(error)) => ("failed", error),
        (None, None) => state(timeline, receiver.as_ref()),
    };
    let detail = match timeline.lost_wal() {
        Some(lost) => format!("{lost}; {detail}").trim_end_matches("; ").to_owned(),
        None => detail,
    };
    let primary = receiver.map_or(Lsn::INVALID, |(status, _)| status.server_end);
    let lag = primary.is_valid().then(|| primary.bytes_since(last) as i64);
    let id = timeline.id().to_string();
    let version = timeline.info().version.to_string();
    let (last, primary) = (lsn_text(last), lsn_text(primary));
    out.row(&[
        timeline.name().into(),
        (&id).into(),
        (&version).into(),
        state.into(),
        last.as_ref().into(),
        primary.as_ref().into(),
        lag.into(),
        (&timeline.consistent_lsn().to_string()).into(),
        Value::Int8(stats.layer_bytes as i64),
        Value::Int8(stats.wal_bytes as i64),
        Value::Int8((stats.index_bytes + stats.window_bytes) as i64),
        (&detail).into(),
    ])
}

/// One word, and what is to be said about it.
fn state(timeline: &Timeline, receiver: Option<&(StatusSnapshot, bool)>) -> (&'static str, String) {
    let Some((status, dead)) = receiver else {
        return ("detached", "follows no primary".to_owned());
    };
    match &status.state {
        State::Failed { error } => ("failed", error.to_string()),
        State::Stopped => ("stopped", String::new()),
        State::TimelineSwitched(switch) => (
            "ended",
            format!(
                "the primary went from timeline {} to {} at {}",
                switch.timeline, switch.next_timeline, switch.switch_lsn
            ),
        ),
        _ if *dead => ("failed", "the receiver's thread has panicked: see the log".to_owned()),
        State::Connecting => ("connecting", String::new()),
        State::Streaming if timeline.last_record_lsn() < timeline.consistent_lsn() => {
            ("catching up", "no LSN can be read at before the WAL of the base backup has arrived".to_owned())
        }
        State::Streaming => ("streaming", String::new()),
        State::Backoff { until, failures, error } => {
            let wait = until.duration_since(SystemTime::now()).unwrap_or_default();
            ("retrying", format!("attempt {failures} failed, next in {:.1} s: {error}", wait.as_secs_f64()))
        }
        other => ("unknown", format!("{other:?}")),
    }
}
