//! Which server, and how to reach it.

use std::fmt;

use pgtls::{TlsWords, Verify};
use tokio_postgres::Config;
use tokio_postgres::config::{Host, LoadBalanceHosts, SslMode, TargetSessionAttrs};

use crate::error::Error;

/// The server to replicate from: a libpq connection string. Its password is never shown.
#[derive(Clone)]
pub struct Primary {
    pub(crate) config: Config,
    pub(crate) verify: Verify,
    /// Whether it must be a standby, or must not be one; `None` if either will do.
    pub(crate) standby: Option<bool>,
}

impl Primary {
    /// Parses a libpq connection string, either form: `host=… port=…` or `postgresql://…`.
    ///
    /// Understood are `host`, `hostaddr`, `port` (also several, tried in turn), `user`, `password`, `application_name`, `options`, `connect_timeout`,
    /// `keepalives…`, `tcp_user_timeout`, `target_session_attrs` (`read-write` means a server that is no standby, `read-only` one
    /// that is), `sslmode`, `sslrootcert`, `sslnegotiation` and `channel_binding`, with libpq's meaning except that
    /// `prefer` never falls back to plain text after TLS was agreed on, and is not satisfied with an untrusted certificate when `sslrootcert` is given.
    /// `dbname` is taken and not used, because a physical replication connection belongs to no database.
    ///
    /// # Errors
    /// [`Error::Config`] for anything else.
    pub fn parse(conninfo: &str) -> Result<Self, Error> {
        let (rest, words) = TlsWords::split(conninfo).map_err(Error::Config)?;
        let config: Config = rest.parse().map_err(|error: tokio_postgres::Error| {
            let cause = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
            Error::Config(cause)
        })?;
        let verify = words.verify().map_err(Error::Config)?;
        Self::new(config, words, verify)
    }

    /// Uses a configuration that was parsed elsewhere.
    ///
    /// # Errors
    /// [`Error::Config`] if it names no host or asks for something that [`parse`](Primary::parse) does not understand.
    pub fn from_config(config: Config, verify: Verify) -> Result<Self, Error> {
        Self::new(config, TlsWords::default(), verify)
    }

    fn new(mut config: Config, words: TlsWords, verify: Verify) -> Result<Self, Error> {
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(Error::Config("it names no host: add host=…".to_owned()));
        }
        if config.get_load_balance_hosts() != LoadBalanceHosts::Disable {
            return Err(Error::Config(
                "load_balance_hosts is not supported: hosts are tried in their order".to_owned(),
            ));
        }
        let standby = match config.get_target_session_attrs() {
            TargetSessionAttrs::ReadWrite => Some(false),
            TargetSessionAttrs::ReadOnly => Some(true),
            _ => None,
        };
        if words.requires_tls() {
            config.ssl_mode(SslMode::Require);
        }
        if verify != Verify::None && config.get_ssl_mode() == SslMode::Disable {
            return Err(Error::Config("sslrootcert has no meaning with sslmode=disable".to_owned()));
        }
        if matches!(verify, Verify::Full(_)) && config.get_hosts().is_empty() {
            return Err(Error::Config("sslmode=verify-full needs host=…, to compare with the certificate".to_owned()));
        }
        Ok(Primary { config, verify, standby })
    }

    /// Whether the connection string leaves open which of several servers it is.
    pub(crate) fn has_several_hosts(&self) -> bool {
        self.config.get_hosts().len().max(self.config.get_hostaddrs().len()) > 1
    }

    /// Names the connections for `pg_stat_replication` and `synchronous_standby_names`, unless the connection string does it. Without either
    /// they are called `pageserver`.
    #[must_use]
    pub fn with_default_application_name(mut self, name: &str) -> Self {
        if self.config.get_application_name().is_none() {
            self.config.application_name(name);
        }
        self
    }

    /// The user's name; PostgreSQL's default is that of the operating system's user.
    pub(crate) fn user(&self) -> Result<String, Error> {
        if let Some(user) = self.config.get_user() {
            return Ok(user.to_owned());
        }
        std::env::var("USER")
            .or_else(|_| std::env::var("LOGNAME"))
            .map_err(|_| Error::Config("it names no user, and the environment does neither: add user=…".to_owned()))
    }
}

fn host_name(host: &Host) -> String {
    match host {
        Host::Tcp(name) => name.clone(),
        #[cfg(unix)]
        Host::Unix(path) => path.display().to_string(),
    }
}

/// Hosts, ports and user: what tells one server from another in a log.
impl fmt::Display for Primary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut hosts: Vec<String> = self.config.get_hosts().iter().map(host_name).collect();
        if hosts.is_empty() {
            hosts = self.config.get_hostaddrs().iter().map(ToString::to_string).collect();
        }
        write!(f, "host={}", hosts.join(","))?;
        let ports: Vec<String> = self.config.get_ports().iter().map(ToString::to_string).collect();
        if !ports.is_empty() {
            write!(f, " port={}", ports.join(","))?;
        }
        if let Some(user) = self.config.get_user() {
            write!(f, " user={user}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Primary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Primary({self}, {:?})", self.verify)
    }
}
