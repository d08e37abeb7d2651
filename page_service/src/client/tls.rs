//! A client's connection becomes one with TLS.

use std::net::IpAddr;
use std::time::Instant;

use pgtls::{Verify, client_config};
use rustls::ClientConnection;
use rustls::pki_types::ServerName;

use super::{ClientError, ClientTls};
use crate::messages::write_ssl_request;
use crate::wire::Wire;

/// Agrees with the server on TLS, or on its absence if that is allowed.
pub(super) fn negotiate(wire: &mut Wire, tls: &ClientTls, deadline: Instant) -> Result<(), ClientError> {
    // Before anything is asked for, so that a file that is missing is told first.
    let config = client_config(&tls.verify)?;
    if !tls.direct && !ask(wire, deadline)? {
        return if tls.optional && tls.verify == Verify::None { Ok(()) } else { Err(ClientError::NoTls) };
    }
    let connection = ClientConnection::new(config, server_name(tls)?).map_err(pgtls::TlsError::from)?;
    wire.start_tls(connection, deadline).map_err(ClientError::Handshake)
}

/// Whether the server has TLS.
fn ask(wire: &mut Wire, deadline: Instant) -> Result<bool, ClientError> {
    write_ssl_request(&mut wire.out);
    wire.flush()?;
    while wire.received().is_empty() {
        if !wire.receive_by(deadline)? {
            return Err(ClientError::Closed);
        }
    }
    let answer = match *wire.received() {
        [b'S'] => true,
        [b'N'] => false,
        // What follows would be taken for something that came through TLS.
        [b'S' | b'N', ..] => {
            return Err(ClientError::Unexpected { got: "more than an answer", during: "the request for TLS" });
        }
        _ => return Err(ClientError::Unexpected { got: "no answer", during: "the request for TLS" }),
    };
    wire.consume(1);
    Ok(answer)
}

/// A name that no certificate can carry is of no matter if names are not compared.
fn server_name(tls: &ClientTls) -> Result<ServerName<'static>, ClientError> {
    match (ServerName::try_from(tls.server_name.clone()), &tls.verify) {
        (Ok(name), _) => Ok(name),
        (Err(_), Verify::Full(_)) => Err(ClientError::ServerName(tls.server_name.clone())),
        (Err(_), _) => Ok(ServerName::from(IpAddr::from([0, 0, 0, 0]))),
    }
}
