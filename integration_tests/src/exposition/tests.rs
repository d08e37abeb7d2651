//! The checker lets nothing pass.

use super::Exposition;
use super::ExpositionFormat::{self, OpenMetrics, Prometheus};

const GOOD: &str = "\
# HELP requests_total Requests.
# TYPE requests_total counter
requests_total{kind=\"a \\\"b\\\"\\n\"} 3
requests_total{kind=\"c\"} 1e+06
# HELP took_seconds Times.
# TYPE took_seconds histogram
took_seconds_bucket{le=\"0.5\"} 1
took_seconds_bucket{le=\"+Inf\"} 2
took_seconds_sum 1.5
took_seconds_count 2
";

#[test]
fn samples_are_found_by_name_and_labels() {
    let read = Exposition::parse(GOOD, Prometheus).expect("good");
    assert_eq!(read.value("requests_total", &[("kind", "a \"b\"\n")]).expect("one"), 3.0);
    assert_eq!(read.value("took_seconds_bucket", &[("le", "+Inf")]).expect("one"), 2.0);
    assert_eq!(read.sum("requests_total", &[]), 1_000_003.0);
    assert!(read.value("requests_total", &[]).is_err());
    assert!(read.value("request_total", &[]).is_err());
}

fn refused(text: &str, format: ExpositionFormat) {
    assert!(Exposition::parse(text, format).is_err(), "{format:?} takes {text}");
}

#[test]
fn what_is_not_as_it_must_be_is_refused() {
    let without_end = GOOD.trim_end();
    refused(without_end, Prometheus);
    for (right, wrong) in [
        ("# HELP requests_total Requests.\n", ""),
        ("# TYPE requests_total counter\n", ""),
        ("counter\n", "summary\n"),
        ("{kind=\"c\"}", "{kind=\"a \\\"b\\\"\\n\"}"),
        ("{kind=\"c\"}", "{kind=\"c\",kind=\"d\"}"),
        ("{kind=\"c\"}", "{kind=\"c\\t\"}"),
        ("{kind=\"c\"}", "{le=\"1\"}"),
        ("1e+06", "one"),
        ("1e+06", "-1"),
        ("1e+06", "1 1700000000"),
        ("requests_total", "requests"),
        ("le=\"0.5\"} 1", "le=\"0.5\"} 3"),
        ("took_seconds_count 2", "took_seconds_count 3"),
        ("took_seconds_bucket{le=\"+Inf\"} 2\n", ""),
        ("took_seconds_sum 1.5\n", ""),
        ("# TYPE took", "\n# TYPE took"),
        ("took_seconds_count 2\n", "took_seconds_count 2\nrequests_total{kind=\"d\"} 1\n"),
    ] {
        assert!(GOOD.contains(right), "{right}");
        refused(&GOOD.replace(right, wrong), Prometheus);
    }
}

#[test]
fn openmetrics_has_an_end_and_names_counters_without_their_ending() {
    refused(GOOD, OpenMetrics);
    let counter = GOOD.replace("HELP requests_total", "HELP requests").replace("TYPE requests_total", "TYPE requests");
    let good = format!("{counter}# EOF\n").replace("# TYPE took", "# UNIT took_seconds seconds\n# TYPE took");
    Exposition::parse(&good, OpenMetrics).expect("good");
    refused(&good, Prometheus);
    refused(&counter, OpenMetrics);
    refused(&good.replace("UNIT took_seconds seconds", "UNIT took_seconds bytes"), OpenMetrics);
    refused(&format!("{good}# EOF\n"), OpenMetrics);
}
