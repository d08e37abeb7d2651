//! `stats`: what the server has done since it was started, in words. `/metrics` has the same in numbers.

use indicatif::{FormattedDuration, HumanBytes};
use page_service::{Column, RowSink, ServiceError};
use repository::PageStats;
use walredo::{RedoStats, VerifyStats};

use crate::backend::Pageserver;
use crate::metrics::{Connections, Disk, Durations, Metrics, Process};

/// One row for each thing that there is something to say of.
pub const COLUMNS: [Column<'static>; 3] = [Column::text("area"), Column::text("name"), Column::text("value")];

/// What is said of something.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Line {
    area: &'static str,
    name: String,
    value: String,
}

fn line(area: &'static str, name: impl Into<String>, value: String) -> Line {
    Line { area, name: name.into(), value }
}

/// Runs the command.
pub fn run(server: &Pageserver, out: &mut dyn RowSink) -> Result<String, ServiceError> {
    let metrics = &*server.metrics;
    let mut lines = machine(metrics);
    lines.extend(kept_pages(server.repository.page_stats()));
    lines.extend(connections(metrics, server.config.max_connections));
    lines.extend(requests(metrics));
    lines.extend(commands(metrics));
    lines.extend(redo(metrics));
    lines.extend(server.engines.processes().into_iter().map(|(version, stats)| {
        let RedoStats { pages, processes, starts, failures, timeouts, .. } = stats;
        let value = format!(
            "{pages} pages, {processes} processes there, {starts} started, {failures} failed ({timeouts} of them timed out)"
        );
        line("redo processes", format!("PostgreSQL {version}"), value)
    }));
    lines.extend(server.engines.verified().map(verified));
    out.columns(&COLUMNS)?;
    lines.iter().try_for_each(|line| out.row(&[line.area.into(), (&line.name).into(), (&line.value).into()]))?;
    Ok(format!("STATS {}", lines.len()))
}

fn machine(metrics: &Metrics) -> Vec<Line> {
    let mut lines = vec![
        line("server", "version", env!("CARGO_PKG_VERSION").to_owned()),
        line("server", "running for", FormattedDuration(metrics.started.1.elapsed()).to_string()),
    ];
    if let Some(process) = Process::read() {
        lines.push(line("server", "memory", HumanBytes(process.resident_bytes).to_string()));
        lines.push(line("server", "processor time", format!("{:.1} s", process.cpu_seconds)));
    }
    if let Some(Disk { size_bytes, free_bytes }) = Disk::of(&metrics.data) {
        let value = format!("{} free of {}", HumanBytes(free_bytes), HumanBytes(size_bytes));
        lines.push(line("server", "disk", value));
    }
    lines
}

/// Nothing, if no page is to be kept.
fn kept_pages(PageStats { hits, misses, bytes, limit }: PageStats) -> Option<Line> {
    let value = || {
        let (bytes, limit) = (HumanBytes(bytes), HumanBytes(limit));
        format!("{hits} reads found their page, {misses} did not; {bytes} of at most {limit} taken")
    };
    (limit > 0).then(|| line("server", "page cache", value()))
}

fn connections(metrics: &Metrics, limit: usize) -> Vec<Line> {
    let Connections { open, opened, closed, broken, refused, panicked, dropped } = metrics.port.connections();
    let refusals = metrics.port.refusals().into_iter().map(|(code, count)| format!("{count} with SQLSTATE {code}"));
    let refusals: Vec<_> = refusals.collect();
    let why = if refusals.is_empty() { String::new() } else { format!(" ({})", refusals.join(", ")) };
    let ended =
        format!("{closed} closed, {broken} broken, {refused} refused{why}, {dropped} dropped, {panicked} panicked");
    vec![
        line("connections", "open", format!("{open} of at most {limit}, {opened} since the start")),
        line("connections", "ended", ended),
    ]
}

fn requests(metrics: &Metrics) -> Vec<Line> {
    let served = metrics.port.requests().map(|(kind, took)| line("requests", kind, times(&took)));
    let failed = metrics.port.request_errors().into_iter().map(failure("request errors"));
    let waits = metrics.waits.read();
    let waited = (waits.count() > 0).then(|| line("requests", "waits for an LSN", times(&waits)));
    served.chain(waited).chain(failed).collect()
}

fn commands(metrics: &Metrics) -> Vec<Line> {
    let run = metrics.port.commands().filter(|(_, took)| took.count() > 0);
    let run = run.map(|(word, took)| line("commands", word, times(&took)));
    run.chain(metrics.port.command_errors().into_iter().map(failure("command errors"))).collect()
}

fn redo(metrics: &Metrics) -> Vec<Line> {
    let engines = metrics.redo.engines().into_iter();
    let lines = engines.map(|(name, work)| {
        let value = format!("{}, {} records, {} failed", times(&work.pages.read()), work.records(), work.failures());
        line("redo", name, value)
    });
    lines.collect()
}

fn verified(stats: VerifyStats) -> Line {
    let VerifyStats { equal, equal_masked, different, not_native } = stats;
    let value = format!(
        "{different} different, {equal} equal, {equal_masked} equal after masking, {not_native} that only PostgreSQL makes"
    );
    line("redo", "pages compared", value)
}

fn failure(area: &'static str) -> impl Fn((&'static str, &'static str, u64)) -> Line {
    move |(what, code, count)| line(area, format!("{what} {code}"), count.to_string())
}

/// How many, and how long half of them and 99 of a hundred took at most.
fn times(took: &Durations) -> String {
    match (took.quantile(0.5), took.quantile(0.99)) {
        (Some(half), Some(most)) => format!("{}, p50 {half:.1?}, p99 {most:.1?}", took.count()),
        _ => "0".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use page_service::{ConnectionEnd, Observer, RequestKind, SqlState};

    use super::*;

    #[test]
    fn requests_come_with_their_times_and_errors_with_their_codes() {
        let metrics = Metrics::new(PathBuf::from("/"));
        for _ in 0..10 {
            metrics.port.request(RequestKind::Page, Duration::from_micros(7), None);
        }
        metrics.port.request(RequestKind::Size, Duration::from_micros(1), Some(SqlState::UNDEFINED_OBJECT));
        let lines = requests(&metrics);
        let value = |area: &str, name: &str| {
            lines.iter().find(|line| line.area == area && line.name == name).map(|line| line.value.as_str())
        };
        assert_eq!(value("requests", "page"), Some("10, p50 7.5µs, p99 10.0µs"));
        assert_eq!(value("requests", "exists"), Some("0"));
        assert_eq!(value("request errors", "size 42704"), Some("1"));
        assert_eq!(value("requests", "waits for an LSN"), None);
    }

    #[test]
    fn pages_that_are_kept_are_spoken_of_where_there_may_be_some() {
        let said = kept_pages(PageStats { hits: 3, misses: 2, bytes: 1 << 20, limit: 2 << 20 });
        let said = said.map(|line| line.value);
        assert_eq!(said.as_deref(), Some("3 reads found their page, 2 did not; 1.00 MiB of at most 2.00 MiB taken"));
        assert_eq!(kept_pages(PageStats::default()), None);
    }

    #[test]
    fn refused_connections_say_why() {
        let metrics = Metrics::new(PathBuf::from("/"));
        (0..3).for_each(|_| metrics.port.connection_opened());
        metrics.port.connection_ended(ConnectionEnd::Refused(SqlState::TOO_MANY_CONNECTIONS));
        let lines = connections(&metrics, 2);
        assert_eq!(lines[0].value, "2 of at most 2, 3 since the start");
        assert!(lines[1].value.contains("1 refused (1 with SQLSTATE 53300)"), "{}", lines[1].value);
    }
}
