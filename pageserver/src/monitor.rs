//! What the HTTP port answers: `/metrics`, `/healthz`, `/readyz`.

use std::sync::{Arc, OnceLock};

use pgdata::PgVersion;
use repository::PageStats;
use walredo::{RedoStats, VerifyStats};

use crate::backend::Pageserver;
use crate::http::{Request, Response, Site, Status};
use crate::metrics::{Format, Metrics, Source, encode};
use crate::report::{self, Numbers, TimelineReport};

/// The server as its operators' tools see it. It answers from before the data directory is opened, which takes a while if there is
/// much WAL to be decoded.
pub struct Monitor {
    metrics: Arc<Metrics>,
    max_connections: usize,
    server: OnceLock<Arc<Pageserver>>,
}

impl Monitor {
    /// For a server that is not there yet.
    pub fn new(metrics: Arc<Metrics>, max_connections: usize) -> Arc<Monitor> {
        Arc::new(Monitor { metrics, max_connections, server: OnceLock::new() })
    }

    /// The server is there and serves.
    pub fn serves(&self, server: Arc<Pageserver>) {
        // It is said once.
        let _ = self.server.set(server);
    }

    fn ready(&self) -> Response {
        let Some(server) = self.server.get() else {
            return Response::text(Status::Unavailable, "the data directory is being opened");
        };
        if server.stop_handle().is_stopped() {
            return Response::text(Status::Unavailable, "the server is shutting down");
        }
        readiness(&report::timelines(server))
    }
}

/// Whether every timeline can be read, and if not, which cannot and why.
fn readiness(timelines: &[TimelineReport]) -> Response {
    let unreadable = |timeline: &&TimelineReport| !timeline.numbers.as_ref().is_some_and(Numbers::is_readable);
    let lines: Vec<_> = timelines.iter().filter(unreadable).map(what_is_wrong).collect();
    match lines.len() {
        0 => Response::text(Status::Ok, &format!("ready: {} timelines can be read", timelines.len())),
        _ => Response::text(Status::Unavailable, &lines.join("\n")),
    }
}

fn what_is_wrong(timeline: &TimelineReport) -> String {
    let TimelineReport { name, id, state, detail, .. } = timeline;
    format!("timeline {name} ({id}) cannot be read: {}: {detail}", state.words())
}

/// The counters, and what the running server knows.
struct Now(Arc<Monitor>);

impl Source for Now {
    fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    fn timelines(&self) -> Vec<TimelineReport> {
        self.0.server.get().map(|server| report::timelines(server)).unwrap_or_default()
    }

    fn kept_pages(&self) -> Option<PageStats> {
        self.0.server.get().map(|server| server.repository.page_stats())
    }

    fn redo_processes(&self) -> Vec<(PgVersion, RedoStats)> {
        self.0.server.get().map(|server| server.engines.processes()).unwrap_or_default()
    }

    fn redo_verified(&self) -> Option<VerifyStats> {
        self.0.server.get().and_then(|server| server.engines.verified())
    }

    fn max_connections(&self) -> usize {
        self.0.max_connections
    }
}

/// The pages of the HTTP port.
pub struct MonitorSite {
    monitor: Arc<Monitor>,
    now: Arc<dyn Source>,
}

impl MonitorSite {
    /// Answers out of `monitor`.
    pub fn new(monitor: Arc<Monitor>) -> MonitorSite {
        let now = Arc::new(Now(Arc::clone(&monitor)));
        MonitorSite { monitor, now }
    }

    fn numbers(&self, accept: &str) -> Response {
        let format = Format::accepted(accept);
        match encode(&self.now, format) {
            Ok(body) => Response { status: Status::Ok, content_type: format.content_type(), body },
            Err(error) => Response::text(Status::InternalError, &format!("cannot write the metrics: {error}")),
        }
    }
}

impl Site for MonitorSite {
    fn answer(&self, request: &Request) -> Response {
        match request.path.as_str() {
            "/metrics" => self.numbers(&request.accept),
            "/healthz" => Response::text(Status::Ok, "alive"),
            "/readyz" => self.monitor.ready(),
            _ => Response::text(Status::NotFound, "there are /metrics, /healthz and /readyz"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::report::TimelineState;
    use crate::report::testing::{broken, open};

    #[test]
    fn every_timeline_that_cannot_be_read_is_named_with_its_reason() {
        let good = open("good", TimelineState::Streaming, 16, 8);
        let behind = open("behind", TimelineState::CatchingUp, 8, 16);
        let response = readiness(&[good, behind, broken("torn", "layer 7 is damaged")]);
        assert_eq!(response.status, Status::Unavailable);
        assert!(!response.body.contains("good"), "{}", response.body);
        for part in ["timeline behind (", "catching up", "timeline torn (", "broken: layer 7 is damaged"] {
            assert!(response.body.contains(part), "{}", response.body);
        }
    }

    #[test]
    fn a_timeline_that_takes_no_more_wal_can_still_be_read() {
        let stopped = open("stopped", TimelineState::Failed, 16, 8);
        assert_eq!(readiness(&[stopped]).status, Status::Ok);
        assert_eq!(readiness(&[]).status, Status::Ok);
    }

    #[test]
    fn before_the_data_are_there_it_lives_and_is_not_ready() {
        let site = MonitorSite::new(Monitor::new(Metrics::new(PathBuf::from("/")), 10));
        let ask = |path: &str| site.answer(&Request { head_only: false, path: path.to_owned(), accept: String::new() });
        assert_eq!(ask("/healthz").status, Status::Ok);
        assert_eq!(ask("/readyz").status, Status::Unavailable);
        assert!(ask("/metrics").body.contains("\npageserver_connections 0\n"), "{}", ask("/metrics").body);
        assert_eq!(ask("/").status, Status::NotFound);
    }
}
