//! The numbers in the text formats of Prometheus and OpenMetrics.
//!
//! Every name, unit and explanation is here. Labels have few values: names of this program's own, and the names and ids of timelines.

mod families;
mod server;
#[cfg(test)]
mod tests;
mod timelines;

use std::fmt;
use std::sync::Arc;

use pgdata::PgVersion;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, prometheus_text, text};
use prometheus_client::registry::Registry;
use repository::PageStats;
use walredo::{RedoStats, VerifyStats};

use super::Metrics;
use crate::report::TimelineReport;
use families::Families;

/// A text format.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// Prometheus's own, version 0.0.4.
    Prometheus,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Format {
    /// The one for a client that accepts these media types: OpenMetrics if it knows it.
    pub fn accepted(accept: &str) -> Format {
        let known = accept.split(',').any(|part| part.trim().starts_with("application/openmetrics-text"));
        if known { Format::OpenMetrics } else { Format::Prometheus }
    }

    /// Its media type.
    pub const fn content_type(self) -> &'static str {
        match self {
            Format::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Where all numbers come from.
pub trait Source: Send + Sync + 'static {
    /// What has been counted.
    fn metrics(&self) -> &Metrics;
    /// The timelines; none while the data directory is being opened.
    fn timelines(&self) -> Vec<TimelineReport>;
    /// The pages that are kept; `None` while the data directory is being opened.
    fn kept_pages(&self) -> Option<PageStats>;
    /// The redo processes, by PostgreSQL version.
    fn redo_processes(&self) -> Vec<(PgVersion, RedoStats)>;
    /// What comparing redo engines has shown, if they are compared.
    fn redo_verified(&self) -> Option<VerifyStats>;
    /// The most client connections at a time.
    fn max_connections(&self) -> usize;
}

/// Writes everything down.
///
/// # Errors
/// Only if formatting fails, which it does not.
pub fn encode(source: &Arc<dyn Source>, format: Format) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Everything(Arc::clone(source))));
    let mut out = String::new();
    match format {
        Format::Prometheus => prometheus_text::encode(&mut out, &registry)?,
        Format::OpenMetrics => text::encode(&mut out, &registry)?,
    }
    Ok(out)
}

struct Everything(Arc<dyn Source>);

impl fmt::Debug for Everything {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Everything")
    }
}

impl Collector for Everything {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut out = Families(encoder);
        server::write(&mut out, &*self.0)?;
        timelines::write(&mut out, &self.0.timelines())
    }
}
