//! The configuration file: TOML, every setting optional, unknown ones refused.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use pgdata::PgVersion;
use serde::Deserialize;

use crate::access::{self, TlsConfig, UserConfig};
use crate::cli::{DEFAULT_ADDRESS, LogFormat, ServeArgs};
use crate::limits::Limits;
use crate::users;

/// The name of the file in the data directory.
pub const FILE_NAME: &str = "pageserver.toml";

/// The most memory that a setting can ask for: a tebibyte.
const MAX_MEMORY_MIB: u64 = 1 << 20;

/// A hundred times the WAL: more is a mistake.
const MAX_IMAGE_PERCENT: u32 = 10_000;

/// The most bytes that PostgreSQL keeps of a name (`NAMEDATALEN` - 1).
const MAX_APPLICATION_NAME: usize = 63;

/// All settings of a server. Flags of `serve` win over the file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The file that the settings were read from.
    #[serde(skip)]
    pub file: Option<PathBuf>,
    /// Address and port of the libpq port.
    pub listen: SocketAddr,
    /// How log lines are written.
    pub log_format: LogFormat,
    /// The most client connections at a time.
    pub max_connections: usize,
    /// What else a client may cost.
    pub limits: Limits,
    /// Who may connect; everybody, if nobody is named.
    pub users: Vec<UserConfig>,
    /// The certificate, without which there is no TLS.
    pub tls: Option<TlsConfig>,
    /// How long a read waits for an LSN that has not arrived, in seconds.
    pub wait_timeout_seconds: f64,
    /// How much of the newest WAL stays in memory for reads, in MiB, per timeline.
    pub wal_window_mib: u64,
    /// How much memory pages take that were read and may be read again, in MiB, for all timelines together.
    pub page_cache_mib: u64,
    /// How much disk images of pages may take that are made in the background, in percent of the WAL; 0: none are made.
    pub image_percent: u32,
    /// The redo engine.
    pub redo: RedoConfig,
    /// How PostgreSQL servers are followed.
    pub receiver: ReceiverConfig,
    /// The HTTP port for monitoring.
    pub metrics: MetricsConfig,
}

/// `[metrics]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MetricsConfig {
    /// Address and port of the HTTP port; there is none if it is not set.
    pub listen: Option<SocketAddr>,
    /// Whether the address may be another than a loopback one, though everybody who reaches it is answered.
    pub allow_remote: bool,
}

impl MetricsConfig {
    fn check(&self) -> Result<()> {
        match self.listen {
            Some(listen) if !listen.ip().is_loopback() && !self.allow_remote => bail!(
                "metrics.listen = {listen} is not a loopback address: this port has neither passwords nor TLS. If everybody who reaches it may see                  the metrics, set metrics.allow_remote = true"
            ),
            _ => Ok(()),
        }
    }
}

/// `[redo]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RedoConfig {
    /// Which engine makes pages.
    pub engine: EngineChoice,
    /// Child processes for each version of PostgreSQL; 0 means one for each processor.
    pub processes: usize,
    /// Directory with the `postgres` program of a major version, as in `{ 15 = "/usr/lib/postgresql/15/bin" }`.
    pub pg_bin: std::collections::BTreeMap<String, PathBuf>,
    /// The user that children run as when the server runs as root, which PostgreSQL refuses.
    pub user: Option<String>,
}

/// Which engine makes pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineChoice {
    /// In process; PostgreSQL is asked only for records of resource managers that are not known, and only then started.
    #[default]
    Native,
    /// PostgreSQL's own routines in child processes.
    Postgres,
    /// Both, compared: PostgreSQL's page is the answer, a difference is logged, counted and written to a file.
    Verify,
}

/// `[receiver]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReceiverConfig {
    /// What the connections are called on the primary: the name for `synchronous_standby_names`. One in a connection string wins.
    pub application_name: String,
    /// Positions are reported at least this often, in seconds.
    pub status_interval_seconds: f64,
    /// A connection on which nothing arrives for this long is given up, in seconds.
    pub timeout_seconds: f64,
}

impl RedoConfig {
    /// The directory of a version's programs: as configured, or else as the environment says (`PG_BIN_15` and so on), or else
    /// nothing, which means Debian's place for them.
    pub fn bin_dir(&self, version: PgVersion) -> Option<PathBuf> {
        let configured = self.pg_bin.get(&version.to_string()).cloned();
        configured.or_else(|| std::env::var_os(format!("PG_BIN_{version}")).map(PathBuf::from))
    }

    fn check(&self) -> Result<()> {
        for version in self.pg_bin.keys() {
            if !PgVersion::ALL.iter().any(|known| known.to_string() == *version) {
                bail!("redo.pg_bin names PostgreSQL {version:?}: supported are 15 to 18");
            }
        }
        if let Some(user) = &self.user {
            users::ids(user).map_err(|error| anyhow!(error))?;
        }
        Ok(())
    }
}

impl Default for Config {
    fn default() -> Self {
        Config {
            file: None,
            listen: DEFAULT_ADDRESS.parse().expect("a socket address"),
            log_format: LogFormat::Text,
            max_connections: 1000,
            limits: Limits::default(),
            users: Vec::new(),
            tls: None,
            wait_timeout_seconds: 60.0,
            wal_window_mib: 256,
            page_cache_mib: 128,
            image_percent: 100,
            redo: RedoConfig::default(),
            receiver: ReceiverConfig::default(),
            metrics: MetricsConfig::default(),
        }
    }
}

impl Default for ReceiverConfig {
    fn default() -> Self {
        ReceiverConfig {
            application_name: "pageserver".to_owned(),
            status_interval_seconds: 10.0,
            timeout_seconds: 60.0,
        }
    }
}

impl ReceiverConfig {
    /// PostgreSQL would cut off a longer name and put question marks for other characters, and wait for a standby that never comes.
    fn check(&self) -> Result<()> {
        let name = &self.application_name;
        if name.is_empty() || name.len() > MAX_APPLICATION_NAME || !name.bytes().all(|b| (b' '..=b'~').contains(&b)) {
            bail!(
                "receiver.application_name = {name:?}: expected 1 to {MAX_APPLICATION_NAME} printable ASCII characters"
            );
        }
        Ok(())
    }
}

impl Config {
    /// The settings of a `serve` command: defaults, then the file, then the flags.
    pub fn load(args: &ServeArgs) -> Result<Config> {
        let mut config = match &args.config {
            Some(file) => Self::read(file)?,
            None => {
                let file = args.data.join(FILE_NAME);
                if file.exists() { Self::read(&file)? } else { Config::default() }
            }
        };
        if let Some(listen) = args.listen {
            config.listen = listen;
        }
        if let Some(listen) = args.metrics_listen {
            config.metrics.listen = Some(listen);
        }
        if let Some(format) = args.log_format {
            config.log_format = format;
        }
        config.check()?;
        Ok(config)
    }

    fn read(file: &Path) -> Result<Config> {
        let text =
            std::fs::read_to_string(file).with_context(|| format!("cannot read configuration {}", file.display()))?;
        let mut config = Self::parse(&text).with_context(|| format!("in configuration {}", file.display()))?;
        if let Some(tls) = &mut config.tls {
            tls.resolve(file.parent().unwrap_or(Path::new("")));
        }
        config.file = Some(file.to_owned());
        Ok(config)
    }

    /// The error names the line, and does not show it as the library's own would: it may be a secret.
    fn parse(text: &str) -> Result<Config> {
        toml::from_str(text).map_err(|error| {
            let line =
                error.span().map(|span| 1 + text.as_bytes()[..span.start].iter().filter(|&&b| b == b'\n').count());
            match line {
                Some(line) => anyhow!("line {line}: {}", error.message()),
                None => anyhow!("{}", error.message()),
            }
        })
    }

    fn check(&self) -> Result<()> {
        access::check(self.listen, &self.users, self.tls.as_ref())?;
        self.limits.check()?;
        for (name, value) in [
            ("wait_timeout_seconds", self.wait_timeout_seconds),
            ("receiver.status_interval_seconds", self.receiver.status_interval_seconds),
            ("receiver.timeout_seconds", self.receiver.timeout_seconds),
        ] {
            if !(value > 0.0 && value <= 86_400.0) {
                bail!("{name} = {value}: expected more than 0 and at most 86400 seconds");
            }
        }
        self.redo.check()?;
        self.metrics.check()?;
        self.receiver.check()?;
        for (name, value) in [("wal_window_mib", self.wal_window_mib), ("page_cache_mib", self.page_cache_mib)] {
            if value > MAX_MEMORY_MIB {
                bail!("{name} = {value}: expected at most {MAX_MEMORY_MIB}");
            }
        }
        if self.image_percent > MAX_IMAGE_PERCENT {
            bail!("image_percent = {}: expected at most {MAX_IMAGE_PERCENT}", self.image_percent);
        }
        if self.max_connections == 0 {
            bail!("max_connections = 0: expected at least 1");
        }
        Ok(())
    }

    /// How long a read waits for an LSN that has not arrived.
    pub fn wait_timeout(&self) -> Duration {
        Duration::from_secs_f64(self.wait_timeout_seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config> {
        let config = Config::parse(text)?;
        config.check()?;
        Ok(config)
    }

    #[test]
    fn an_empty_file_means_the_defaults() {
        let config = parse("").expect("defaults");
        assert_eq!(config.listen.to_string(), DEFAULT_ADDRESS);
        assert_eq!(config.wait_timeout(), Duration::from_secs(60));
    }

    #[test]
    fn settings_are_read() {
        let config =
            parse("listen = '127.0.0.1:1'\n[redo]\nengine = 'verify'\nprocesses = 3\npg_bin = { 15 = '/pg/bin' }\n")
                .expect("valid");
        assert_eq!((config.redo.engine, config.redo.processes), (EngineChoice::Verify, 3));
        assert_eq!(config.redo.pg_bin["15"], PathBuf::from("/pg/bin"));
    }

    #[test]
    fn the_metrics_port_is_shown_to_others_if_that_is_said() {
        assert_eq!(parse("").expect("defaults").metrics.listen, None);
        let config = parse("[metrics]\nlisten = '0.0.0.0:6401'\nallow_remote = true").expect("valid");
        assert_eq!(config.metrics.listen, "0.0.0.0:6401".parse().ok());
        parse("[metrics]\nlisten = '[::1]:0'").expect("a loopback address");
    }

    #[test]
    fn mistakes_are_refused_with_their_name() {
        for (text, part) in [
            ("listn = 1", "listn"),
            ("listen = '0.0.0.0:6400'", "loopback"),
            ("wait_timeout_seconds = 0", "wait_timeout_seconds"),
            ("max_connections = 0", "max_connections"),
            ("wal_window_mib = 17592186044416", "wal_window_mib"),
            ("page_cache_mib = 17592186044416", "page_cache_mib"),
            ("image_percent = 10001", "image_percent"),
            ("image_percent = -1", "-1"),
            ("[redo]\nengine = 'fast'", "fast"),
            ("[redo]\npg_bin = { 14 = '/pg/bin' }", "14"),
            ("[redo]\nuser = 'no such user'", "no such user"),
            ("[metrics]\nlisten = '0.0.0.0:6401'", "allow_remote"),
            ("[receiver]\napplication_name = ''", "application_name"),
            ("[receiver]\napplication_name = 'Büro'", "application_name"),
        ] {
            let error = format!("{:#}", parse(text).expect_err(text));
            assert!(error.contains(part), "{error}");
        }
    }
}
