//! The first exchange of a connection, up to ReadyForQuery.

use std::io;
use std::time::Instant;

use pgtls::ALPN;
use rustls::ServerConnection;

use super::connection::ConnectionError;
use super::{Config, ServerTls};
use crate::messages::{Startup, StartupParameters, backend};
use crate::wire::Wire;
use crate::{ServiceError, SqlState};

/// The first byte of a TLS handshake. A startup packet begins with a zero byte: it is too short for anything else.
const HANDSHAKE: u8 = 0x16;

/// Receives startup packets until one starts a session, and starts TLS if that is asked for. `None` says that the client left, or wanted
/// only to cancel something, which is not offered.
pub(super) fn receive(
    wire: &mut Wire,
    config: &Config,
    deadline: Instant,
) -> Result<Option<StartupParameters>, ConnectionError> {
    let (mut tls_asked, mut gss_asked) = (false, false);
    if let Some(tls) = &config.tls {
        match first_byte(wire, deadline)? {
            None => return Ok(None),
            Some(HANDSHAKE) => {
                start_direct_tls(wire, tls, deadline)?;
                tls_asked = true;
            }
            Some(_) => {}
        }
    }
    loop {
        let packet = next_packet(wire, config.max_startup_bytes, deadline)?;
        let asked = match packet {
            None | Some(Startup::Cancel) => return Ok(None),
            Some(Startup::Start(parameters)) => return Ok(Some(parameters)),
            Some(Startup::OtherVersion { major, minor }) => {
                let message = format!("protocol version {major}.{minor} is not spoken here: only 3.0 is");
                return Err(refused(SqlState::FEATURE_NOT_SUPPORTED, message));
            }
            Some(Startup::Ssl) => &mut tls_asked,
            Some(Startup::GssEncryption) => &mut gss_asked,
        };
        if std::mem::replace(asked, true) {
            return Err(refused(SqlState::PROTOCOL_VIOLATION, "encryption was asked for twice".to_owned()));
        }
        match &config.tls {
            Some(tls) if packet == Some(Startup::Ssl) => accept_tls(wire, tls, deadline)?,
            _ => {
                wire.out.push(b'N');
                wire.flush()?;
            }
        }
    }
}

/// Agrees to TLS. Whatever has come in plain text after the request cannot be told from what somebody in between has put there, and must
/// not be taken for something that came through TLS.
fn accept_tls(wire: &mut Wire, tls: &ServerTls, deadline: Instant) -> Result<(), ConnectionError> {
    if !wire.received().is_empty() {
        let message = "bytes came unencrypted after the request for TLS".to_owned();
        let hint = "the client has a fault, or somebody between it and this server has put them there";
        return Err(ConnectionError::Refused(ServiceError::new(SqlState::PROTOCOL_VIOLATION, message).with_hint(hint)));
    }
    wire.out.push(b'S');
    wire.flush()?;
    start_tls(wire, tls, deadline)
}

/// TLS from the first byte, as PostgreSQL 17's clients have it with `sslnegotiation=direct`. They must name the protocol, so that a client
/// of another one cannot be led here.
fn start_direct_tls(wire: &mut Wire, tls: &ServerTls, deadline: Instant) -> Result<(), ConnectionError> {
    start_tls(wire, tls, deadline)?;
    if wire.tls().and_then(|connection| connection.alpn_protocol()) != Some(ALPN) {
        let message = "TLS was started directly, without the name of the protocol (ALPN)".to_owned();
        return Err(refused(SqlState::PROTOCOL_VIOLATION, message));
    }
    Ok(())
}

fn start_tls(wire: &mut Wire, tls: &ServerTls, deadline: Instant) -> Result<(), ConnectionError> {
    let connection =
        ServerConnection::new(tls.config.clone()).map_err(|error| ConnectionError::Tls(io::Error::other(error)))?;
    wire.start_tls(connection, deadline).map_err(ConnectionError::Tls)
}

fn refused(code: SqlState, message: String) -> ConnectionError {
    ConnectionError::Refused(ServiceError::new(code, message))
}

fn first_byte(wire: &mut Wire, deadline: Instant) -> Result<Option<u8>, ConnectionError> {
    while wire.received().is_empty() {
        if !await_bytes(wire, deadline)? {
            return Ok(None);
        }
    }
    Ok(wire.received().first().copied())
}

fn next_packet(wire: &mut Wire, most: usize, deadline: Instant) -> Result<Option<Startup>, ConnectionError> {
    loop {
        if let Some((packet, size)) = Startup::parse_within(wire.received(), most)? {
            wire.consume(size);
            return Ok(Some(packet));
        }
        if !await_bytes(wire, deadline)? {
            return Ok(None);
        }
    }
}

/// Waits for more bytes from a client that is still connecting. One deadline for everything until then: a client that sends a byte now
/// and then does not live longer. `false` says that it has left.
pub(super) fn await_bytes(wire: &mut Wire, deadline: Instant) -> Result<bool, ConnectionError> {
    wire.receive_by(deadline).map_err(|error| match error.kind() {
        io::ErrorKind::TimedOut => {
            refused(SqlState::PROTOCOL_VIOLATION, "the client did not finish connecting in time".to_owned())
        }
        _ => error.into(),
    })
}

/// Says everything that a client expects before its first command.
pub(super) fn greet(
    wire: &mut Wire,
    startup: &StartupParameters,
    id: u32,
    config: &Config,
) -> Result<(), ConnectionError> {
    let out = &mut wire.out;
    if startup.minor > 0 || startup.protocol_options().next().is_some() {
        backend::negotiate_version(out, startup.protocol_options());
    }
    backend::authentication_ok(out);
    for (name, value) in [
        ("server_version", config.server_version.as_str()),
        ("server_encoding", "UTF8"),
        ("client_encoding", "UTF8"),
        ("application_name", startup.get("application_name").unwrap_or("")),
        ("DateStyle", "ISO, MDY"),
        ("integer_datetimes", "on"),
        ("standard_conforming_strings", "on"),
        ("TimeZone", "UTC"),
    ] {
        backend::parameter_status(out, name, value);
    }
    // Nothing can be cancelled, so the key is not a secret.
    backend::key_data(out, id, 0);
    backend::ready(out);
    wire.flush()?;
    Ok(())
}
