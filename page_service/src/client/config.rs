//! How a client connects.

use std::fmt;
use std::time::Duration;

use pgtls::Verify;

/// How a client connects and how patient it is.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// How long to try each address, and how long to wait for each message of the server until it is ready.
    pub connect_timeout: Duration,
    /// How long to wait for the server to say something; `None` for as long as it takes, as commands that take long need it.
    pub read_timeout: Option<Duration>,
    /// How long sending may stand still because the server does not read.
    pub write_timeout: Option<Duration>,
    /// The user's name to give.
    pub user: String,
    /// The password, if the server asks for it.
    pub password: Option<Password>,
    /// How to use TLS. `None`: not at all.
    pub tls: Option<ClientTls>,
    /// Whether the password's exchange is bound to the TLS connection.
    pub channel_binding: ChannelBinding,
}

impl Default for ClientConfig {
    fn default() -> Self {
        ClientConfig {
            connect_timeout: Duration::from_secs(10),
            read_timeout: None,
            write_timeout: Some(Duration::from_secs(60)),
            user: "pageserver".to_owned(),
            password: None,
            tls: None,
            channel_binding: ChannelBinding::Prefer,
        }
    }
}

/// A password, which no message and no log shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// The password itself.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.0
    }
}

impl From<String> for Password {
    fn from(password: String) -> Self {
        Password(password)
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password")
    }
}

/// How a client uses TLS.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClientTls {
    /// The server's name, with which its certificate is compared if it is examined so far.
    pub server_name: String,
    /// How much of the server's certificate is examined.
    pub verify: Verify,
    /// Whether to go without TLS if the server has none. Of no effect if the certificate is to be examined.
    pub optional: bool,
    /// Whether to start TLS with the first byte instead of asking for it (`sslnegotiation=direct`).
    pub direct: bool,
}

impl ClientTls {
    /// TLS, or nothing.
    #[must_use]
    pub fn required(server_name: impl Into<String>, verify: Verify) -> ClientTls {
        ClientTls { server_name: server_name.into(), verify, optional: false, direct: false }
    }
}

/// Whether a password's exchange is bound to the certificate of the connection, so that nobody in between can have passed it on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ChannelBinding {
    /// Never.
    Disable,
    /// If both sides and the certificate can.
    #[default]
    Prefer,
    /// Always; the connection fails without it.
    Require,
}
