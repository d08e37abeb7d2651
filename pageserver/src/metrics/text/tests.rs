//! Known numbers come out under their names.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use page_service::{ConnectionEnd, Observer, RequestKind, SqlState};
use pgdata::{Lsn, PgVersion};
use repository::PageStats;
use walreceiver::ReceiverStatus;
use walredo::{RedoStats, VerifyStats};

use super::{Format, Source, encode};
use crate::metrics::Metrics;
use crate::report::testing::{broken, open};
use crate::report::{Following, TimelineReport, TimelineState};

/// A server that something has been done with.
struct Made(Arc<Metrics>);

impl Source for Made {
    fn metrics(&self) -> &Metrics {
        &self.0
    }

    fn timelines(&self) -> Vec<TimelineReport> {
        let mut main = open("main", TimelineState::CatchingUp, 1000, 2000);
        let mut receiver = ReceiverStatus::new().snapshot();
        receiver.server_end = Lsn(1500);
        receiver.bytes = 77;
        receiver.connections = 3;
        receiver.last_message = Some(UNIX_EPOCH + Duration::from_secs(1_700_000_000));
        let lag = Duration::from_millis(2500);
        main.numbers.as_mut().expect("an open timeline").following = Some(Following { receiver, lag });
        vec![main, broken("o\"dd\n", "damaged")]
    }

    fn kept_pages(&self) -> Option<PageStats> {
        Some(PageStats { hits: 7, misses: 5, bytes: 16768, limit: 1 << 20 })
    }

    fn redo_processes(&self) -> Vec<(PgVersion, RedoStats)> {
        vec![(PgVersion::V15, RedoStats { processes: 2, starts: 5, failures: 3, timeouts: 1, ..RedoStats::default() })]
    }

    fn redo_verified(&self) -> Option<VerifyStats> {
        Some(VerifyStats { different: 2, ..VerifyStats::default() })
    }

    fn max_connections(&self) -> usize {
        10
    }
}

fn written(format: Format) -> String {
    let metrics = Metrics::new(PathBuf::from("/"));
    let port = &metrics.port;
    port.request(RequestKind::Page, Duration::from_micros(3), None);
    port.request(RequestKind::Page, Duration::from_micros(300), Some(SqlState::DATA_CORRUPTED));
    port.command("status", Duration::from_millis(1500), None);
    port.command("what?", Duration::ZERO, Some(SqlState::SYNTAX_ERROR));
    (0..3).for_each(|_| port.connection_opened());
    port.connection_ended(ConnectionEnd::Refused(SqlState::TOO_MANY_CONNECTIONS));
    metrics.waits.observe(Duration::from_secs(60));
    metrics.redo.engine("postgres").pages.observe(Duration::from_micros(30));
    encode(&(Arc::new(Made(metrics)) as Arc<dyn Source>), format).expect("formatting")
}

fn assert_lines(text: &str, lines: &[&str]) {
    for line in lines {
        assert!(text.lines().any(|written| written == *line), "no line {line:?} in\n{text}");
    }
}

#[test]
fn what_the_server_did() {
    assert_lines(
        &written(Format::Prometheus),
        &[
            concat!("pageserver_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
            "# TYPE pageserver_request_seconds histogram",
            "pageserver_request_seconds_bucket{kind=\"page\",le=\"2e-06\"} 0",
            "pageserver_request_seconds_bucket{kind=\"page\",le=\"5e-06\"} 1",
            "pageserver_request_seconds_bucket{kind=\"page\",le=\"0.0005\"} 2",
            "pageserver_request_seconds_bucket{kind=\"page\",le=\"+Inf\"} 2",
            "pageserver_request_seconds_sum{kind=\"page\"} 0.000303",
            "pageserver_request_seconds_count{kind=\"page\"} 2",
            "pageserver_request_seconds_count{kind=\"slru_segment\"} 0",
            "# TYPE pageserver_request_errors_total counter",
            "pageserver_request_errors_total{kind=\"page\",sqlstate=\"XX001\"} 1",
            "pageserver_lsn_wait_seconds_bucket{le=\"50\"} 0",
            "pageserver_lsn_wait_seconds_count 1",
            "pageserver_commands_total{command=\"status\"} 1",
            "pageserver_command_seconds_total{command=\"status\"} 1.5",
            "pageserver_command_errors_total{command=\"unknown\",sqlstate=\"42601\"} 1",
            "pageserver_page_cache_hits_total 7",
            "pageserver_page_cache_misses_total 5",
            "pageserver_page_cache_bytes 16768",
            "pageserver_page_cache_limit_bytes 1048576",
            "pageserver_connections 2",
            "pageserver_connections_limit 10",
            "pageserver_connections_opened_total 3",
            "pageserver_connections_ended_total{how=\"refused\"} 1",
            "pageserver_connections_refused_total{sqlstate=\"53300\"} 1",
            "pageserver_redo_seconds_count{engine=\"postgres\"} 1",
            "pageserver_redo_verified_pages_total{result=\"different\"} 2",
            "pageserver_redo_processes{postgres=\"15\"} 2",
            "pageserver_redo_process_starts_total{postgres=\"15\"} 5",
            "pageserver_redo_process_failures_total{postgres=\"15\"} 3",
            "pageserver_redo_process_timeouts_total{postgres=\"15\"} 1",
        ],
    );
}

#[test]
fn what_its_timelines_are() {
    const MAIN: &str = "timeline=\"main\",timeline_id=\"00000000000000000000000000000000\"";
    let of_main = |line: &str| line.replace("MAIN", MAIN);
    let lines = [
        "pageserver_timeline_info{MAIN,postgres=\"15\"} 1",
        "pageserver_timeline_state{MAIN,state=\"catching_up\"} 1",
        "pageserver_timeline_state{MAIN,state=\"streaming\"} 0",
        "pageserver_timeline_readable{MAIN} 0",
        "pageserver_timeline_last_record_lsn{MAIN} 1000",
        "pageserver_timeline_readable_from_lsn{MAIN} 2000",
        "pageserver_timeline_primary_lsn{MAIN} 1500",
        "pageserver_timeline_lag_bytes{MAIN} 500",
        "pageserver_timeline_lag_seconds{MAIN} 2.5",
        "pageserver_timeline_received_bytes_total{MAIN} 77",
        "pageserver_timeline_connections_total{MAIN} 3",
        "pageserver_timeline_last_message_timestamp_seconds{MAIN} 1700000000.0",
        "pageserver_timeline_base_bytes{MAIN} 2000",
        "pageserver_timeline_wal_bytes{MAIN} 1000",
        "pageserver_timeline_image_bytes{MAIN} 3000",
        "pageserver_timeline_images{MAIN} 6",
        "pageserver_timeline_damaged_images_total{MAIN} 1",
        "pageserver_timeline_index_bytes{MAIN} 600",
        "pageserver_timeline_window_bytes{MAIN} 70",
        "pageserver_timeline_changed_pages{MAIN} 4",
        "pageserver_timeline_versions{MAIN} 5",
    ]
    .map(of_main);
    let text = written(Format::Prometheus);
    assert_lines(&text, &lines.each_ref().map(String::as_str));
}

#[test]
fn a_broken_timeline_shows_whatever_its_name_is() {
    let text = written(Format::Prometheus);
    let labels = "timeline=\"o\\\"dd\\n\",timeline_id=\"ffffffffffffffffffffffffffffffff\"";
    assert_lines(
        &text,
        &[
            format!("pageserver_timeline_state{{{labels},state=\"broken\"}} 1").as_str(),
            format!("pageserver_timeline_state{{{labels},state=\"streaming\"}} 0").as_str(),
            format!("pageserver_timeline_readable{{{labels}}} 0").as_str(),
        ],
    );
    assert!(!text.contains(&format!("pageserver_timeline_last_record_lsn{{{labels}")), "{text}");
}

#[test]
fn both_formats_have_their_names_for_the_same() {
    let text = written(Format::OpenMetrics);
    assert_lines(
        &text,
        &[
            "# TYPE pageserver_request_errors counter",
            "pageserver_request_errors_total{kind=\"page\",sqlstate=\"XX001\"} 1",
            "# UNIT pageserver_timeline_lag_seconds seconds",
            "pageserver_request_seconds_bucket{le=\"0.0005\",kind=\"page\"} 2",
        ],
    );
    assert!(text.ends_with("# EOF\n"));
    assert!(!written(Format::Prometheus).contains("# EOF"));
}

#[test]
fn the_process_says_when_it_was_started() {
    let text = written(Format::Prometheus);
    let line = text.lines().find(|line| line.starts_with("process_start_time_seconds ")).expect("a line");
    let started: f64 = line.split(' ').nth(1).and_then(|number| number.parse().ok()).expect("a number");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64();
    assert!(started <= now && started > now - 3600.0, "{started} is not a moment ago");
}

#[test]
fn openmetrics_is_for_those_who_know_it() {
    let prometheus = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                      text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    assert_eq!(Format::accepted(prometheus), Format::OpenMetrics);
    for accept in ["", "*/*", "text/plain", "application/vnd.google.protobuf, text/plain"] {
        assert_eq!(Format::accepted(accept), Format::Prometheus);
    }
}
