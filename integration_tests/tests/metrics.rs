//! `/metrics`, `/healthz` and `/readyz` tell what is: before and after known work, while something is broken, and while clients mean no good.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use integration_tests::{
    ClusterOptions, Exposition, ExpositionFormat, Lab, PageSource, StreamSource, TIMELINE, in_scratch, until,
};
use page_service::{Client, ClientConfig};
use pgdata::{Lsn, Page, RelTag};
use rustix::process::{Pid, Signal, kill_process};

/// Pages that are read of the table, all of which have records after their images.
const PAGES: u32 = 40;

/// A lab with an HTTP port, and with PostgreSQL's processes for redo. No page is kept, so that each read is made by redo, and no image is made, which redo would do as well.
fn start(dir: &Path) -> Result<Lab> {
    start_with(dir, "page_cache_mib = 0\nimage_percent = 0")
}

fn start_with(dir: &Path, settings: &str) -> Result<Lab> {
    let mut lab = Lab::start(dir, &ClusterOptions::default())?;
    lab.pageserver.sigterm()?;
    lab.pageserver.configure(&format!("{settings}\n[metrics]\nlisten = '127.0.0.1:0'\n"))?;
    // The section on redo is the last one of the file.
    let mut file = File::options().append(true).open(lab.pageserver.dir().join("pageserver.toml"))?;
    writeln!(file, "engine = 'postgres'")?;
    lab.pageserver.start()?;
    lab.attach()?;
    Ok(lab)
}

/// A table with a history, and an LSN to read it at.
fn work(lab: &Lab) -> Result<(RelTag, Lsn)> {
    let script = format!(
        "CREATE TABLE t (n int, x text) WITH (fillfactor = 40, autovacuum_enabled = off);
         INSERT INTO t SELECT i, repeat('x', 1000) FROM generate_series(1, {PAGES} * 3) i;
         UPDATE t SET n = n + 1; SELECT pg_relation_filepath('t')"
    );
    let path = lab.primary.psql("postgres", &script)?;
    Ok((path.trim().replace("base", "1663").parse()?, lab.primary.current_lsn()?))
}

fn read(pages: &mut StreamSource, rel: RelTag, lsn: Lsn) -> Result<Vec<Page>> {
    pages.relation_pages(rel, 0, PAGES, lsn)
}

/// How much a sample has grown.
fn growth(before: &Exposition, after: &Exposition, name: &str, labels: &[(&str, &str)]) -> f64 {
    after.sum(name, labels) - before.sum(name, labels)
}

#[test]
fn numbers_follow_the_work() {
    in_scratch("metrics", |dir| {
        let mut lab = start(dir)?;
        let (rel, lsn) = work(&lab)?;
        let mut pages = lab.pages()?;
        // It is there now.
        pages.relation_blocks(rel, lsn)?;
        requests_and_errors(&lab, &mut pages, (rel, lsn))?;
        connections(&lab)?;
        positions(&lab)?;
        redo_processes(&lab, &mut pages, (rel, lsn))?;
        in_words(&lab)?;
        lag(&mut lab)
    });
}

fn requests_and_errors(lab: &Lab, pages: &mut StreamSource, (rel, lsn): (RelTag, Lsn)) -> Result<()> {
    let before = lab.pageserver.scrape()?;
    read(pages, rel, lsn)?;
    ensure!(pages.relation_pages(RelTag { rel: 999_999, ..rel }, 0, 1, lsn).is_err(), "a page of no relation is read");
    let mut client = Client::connect(lab.pageserver.address()?, &ClientConfig::default())?;
    ensure!(client.query_all("frobnicate").is_err(), "an unknown command succeeds");
    for format in [ExpositionFormat::Prometheus, ExpositionFormat::OpenMetrics] {
        let after = lab.pageserver.scrape_as(format)?;
        let growth = |name, labels: &[(&str, &str)]| growth(&before, &after, name, labels);
        for (name, labels, expected) in [
            ("pageserver_request_seconds_count", &[("kind", "page")][..], f64::from(PAGES) + 1.0),
            ("pageserver_request_seconds_count", &[], f64::from(PAGES) + 1.0),
            ("pageserver_request_errors_total", &[("kind", "page"), ("sqlstate", "42704")], 1.0),
            ("pageserver_request_errors_total", &[], 1.0),
            ("pageserver_commands_total", &[("command", "unknown")], 1.0),
            ("pageserver_command_errors_total", &[("command", "unknown"), ("sqlstate", "42601")], 1.0),
            ("pageserver_redo_seconds_count", &[("engine", "postgres")], f64::from(PAGES)),
            ("pageserver_redo_failures_total", &[], 0.0),
        ] {
            let grown = growth(name, labels);
            ensure!(grown == expected, "{name} {labels:?} has grown by {grown}, and not by {expected}");
        }
        for name in
            ["pageserver_request_seconds_sum", "pageserver_redo_records_total", "pageserver_redo_process_pages_total"]
        {
            ensure!(growth(name, &[]) > 0.0, "{name} has not grown");
        }
    }
    Ok(())
}

fn connections(lab: &Lab) -> Result<()> {
    let open = || lab.pageserver.scrape()?.value("pageserver_connections", &[]);
    // That of `pages`; the server may not have noticed yet that another is gone.
    let before = until("one connection is open", || Ok(Some(open()?).filter(|open| *open == 1.0)))?;
    let connect = |_| Client::connect(lab.pageserver.address()?, &ClientConfig::default()).context("connecting");
    let clients = (0..3).map(connect).collect::<Result<Vec<_>>>()?;
    ensure!(open()? == before + 3.0, "three connections more are {}, after {before}", open()?);
    drop(clients);
    until("the connections are closed", || Ok((open()? == before).then_some(())))
}

fn positions(lab: &Lab) -> Result<()> {
    let mine = [("timeline", TIMELINE)];
    until("status and metrics are of the same moment", || {
        let before = lab.pageserver.timeline(TIMELINE)?.last_record_lsn;
        let scrape = lab.pageserver.scrape()?;
        let after = lab.pageserver.timeline(TIMELINE)?.last_record_lsn;
        if before != after {
            return Ok(None);
        }
        let last = scrape.value("pageserver_timeline_last_record_lsn", &mine)?;
        ensure!(last == before.0 as f64, "status says {before}, which is {}, and the metrics say {last}", before.0);
        Ok(Some(()))
    })?;
    let scrape = lab.pageserver.scrape()?;
    ensure!(scrape.value("pageserver_timeline_readable", &mine)? == 1.0, "it cannot be read");
    let version = lab.primary.install().version().to_string();
    scrape.value("pageserver_timeline_info", &[("timeline", TIMELINE), ("postgres", &version)])?;
    for name in [
        "pageserver_timeline_received_bytes_total",
        "pageserver_timeline_base_bytes",
        "pageserver_timeline_wal_bytes",
        "pageserver_timeline_index_bytes",
        "pageserver_disk_free_bytes",
        "process_resident_memory_bytes",
        "process_open_fds",
    ] {
        ensure!(scrape.sum(name, &[]) > 0.0, "{name} is nothing");
    }
    Ok(())
}

/// The processes that the pageserver has started: all that it has are for redo.
fn children(lab: &Lab) -> Result<Vec<Pid>> {
    let server = lab.pageserver.id()?.to_string();
    let mut children = Vec::new();
    for entry in fs::read_dir("/proc")? {
        // Processes come and go.
        let Ok(stat) = fs::read_to_string(entry?.path().join("stat")) else { continue };
        // NUMBER (NAME) STATE PARENT …, and a name may contain anything.
        let Some((front, back)) = stat.rsplit_once(')') else { continue };
        if back.split_whitespace().nth(1) == Some(&server) {
            let number = front.split(' ').next().context("a number")?;
            children.extend(Pid::from_raw(number.parse()?));
        }
    }
    Ok(children)
}

fn redo_processes(lab: &Lab, pages: &mut StreamSource, (rel, lsn): (RelTag, Lsn)) -> Result<()> {
    let known = read(pages, rel, lsn)?;
    let before = lab.pageserver.scrape()?;
    let children = children(lab)?;
    let there = before.sum("pageserver_redo_processes", &[]);
    ensure!(there == children.len() as f64 && there > 0.0, "{there} redo processes are {children:?}");
    children.iter().try_for_each(|child| kill_process(*child, Signal::KILL))?;
    ensure!(read(pages, rel, lsn)? == known, "pages have changed with the redo process");
    let after = lab.pageserver.scrape()?;
    for (name, least) in [
        ("pageserver_redo_process_failures_total", 1.0),
        ("pageserver_redo_process_starts_total", 1.0),
        ("pageserver_redo_seconds_count", f64::from(PAGES)),
    ] {
        let grown = growth(&before, &after, name, &[]);
        ensure!(grown >= least, "{name} has grown by {grown} after redo processes were killed");
    }
    for name in ["pageserver_redo_process_timeouts_total", "pageserver_redo_failures_total"] {
        ensure!(growth(&before, &after, name, &[]) == 0.0, "{name} has grown");
    }
    Ok(())
}

/// The commands say the same.
fn in_words(lab: &Lab) -> Result<()> {
    let text = String::from_utf8(lab.pageserver.cli(&["status"])?)?;
    let count = lab.pageserver.scrape()?.value("pageserver_request_seconds_count", &[("kind", "page")])?;
    let line = |words: &[&str]| text.lines().any(|line| line.split_whitespace().zip(words).all(|(a, b)| a == *b));
    let page = format!("{count},");
    for words in
        [&["requests", "page", &page, "p50"][..], &["request", "errors", "page", "42704", "1"], &["lag_seconds"]]
    {
        ensure!(line(words), "no line with {words:?} in\n{text}");
    }
    Ok(())
}

/// A primary that is idle is no lag; one that is gone is.
fn lag(lab: &mut Lab) -> Result<()> {
    let is = |lab: &Lab, state: &str, seconds: fn(f64) -> bool| -> Result<Option<()>> {
        let scrape = lab.pageserver.scrape()?;
        let in_state = scrape.value("pageserver_timeline_state", &[("timeline", TIMELINE), ("state", state)])?;
        let lag = scrape.value("pageserver_timeline_lag_seconds", &[])?;
        Ok((in_state == 1.0 && seconds(lag)).then_some(()))
    };
    let caught_up = |lab: &Lab| is(lab, "streaming", |lag| lag == 0.0);
    until("everything has arrived", || caught_up(lab))?;
    lab.primary.stop()?;
    until("the primary is missed", || is(lab, "retrying", |lag| lag > 0.0))?;
    ensure!(lab.pageserver.http("/readyz", "")?.status == 200, "it is not ready, though it can be read");
    lab.primary.start()?;
    until("everything has arrived again", || caught_up(lab))
}

#[test]
fn pages_that_are_kept_are_counted() {
    in_scratch("kept", |dir| {
        let lab = start_with(dir, "page_cache_mib = 4\nimage_percent = 0")?;
        let (rel, lsn) = work(&lab)?;
        let mut pages = lab.pages()?;
        let counts = || -> Result<_> {
            let scrape = lab.pageserver.scrape()?;
            let value = |name: &str| scrape.value(&format!("pageserver_page_cache_{name}"), &[]);
            let (bytes, limit) = (value("bytes")?, value("limit_bytes")?);
            ensure!(bytes <= limit && limit < f64::from(5 << 20), "{bytes} bytes of at most {limit}");
            Ok((value("hits_total")?, value("misses_total")?, bytes))
        };
        ensure!(counts()? == (0.0, 0.0, 0.0), "before the first read there is {:?}", counts()?);
        for (hits, misses) in [(0.0, f64::from(PAGES)), (f64::from(PAGES), f64::from(PAGES))] {
            read(&mut pages, rel, lsn)?;
            let (hit, missed, bytes) = counts()?;
            ensure!((hit, missed) == (hits, misses), "{hit} hits and {missed} misses, not {hits} and {misses}");
            ensure!(bytes >= f64::from(PAGES) * 8192.0, "the pages take {bytes} bytes");
        }
        let said = String::from_utf8(lab.pageserver.cli(&["status"])?)?;
        ensure!(said.contains(&format!("{PAGES} reads found their page, {PAGES} did not")), "{said}");
        Ok(())
    });
}

#[test]
fn a_broken_timeline_makes_it_unready_and_shows() {
    in_scratch("unready", |dir| {
        let mut lab = start(dir)?;
        ensure!(lab.pageserver.http("/readyz", "")?.status == 200, "it is not ready");
        let manifest = lab.pageserver.timeline_dir(TIMELINE)?.join("versions/timeline.json");
        lab.pageserver.sigterm()?;
        let good = fs::read(&manifest)?;
        fs::write(&manifest, b"{}")?;

        lab.pageserver.start()?;
        let ready = lab.pageserver.http("/readyz", "")?;
        let says = ready.body.contains(TIMELINE) && ready.body.contains("broken");
        ensure!(ready.status == 503 && says, "/readyz is answered with {} {}", ready.status, ready.body);
        ensure!(lab.pageserver.http("/healthz", "")?.status == 200, "it is not alive");
        ensure!(lab.pageserver.http("/nowhere", "")?.status == 404, "there is everything");
        let scrape = lab.pageserver.scrape()?;
        let state = |state| scrape.value("pageserver_timeline_state", &[("timeline", TIMELINE), ("state", state)]);
        ensure!(state("broken")? == 1.0 && state("streaming")? == 0.0, "the metrics do not show it");
        ensure!(scrape.value("pageserver_timeline_readable", &[])? == 0.0, "it can be read");

        lab.pageserver.sigterm()?;
        fs::write(&manifest, good)?;
        lab.pageserver.start()?;
        ensure!(lab.pageserver.http("/readyz", "")?.status == 200, "it does not become ready again");
        Ok(())
    });
}

#[test]
fn clients_that_mean_no_good_hurt_nobody() {
    in_scratch("hostile", |dir| {
        let lab = start(dir)?;
        let (rel, lsn) = work(&lab)?;
        let mut pages = lab.pages()?;
        let known = read(&mut pages, rel, lsn)?;
        let before = lab.pageserver.scrape()?.value("process_resident_memory_bytes", &[])?;
        let address = lab.pageserver.metrics_address()?;
        let mut slow = TcpStream::connect(address)?;
        for round in 0..20 {
            // The slow one may have made room for others by now.
            let _ = slow.write_all(&b"GET /metrics HTTP/1.1\r\n"[round..=round]);
            let mut crowd = (0..100).map(|_| TcpStream::connect(address)).collect::<std::io::Result<Vec<_>>>()?;
            for (number, stream) in crowd.iter_mut().enumerate() {
                let garbage: Vec<u8> =
                    (0..100_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
                // It is closed while they write.
                let _ = match number % 4 {
                    0 => stream.write_all(&garbage),
                    1 => stream.write_all(format!("GET /metrics HTTP/1.1\r\nx: {}", "y".repeat(100_000)).as_bytes()),
                    2 => stream.write_all(b"GET /metrics HTTP/1.1\r\n\r\n"),
                    _ => Ok(()),
                };
            }
            lab.pageserver.scrape()?;
            ensure!(read(&mut pages, rel, lsn)? == known, "other pages are read");
        }
        let after = lab.pageserver.scrape()?.value("process_resident_memory_bytes", &[])?;
        ensure!(after < before + f64::from(16 << 20), "memory has grown from {before} to {after} bytes");
        let mut refused = TcpStream::connect(address)?;
        refused.write_all(b"\x16\x03\x01\r\n\r\n")?;
        let mut answer = String::new();
        refused.read_to_string(&mut answer)?;
        ensure!(answer.starts_with("HTTP/1.1 400 "), "garbage is answered with {answer:?}");
        Ok(())
    });
}
