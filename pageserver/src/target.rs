//! Which server a command talks to, and as whom.

use std::env;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

use anyhow::{Context, Result, anyhow, bail};
use page_service::{ChannelBinding, Client, ClientConfig, ClientError, ClientTls, Verify};
use pgtls::TlsWords;
use tokio_postgres::config::{self, Host, SslMode, SslNegotiation};

use crate::password;

/// The server's port, if a connection string names none.
const PORT: u16 = 6400;

/// A server: its hosts in turn, and how to connect to them.
#[derive(Debug, Clone)]
pub struct Target {
    /// Names or addresses, each with its port.
    hosts: Vec<(String, u16)>,
    config: ClientConfig,
}

impl FromStr for Target {
    type Err = anyhow::Error;

    /// `HOST:PORT`, or a connection string in either of libpq's forms.
    fn from_str(text: &str) -> Result<Target> {
        if text.contains('=') || text.contains("://") { parse_conninfo(text) } else { parse_address(text) }
    }
}

fn parse_address(text: &str) -> Result<Target> {
    let parts = text.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
    let Some((host, port)) = parts else { bail!("{text:?} is not of the form HOST:PORT, nor a connection string") };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let tls = ClientTls { optional: true, ..ClientTls::required(host, Verify::None) };
    Ok(Target { hosts: vec![(host.to_owned(), port)], config: ClientConfig { tls: Some(tls), ..base_config() } })
}

/// As the environment has it.
fn base_config() -> ClientConfig {
    let variable = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    let mut config = ClientConfig::default();
    config.user = variable("PGUSER").unwrap_or(config.user);
    config.password = variable("PAGESERVER_PASSWORD").or_else(|| variable("PGPASSWORD")).map(Into::into);
    config
}

fn parse_conninfo(text: &str) -> Result<Target> {
    // No message repeats the text: there may be a password in it.
    let (rest, words) = TlsWords::split(text).map_err(|error| anyhow!("in the connection string: {error}"))?;
    let parsed: tokio_postgres::Config = with_ports(&rest).parse().map_err(|error: tokio_postgres::Error| {
        let cause = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
        anyhow!("in the connection string: {cause}")
    })?;
    let verify = words.verify().map_err(|error| anyhow!("in the connection string: {error}"))?;
    let mut config = base_config();
    if let Some(user) = parsed.get_user() {
        config.user = user.to_owned();
    }
    if let Some(password) = parsed.get_password() {
        let password = std::str::from_utf8(password).context("the password in the connection string is not UTF-8")?;
        config.password = Some(password.to_owned().into());
    }
    if let Some(timeout) = parsed.get_connect_timeout().filter(|timeout| !timeout.is_zero()) {
        config.connect_timeout = *timeout;
    }
    config.channel_binding = match parsed.get_channel_binding() {
        config::ChannelBinding::Disable => ChannelBinding::Disable,
        config::ChannelBinding::Require => ChannelBinding::Require,
        _ => ChannelBinding::Prefer,
    };
    config.tls = tls(&parsed, verify, words.requires_tls())?;
    Ok(Target { hosts: hosts(&parsed)?, config })
}

/// A URL whose hosts all have a port: the library would give PostgreSQL's to those that have none.
fn with_ports(conninfo: &str) -> String {
    let Some((scheme, rest)) = conninfo.split_once("://") else { return conninfo.to_owned() };
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let (user, hosts) = authority.split_at(authority.rfind('@').map_or(0, |at| at + 1));
    let has_port = |host: &str| host.rsplit_once(']').map_or(host, |(_, after)| after).contains(':');
    let with_port = |host: &str| if has_port(host) { host.to_owned() } else { format!("{host}:{PORT}") };
    let hosts: Vec<_> = hosts.split(',').map(with_port).collect();
    format!("{scheme}://{user}{}{path}", hosts.join(","))
}

fn tls(parsed: &tokio_postgres::Config, verify: Verify, required: bool) -> Result<Option<ClientTls>> {
    let mode = parsed.get_ssl_mode();
    if mode == SslMode::Disable && !required {
        return Ok(None);
    }
    let tls = ClientTls {
        // Each host gets its own name.
        server_name: String::new(),
        verify,
        optional: mode == SslMode::Prefer && !required,
        direct: parsed.get_ssl_negotiation() == SslNegotiation::Direct,
    };
    if tls.direct && tls.optional {
        bail!("in the connection string: sslnegotiation=direct needs sslmode=require, verify-ca or verify-full");
    }
    Ok(Some(tls))
}

fn hosts(parsed: &tokio_postgres::Config) -> Result<Vec<(String, u16)>> {
    let (names, ports) = (parsed.get_hosts(), parsed.get_ports());
    if !parsed.get_hostaddrs().is_empty() {
        bail!("in the connection string: hostaddr is not supported, host is");
    }
    if names.is_empty() {
        bail!("the connection string names no host: add host=…");
    }
    if ports.len() > 1 && ports.len() != names.len() {
        bail!("the connection string has {} hosts, but {} ports", names.len(), ports.len());
    }
    let port = |index: usize| ports.get(index).or(ports.first()).copied().unwrap_or(PORT);
    let name = |host: &Host| match host {
        Host::Tcp(name) => Ok(name.clone()),
        Host::Unix(path) => Err(no_socket_file(path)),
    };
    names.iter().enumerate().map(|(index, host)| Ok((name(host)?, port(index)))).collect()
}

fn no_socket_file(path: &Path) -> anyhow::Error {
    anyhow!("host = {} is a directory of socket files: a pageserver listens on TCP only", path.display())
}

impl Target {
    /// Connects; asks for the password, if the server wants one that is not known and there is a terminal to ask at.
    pub fn connect(&mut self) -> Result<Client> {
        match self.try_connect() {
            Err(ClientError::PasswordNeeded) => {
                let prompt = format!("Password for user {} at {self}: ", self.config.user);
                let Some(password) = password::ask(&prompt)? else {
                    bail!(
                        "the server at {self} asks for the password of user {:?}: set PAGESERVER_PASSWORD",
                        self.config.user
                    );
                };
                self.config.password = Some(password.into());
                self.try_connect().map_err(|error| self.explain(error))
            }
            other => other.map_err(|error| self.explain(error)),
        }
    }

    /// The next host is tried if nobody answers at one.
    fn try_connect(&self) -> Result<Client, ClientError> {
        let mut last = None;
        for (host, port) in &self.hosts {
            let tls = self.config.tls.clone().map(|tls| ClientTls { server_name: host.clone(), ..tls });
            let config = ClientConfig { tls, ..self.config.clone() };
            match Client::connect((host.as_str(), *port), &config) {
                Err(error @ ClientError::Connect(_)) => last = Some(error),
                done => return done,
            }
        }
        Err(last.expect("a target has at least one host"))
    }

    fn explain(&self, error: ClientError) -> anyhow::Error {
        match error {
            ClientError::Connect(_) => {
                let error = anyhow!(error).context(format!("no pageserver at {self}"));
                anyhow!("{error:#}\nStart one with: pageserver serve -D DIR, or name another with --server HOST:PORT")
            }
            ClientError::Server(said) => match &said.hint {
                Some(hint) => anyhow!("the server at {self} says: {}\n{hint}", said.message),
                None => anyhow!("the server at {self} says: {}", said.message),
            },
            other => anyhow!(other).context(format!("cannot connect to the server at {self}")),
        }
    }
}

/// Hosts and ports.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (host, port)) in self.hosts.iter().enumerate() {
            let separator = if index > 0 { "," } else { "" };
            if host.contains(':') {
                write!(f, "{separator}[{host}]:{port}")?;
            } else {
                write!(f, "{separator}{host}:{port}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(text: &str) -> Target {
        text.parse().expect(text)
    }

    #[test]
    fn an_address_is_a_host_and_a_port() {
        assert_eq!(target("127.0.0.1:6400").hosts, [("127.0.0.1".to_owned(), 6400)]);
        assert_eq!(target("[::1]:7").hosts, [("::1".to_owned(), 7)]);
        assert_eq!(target("[::1]:7").to_string(), "[::1]:7");
        assert!(target("localhost:1").config.tls.is_some_and(|tls| tls.optional));
        for text in ["localhost", "localhost:", "localhost:x", ""] {
            assert!(text.parse::<Target>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_connection_string_says_who_and_how() {
        let full = target("host=db.example user=ali password='open sesame' sslmode=verify-full sslrootcert=/root.crt");
        assert_eq!(full.hosts, [("db.example".to_owned(), 6400)]);
        assert_eq!(full.config.user, "ali");
        assert_eq!(full.config.password.as_ref().map(|password| password.secret()), Some("open sesame"));
        let tls = full.config.tls.as_ref().expect("TLS");
        assert_eq!((tls.optional, &tls.verify), (false, &Verify::Full("/root.crt".into())));
        assert!(!format!("{full:?} {full}").contains("sesame"));
        let url = target("postgresql://ali@a:1,b:2/?sslmode=require&sslnegotiation=direct&channel_binding=require");
        assert_eq!(url.to_string(), "a:1,b:2");
        assert_eq!(
            target("postgres://ali:x%40y@a,[::1],[::2]:3?sslmode=disable").to_string(),
            "a:6400,[::1]:6400,[::2]:3"
        );
        assert!(url.config.tls.is_some_and(|tls| tls.direct && !tls.optional));
        assert_eq!(url.config.channel_binding, ChannelBinding::Require);
        assert!(target("host=a sslmode=disable").config.tls.is_none());
        assert!(target("host=a").config.tls.is_some_and(|tls| tls.optional));
    }

    #[test]
    fn what_cannot_be_is_refused_without_the_password() {
        for text in [
            "user=ali password=sesame",
            "host=/var/run password=sesame",
            "host=a port=1,2,3 password=sesame",
            "host=a hostaddr=127.0.0.1 password=sesame",
            "host=a sslmode=verify-full password=sesame",
            "host=a sslnegotiation=direct password=sesame",
            "host=a frob=1 password=sesame",
            "host=a password='sesame",
        ] {
            let error = format!("{:#}", text.parse::<Target>().expect_err(text));
            assert!(!error.contains("sesame"), "{error}");
        }
    }
}
