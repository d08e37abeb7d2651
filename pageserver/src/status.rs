//! `status`: what the server holds, and how far behind its primaries it is.

use page_service::{Column, RowSink, ServiceError, Value};

use crate::backend::Pageserver;
use crate::report::{self, Numbers, TimelineReport};

/// One row for each timeline.
pub const COLUMNS: [Column<'static>; 14] = [
    Column::text("timeline"),
    Column::text("id"),
    Column::text("postgres"),
    Column::text("state"),
    Column::text("last_record_lsn"),
    Column::text("primary_lsn"),
    Column::int8("lag_bytes"),
    Column::text("lag_seconds"),
    Column::text("readable_from"),
    Column::int8("base_bytes"),
    Column::int8("wal_bytes"),
    Column::int8("image_bytes"),
    Column::int8("memory_bytes"),
    Column::text("detail"),
];

/// Runs the command.
pub fn run(server: &Pageserver, out: &mut dyn RowSink) -> Result<String, ServiceError> {
    out.columns(&COLUMNS)?;
    let timelines = report::timelines(server);
    timelines.iter().try_for_each(|timeline| row(timeline, out))?;
    Ok(format!("STATUS {}", timelines.len()))
}

fn row(timeline: &TimelineReport, out: &mut dyn RowSink) -> Result<(), ServiceError> {
    let TimelineReport { name, id, state, detail, numbers } = timeline;
    let numbers = numbers.as_ref();
    let status = numbers.map(|numbers| &numbers.status);
    let version = numbers.map(|numbers| numbers.version.to_string());
    let last = status.map(|status| status.last_record_lsn.to_string());
    let primary = numbers.and_then(Numbers::primary_lsn).map(|lsn| lsn.to_string());
    let lag = numbers.and_then(|numbers| numbers.following.as_ref());
    let lag = lag.map(|following| format!("{:.1}", following.lag.as_secs_f64()));
    let consistent = status.map(|status| status.consistent_lsn.to_string());
    let bytes = |bytes: Option<u64>| Value::from(bytes.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX)));
    out.row(&[
        name.into(),
        id.into(),
        version.as_ref().into(),
        state.words().into(),
        last.as_ref().into(),
        primary.as_ref().into(),
        bytes(numbers.and_then(Numbers::lag_bytes)),
        lag.as_ref().into(),
        consistent.as_ref().into(),
        bytes(status.map(|status| status.layer_bytes)),
        bytes(status.map(|status| status.wal_bytes)),
        bytes(status.map(|status| status.image_bytes)),
        bytes(status.map(|status| (status.index_bytes + status.window_bytes) as u64)),
        detail.into(),
    ])
}
