//! What there is once for each server.

use std::fmt;

use prometheus_client::registry::Unit;
use repository::PageStats;
use walredo::{RedoStats, VerifyStats};

use super::Source;
use super::families::{Families, ONE, since_1970};
use crate::metrics::{Disk, Metrics, Process};

/// Writes everything that is not a timeline's.
pub fn write(out: &mut Families<'_>, source: &dyn Source) -> fmt::Result {
    server(out, source.metrics())?;
    requests(out, source.metrics())?;
    page_cache(out, source.kept_pages())?;
    connections(out, source)?;
    redo(out, source)?;
    process(out, source.metrics())
}

fn server(out: &mut Families<'_>, metrics: &Metrics) -> fmt::Result {
    out.info("pageserver_build", "The version of the pageserver.", [[("version", env!("CARGO_PKG_VERSION"))]])?;
    let disk = Disk::of(&metrics.data);
    let bytes = Some(Unit::Bytes);
    out.gauge(
        "pageserver_disk_size",
        bytes.clone(),
        "Size of the file system of the data directory.",
        disk.map(|disk| (ONE, disk.size_bytes)),
    )?;
    out.gauge(
        "pageserver_disk_free",
        bytes,
        "Free space in the file system of the data directory. When there is none, no more WAL is received.",
        disk.map(|disk| (ONE, disk.free_bytes)),
    )
}

fn requests(out: &mut Families<'_>, metrics: &Metrics) -> fmt::Result {
    let port = &metrics.port;
    out.histogram(
        "pageserver_request",
        "Time from when the server began with a request of a page stream until its answer was ready, failed ones and waiting for LSNs \
         included, queueing and the network not. By kind.",
        port.requests().map(|(kind, took)| ([("kind", kind)], took)),
    )?;
    out.counter(
        "pageserver_request_errors",
        None,
        "Requests of page streams that were answered with an error, by kind and SQLSTATE (XX001: stored data are damaged; \
         57014: the LSN did not arrive in time).",
        port.request_errors().into_iter().map(|(kind, code, count)| ([("kind", kind), ("sqlstate", code)], count)),
    )?;
    out.histogram(
        "pageserver_lsn_wait",
        "Time that reads waited for an LSN that had not arrived. Those that did not wait are not counted.",
        [(ONE, metrics.waits.read())],
    )?;
    let commands: Vec<_> = port.commands().collect();
    out.counter(
        "pageserver_commands",
        None,
        "Commands, by their first word.",
        commands.iter().map(|(word, took)| ([("command", *word)], took.count())),
    )?;
    out.counter(
        "pageserver_command",
        Some(Unit::Seconds),
        "Time that commands took, by their first word. A page stream's command is done when the stream begins.",
        commands.iter().map(|(word, took)| ([("command", *word)], took.sum.as_secs_f64())),
    )?;
    out.counter(
        "pageserver_command_errors",
        None,
        "Commands that failed, by their first word and SQLSTATE.",
        port.command_errors().into_iter().map(|(word, code, count)| ([("command", word), ("sqlstate", code)], count)),
    )
}

fn page_cache(out: &mut Families<'_>, kept: Option<PageStats>) -> fmt::Result {
    out.counter(
        "pageserver_page_cache_hits",
        None,
        "Reads that found their page made already, of all timelines.",
        kept.map(|kept| (ONE, kept.hits)),
    )?;
    out.counter(
        "pageserver_page_cache_misses",
        None,
        "Reads whose page had to be made though pages are kept (page_cache_mib), of all timelines.",
        kept.map(|kept| (ONE, kept.misses)),
    )?;
    out.gauge(
        "pageserver_page_cache",
        Some(Unit::Bytes),
        "Memory for pages that were made and are kept.",
        kept.map(|kept| (ONE, kept.bytes)),
    )?;
    out.gauge(
        "pageserver_page_cache_limit",
        Some(Unit::Bytes),
        "The most memory for pages that are kept (page_cache_mib).",
        kept.map(|kept| (ONE, kept.limit)),
    )
}

fn connections(out: &mut Families<'_>, source: &dyn Source) -> fmt::Result {
    let port = &source.metrics().port;
    let connections = port.connections();
    out.gauge(
        "pageserver_connections",
        None,
        "Open client connections, those that are being refused included.",
        [(ONE, connections.open)],
    )?;
    out.gauge(
        "pageserver_connections_limit",
        None,
        "The most client connections that are served at a time (max_connections).",
        [(ONE, source.max_connections() as u64)],
    )?;
    out.counter(
        "pageserver_connections_opened",
        None,
        "Client connections that were accepted.",
        [(ONE, connections.opened)],
    )?;
    out.counter(
        "pageserver_connections_ended",
        None,
        "Client connections that have ended: closed in order, broken (the network, or a client that was silent for too long), refused \
         with an error, or panicked (a defect of the pageserver).",
        [
            ("closed", connections.closed),
            ("broken", connections.broken),
            ("refused", connections.refused),
            ("panicked", connections.panicked),
        ]
        .map(|(how, count)| ([("how", how)], count)),
    )?;
    out.counter(
        "pageserver_connections_refused",
        None,
        "Client connections that were refused, by SQLSTATE (53300: too many; 08P01: not PostgreSQL's protocol).",
        port.refusals().into_iter().map(|(code, count)| ([("sqlstate", code)], count)),
    )?;
    out.counter(
        "pageserver_connections_dropped",
        None,
        "Client connections that were closed without a word because far too many were open.",
        [(ONE, connections.dropped)],
    )
}

fn redo(out: &mut Families<'_>, source: &dyn Source) -> fmt::Result {
    let engines = source.metrics().redo.engines();
    out.histogram(
        "pageserver_redo",
        "Time to make a page out of a base and WAL records, failures included. By the engine that is configured (redo.engine).",
        engines.iter().map(|(name, work)| ([("engine", *name)], work.pages.read())),
    )?;
    out.counter(
        "pageserver_redo_records",
        None,
        "WAL records given to the redo engine, by engine.",
        engines.iter().map(|(name, work)| ([("engine", *name)], work.records())),
    )?;
    out.counter(
        "pageserver_redo_failures",
        None,
        "Pages that the redo engine could not make, by engine.",
        engines.iter().map(|(name, work)| ([("engine", *name)], work.failures())),
    )?;
    let processes: Vec<_> =
        source.redo_processes().into_iter().map(|(version, stats)| (version.to_string(), stats)).collect();
    let by_version = |number: fn(&RedoStats) -> u64| {
        processes.iter().map(move |(version, stats)| ([("postgres", version.as_str())], number(stats)))
    };
    out.counter(
        "pageserver_redo_verified_pages",
        None,
        "Pages that redo.engine = \"verify\" has compared: equal byte for byte, equal_masked (but for what PostgreSQL does not compare either), different, or \
         not_native (with a record that only PostgreSQL knows).",
        source.redo_verified().into_iter().flat_map(|stats| {
            let VerifyStats { equal, equal_masked, different, not_native } = stats;
            [("equal", equal), ("equal_masked", equal_masked), ("different", different), ("not_native", not_native)]
                .map(|(result, count)| ([("result", result)], count))
        }),
    )?;
    out.gauge(
        "pageserver_redo_processes",
        None,
        "PostgreSQL processes that there are for redo, by major version.",
        by_version(|stats| stats.processes),
    )?;
    out.counter(
        "pageserver_redo_process_pages",
        None,
        "Pages that redo processes have made, by major version of PostgreSQL.",
        by_version(|stats| stats.pages),
    )?;
    out.counter(
        "pageserver_redo_process_records",
        None,
        "WAL records that redo processes have applied in making them, by major version of PostgreSQL.",
        by_version(|stats| stats.records),
    )?;
    out.counter(
        "pageserver_redo_process_busy",
        Some(Unit::Seconds),
        "Time that threads have spent with redo processes, by major version of PostgreSQL.",
        processes.iter().map(|(version, stats)| ([("postgres", version.as_str())], stats.busy.as_secs_f64())),
    )?;
    out.counter(
        "pageserver_redo_process_starts",
        None,
        "Redo processes that were started, by major version of PostgreSQL.",
        by_version(|stats| stats.starts),
    )?;
    out.counter(
        "pageserver_redo_process_failures",
        None,
        "Redo processes that died, hung or answered nonsense, and were replaced when needed, by major version of PostgreSQL.",
        by_version(|stats| stats.failures),
    )?;
    out.counter(
        "pageserver_redo_process_timeouts",
        None,
        "Those of the failed redo processes that gave no answer in time and were killed, by major version of PostgreSQL.",
        by_version(|stats| stats.timeouts),
    )
}

/// By the names that Prometheus has for every program.
fn process(out: &mut Families<'_>, metrics: &Metrics) -> fmt::Result {
    let process = Process::read();
    out.counter(
        "process_cpu",
        Some(Unit::Seconds),
        "Processor time of this process, without the redo processes.",
        process.map(|process| (ONE, process.cpu_seconds)),
    )?;
    out.gauge(
        "process_resident_memory",
        Some(Unit::Bytes),
        "Memory of this process that is present.",
        process.map(|process| (ONE, process.resident_bytes)),
    )?;
    out.gauge(
        "process_virtual_memory",
        Some(Unit::Bytes),
        "Address space of this process.",
        process.map(|process| (ONE, process.virtual_bytes)),
    )?;
    out.gauge("process_threads", None, "Threads of this process.", process.map(|process| (ONE, process.threads)))?;
    out.gauge(
        "process_open_fds",
        None,
        "Open file descriptors of this process.",
        process.map(|process| (ONE, process.open_fds)),
    )?;
    out.gauge(
        "process_max_fds",
        None,
        "The most file descriptors that this process may have open.",
        Process::max_fds().map(|most| (ONE, most)),
    )?;
    out.gauge(
        "process_start_time",
        Some(Unit::Seconds),
        "When this process was started, in seconds since 1970.",
        [(ONE, since_1970(metrics.started.0))],
    )
}
