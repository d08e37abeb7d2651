//! The first exchange of a connection, up to ReadyForQuery.

use std::time::{Duration, Instant};

use super::Config;
use super::accept::remaining;
use super::connection::ConnectionError;
use crate::messages::{Startup, StartupParameters, backend};
use crate::wire::Wire;
use crate::{ServiceError, SqlState};

/// Receives startup packets until one starts a session. `None` says that the client left, or wanted only to cancel something, which
/// is not offered.
pub(super) fn receive(wire: &mut Wire, timeout: Duration) -> Result<Option<StartupParameters>, ConnectionError> {
    let deadline = Instant::now() + timeout;
    let (mut ssl_asked, mut gss_asked) = (false, false);
    loop {
        let asked = match next_packet(wire, deadline)? {
            None | Some(Startup::Cancel) => return Ok(None),
            Some(Startup::Start(parameters)) => return Ok(Some(parameters)),
            Some(Startup::OtherVersion { major, minor }) => {
                let message = format!("protocol version {major}.{minor} is not spoken here: only 3.0 is");
                return Err(refused(SqlState::FEATURE_NOT_SUPPORTED, message));
            }
            Some(Startup::Ssl) => &mut ssl_asked,
            Some(Startup::GssEncryption) => &mut gss_asked,
        };
        if std::mem::replace(asked, true) {
            return Err(refused(SqlState::PROTOCOL_VIOLATION, "encryption was asked for twice".to_owned()));
        }
        wire.out.push(b'N');
        wire.flush()?;
    }
}

fn refused(code: SqlState, message: String) -> ConnectionError {
    ConnectionError::Refused(ServiceError::new(code, message))
}

fn next_packet(wire: &mut Wire, deadline: Instant) -> Result<Option<Startup>, ConnectionError> {
    loop {
        if let Some((packet, size)) = Startup::parse(wire.received())? {
            wire.consume(size);
            return Ok(Some(packet));
        }
        // One deadline for all packets: a client that sends a byte now and then does not live longer.
        let late = || refused(SqlState::PROTOCOL_VIOLATION, "the startup packet did not come in time".to_owned());
        let left = remaining(deadline).ok_or_else(late)?;
        wire.stream().set_read_timeout(Some(left))?;
        match wire.receive() {
            Ok(true) => {}
            Ok(false) => return Ok(None),
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                return Err(late());
            }
            Err(error) => return Err(error.into()),
        }
    }
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
