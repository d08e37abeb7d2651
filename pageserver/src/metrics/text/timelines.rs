//! What there is for each timeline.

use std::fmt;

use prometheus_client::registry::Unit;

use super::families::{Families, since_1970};
use crate::report::{Numbers, TimelineReport, TimelineState};

/// Writes everything that is a timeline's.
pub fn write(out: &mut Families<'_>, timelines: &[TimelineReport]) -> fmt::Result {
    states(out, timelines)?;
    positions(out, timelines)?;
    receivers(out, timelines)?;
    storage(out, timelines)
}

/// The labels that tell timelines apart. A name alone need not: that of a broken one may be anything.
type TimelineLabels<'a> = [(&'static str, &'a str); 2];

fn labels(timeline: &TimelineReport) -> TimelineLabels<'_> {
    [("timeline", &timeline.name), ("timeline_id", &timeline.id)]
}

/// A number of each timeline that has it.
fn each<'a, V>(
    timelines: &'a [TimelineReport],
    number: impl Fn(&'a Numbers) -> Option<V> + 'a,
) -> impl Iterator<Item = (TimelineLabels<'a>, V)> {
    timelines.iter().filter_map(move |timeline| Some((labels(timeline), number(timeline.numbers.as_ref()?)?)))
}

fn states(out: &mut Families<'_>, timelines: &[TimelineReport]) -> fmt::Result {
    out.info(
        "pageserver_timeline",
        "The major version of the cluster that a timeline is a history of.",
        timelines.iter().filter_map(|timeline| {
            let [name, id] = labels(timeline);
            let version = timeline.numbers.as_ref()?.version.to_string();
            Some([(name.0, name.1.to_owned()), (id.0, id.1.to_owned()), ("postgres", version)])
        }),
    )?;
    out.gauge(
        "pageserver_timeline_state",
        None,
        "1 for the state that a timeline is in, 0 for the others. Streaming: takes WAL as it is written. Catching_up: cannot be read before the WAL of \
         its base backup is there. Retrying: cannot reach its primary. Failed: takes no more WAL, can be read. Broken: cannot be opened.",
        timelines.iter().flat_map(|timeline| {
            let [name, id] = labels(timeline);
            TimelineState::ALL.map(|state| {
                let word = state.words().replace(' ', "_");
                let labels = [(name.0, name.1.to_owned()), (id.0, id.1.to_owned()), ("state", word)];
                (labels, u32::from(timeline.state == state))
            })
        }),
    )?;
    out.gauge(
        "pageserver_timeline_readable",
        None,
        "Whether there is an LSN at which a timeline can be read.",
        timelines.iter().map(|timeline| {
            let readable = timeline.numbers.as_ref().is_some_and(Numbers::is_readable);
            (labels(timeline), u32::from(readable))
        }),
    )
}

fn positions(out: &mut Families<'_>, timelines: &[TimelineReport]) -> fmt::Result {
    out.gauge(
        "pageserver_timeline_last_record_lsn",
        None,
        "End of the last WAL record that can be read at, as a number of bytes.",
        each(timelines, |numbers| Some(numbers.status.last_record_lsn.0)),
    )?;
    out.gauge(
        "pageserver_timeline_readable_from_lsn",
        None,
        "The first LSN that can be read at, as a number of bytes.",
        each(timelines, |numbers| Some(numbers.status.consistent_lsn.0)),
    )?;
    out.gauge(
        "pageserver_timeline_primary_lsn",
        None,
        "End of the primary's WAL as it last said, as a number of bytes.",
        each(timelines, |numbers| numbers.primary_lsn().map(|lsn| lsn.0)),
    )?;
    out.gauge(
        "pageserver_timeline_flushed_lsn",
        None,
        "End of the WAL that is on disk, as a number of bytes.",
        each(timelines, |numbers| Some(numbers.status.wal_flushed.0)),
    )?;
    out.gauge(
        "pageserver_timeline_lag",
        Some(Unit::Bytes),
        "WAL that the primary has, as far as it said, and that cannot be read yet.",
        each(timelines, Numbers::lag_bytes),
    )?;
    out.gauge(
        "pageserver_timeline_lag",
        Some(Unit::Seconds),
        "Time since the primary's WAL was last known to end where the timeline is now: 0 for one that has everything. While there is no connection, \
         at least the time since the primary was heard from.",
        each(timelines, |numbers| Some(numbers.following.as_ref()?.lag.as_secs_f64())),
    )
}

fn receivers(out: &mut Families<'_>, timelines: &[TimelineReport]) -> fmt::Result {
    out.counter(
        "pageserver_timeline_received",
        Some(Unit::Bytes),
        "WAL received from the primary since the server was started.",
        each(timelines, |numbers| Some(numbers.following.as_ref()?.receiver.bytes)),
    )?;
    out.counter(
        "pageserver_timeline_connections",
        None,
        "How often receiving WAL from the primary began since the server was started.",
        each(timelines, |numbers| Some(numbers.following.as_ref()?.receiver.connections)),
    )?;
    out.gauge(
        "pageserver_timeline_last_message_timestamp",
        Some(Unit::Seconds),
        "When the primary last sent anything, in seconds since 1970.",
        each(timelines, |numbers| numbers.following.as_ref()?.receiver.last_message.map(since_1970)),
    )
}

fn storage(out: &mut Families<'_>, timelines: &[TimelineReport]) -> fmt::Result {
    let bytes = || Some(Unit::Bytes);
    out.gauge(
        "pageserver_timeline_base",
        bytes(),
        "Base image on disk.",
        each(timelines, |numbers| Some(numbers.status.layer_bytes)),
    )?;
    out.gauge(
        "pageserver_timeline_wal",
        bytes(),
        "WAL on disk.",
        each(timelines, |numbers| Some(numbers.status.wal_bytes)),
    )?;
    out.gauge(
        "pageserver_timeline_image",
        bytes(),
        "Images of pages on disk, made in the background of pages with many records.",
        each(timelines, |numbers| Some(numbers.status.image_bytes)),
    )?;
    out.gauge(
        "pageserver_timeline_images",
        None,
        "How many images of pages there are.",
        each(timelines, |numbers| Some(numbers.status.images as u64)),
    )?;
    out.counter(
        "pageserver_timeline_damaged_images",
        None,
        "Images of pages that were found to be damaged since the start: these pages are made of their records.",
        each(timelines, |numbers| Some(numbers.status.damaged_images)),
    )?;
    out.gauge(
        "pageserver_timeline_index",
        bytes(),
        "Memory that the index over the WAL takes, about.",
        each(timelines, |numbers| Some(numbers.status.index_bytes as u64)),
    )?;
    out.gauge(
        "pageserver_timeline_window",
        bytes(),
        "Newest WAL records kept in memory.",
        each(timelines, |numbers| Some(numbers.status.window_bytes as u64)),
    )?;
    out.gauge(
        "pageserver_timeline_changed_pages",
        None,
        "Pages that have changed since the base image.",
        each(timelines, |numbers| Some(numbers.status.pages as u64)),
    )?;
    out.gauge(
        "pageserver_timeline_versions",
        None,
        "Changes of pages that the index knows.",
        each(timelines, |numbers| Some(numbers.status.versions as u64)),
    )
}
