//! What a client may cost: the part of the configuration that bounds it.

use std::time::Duration;

use anyhow::{Result, bail};
use rustix::process::{Resource, getrlimit, setrlimit};
use serde::Deserialize;

/// A day.
const LONGEST_SECONDS: f64 = 86_400.0;
/// Startup packets may have between these many bytes: PostgreSQL's own bound, and a size at which a user's name still fits.
const STARTUP_BYTES: std::ops::RangeInclusive<usize> = 256..=10_000;
/// Queries may have between these many bytes. The longest that the commands need is a connection string.
const QUERY_BYTES: std::ops::RangeInclusive<usize> = 1024..=64 << 20;

/// `[limits]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// How long a client may take to connect: TLS, startup packets and authentication together.
    pub authentication_timeout_seconds: f64,
    /// How long a connection may be idle; 0 for as long as it likes.
    pub idle_timeout_seconds: f64,
    /// How long a client may leave what it is sent unread.
    pub write_timeout_seconds: f64,
    /// The longest startup packet, in bytes.
    pub max_startup_bytes: usize,
    /// The longest query, in bytes.
    pub max_query_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            authentication_timeout_seconds: 10.0,
            idle_timeout_seconds: 0.0,
            write_timeout_seconds: 300.0,
            max_startup_bytes: page_service::messages::MAX_STARTUP,
            max_query_bytes: page_service::messages::MAX_QUERY,
        }
    }
}

impl Limits {
    /// Finds values that cannot be meant.
    pub fn check(&self) -> Result<()> {
        for (name, value, least) in [
            ("authentication_timeout_seconds", self.authentication_timeout_seconds, 0.001),
            ("idle_timeout_seconds", self.idle_timeout_seconds, 0.0),
            ("write_timeout_seconds", self.write_timeout_seconds, 0.001),
        ] {
            if !(least..=LONGEST_SECONDS).contains(&value) {
                bail!("limits.{name} = {value}: expected {least} to {LONGEST_SECONDS} seconds");
            }
        }
        for (name, value, range) in [
            ("max_startup_bytes", self.max_startup_bytes, STARTUP_BYTES),
            ("max_query_bytes", self.max_query_bytes, QUERY_BYTES),
        ] {
            if !range.contains(&value) {
                bail!("limits.{name} = {value}: expected {} to {}", range.start(), range.end());
            }
        }
        Ok(())
    }

    /// What the server is told.
    pub fn apply(&self, service: &mut page_service::Config) {
        service.authentication_timeout = Duration::from_secs_f64(self.authentication_timeout_seconds);
        let idle = Duration::from_secs_f64(self.idle_timeout_seconds);
        service.idle_timeout = (!idle.is_zero()).then_some(idle);
        service.write_timeout = Duration::from_secs_f64(self.write_timeout_seconds);
        service.max_startup_bytes = self.max_startup_bytes;
        service.max_query_bytes = self.max_query_bytes;
    }
}

/// Takes as many file descriptors as the system allows: each connection needs one, and the usual limit of 1024 is meant for programs
/// that cannot count further.
pub fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::warn!(%error, "cannot raise the limit of open files");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_cannot_be_meant_are_refused() {
        Limits::default().check().expect("the defaults");
        for text in [
            "authentication_timeout_seconds = 0",
            "write_timeout_seconds = 1e9",
            "idle_timeout_seconds = -1",
            "idle_timeout_seconds = nan",
            "max_startup_bytes = 100000",
            "max_query_bytes = 10",
        ] {
            let limits: Limits = toml::from_str(text).expect("numbers");
            let name = text.split(' ').next().expect("a name");
            assert!(limits.check().expect_err(text).to_string().contains(name));
        }
    }

    #[test]
    fn zero_idles_for_ever() {
        let mut service = page_service::Config::default();
        Limits { idle_timeout_seconds: 0.0, ..Limits::default() }.apply(&mut service);
        assert_eq!(service.idle_timeout, None);
        Limits { idle_timeout_seconds: 1.5, ..Limits::default() }.apply(&mut service);
        assert_eq!(service.idle_timeout, Some(Duration::from_millis(1500)));
    }
}
