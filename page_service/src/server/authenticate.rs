//! A client proves that it is the user whom it names.

use std::time::Instant;

use super::Config;
use super::connection::ConnectionError;
use super::startup::await_bytes;
use crate::messages::{SaslInitial, backend, parse_sasl_response};
use crate::scram::{Exchange, MECHANISM, MECHANISM_PLUS, ScramError, Users};
use crate::wire::Wire;
use crate::{ServiceError, SqlState};

/// The longest user name that is repeated in a message, in characters.
const SHOWN: usize = 64;

/// Lets the client pass, or says why not. Without users, everybody passes.
pub(super) fn authenticate(
    wire: &mut Wire,
    config: &Config,
    user: Option<&str>,
    deadline: Instant,
) -> Result<(), ConnectionError> {
    if config.require_tls && wire.tls().is_none() {
        let error = ServiceError::new(SqlState::INVALID_AUTHORIZATION, "connections without TLS are not taken here");
        return Err(ConnectionError::Refused(error.with_hint("connect with sslmode=verify-full, or at least require")));
    }
    let Some(users) = &config.users else { return Ok(()) };
    let Some(user) = user.filter(|user| !user.is_empty()) else {
        let error = ServiceError::new(SqlState::INVALID_AUTHORIZATION, "the startup packet names no user");
        return Err(ConnectionError::Refused(error));
    };
    let binding = config.tls.as_ref().filter(|_| wire.tls().is_some()).and_then(|tls| tls.binding.as_deref());
    scram(wire, users, user, binding, deadline)
}

fn scram(
    wire: &mut Wire,
    users: &Users,
    user: &str,
    binding: Option<&[u8]>,
    deadline: Instant,
) -> Result<(), ConnectionError> {
    let refuse = |error: ScramError| ConnectionError::Refused(refusal(user, &error));
    let mechanisms: &[&str] = if binding.is_some() { &[MECHANISM_PLUS, MECHANISM] } else { &[MECHANISM] };
    backend::sasl_mechanisms(&mut wire.out, mechanisms);
    wire.flush()?;

    let (exchange, size) = loop {
        if let Some((first, size)) = SaslInitial::parse(wire.received())? {
            let begun = Exchange::start(users, user, binding, first.mechanism, first.data);
            let (exchange, answer) = begun.map_err(refuse)?;
            backend::sasl_continue(&mut wire.out, &answer);
            break (exchange, size);
        }
        more(wire, deadline)?;
    };
    wire.consume(size);
    wire.flush()?;

    let (proof, size) = loop {
        if let Some((last, size)) = parse_sasl_response(wire.received())? {
            break (exchange.finish(last).map_err(refuse)?, size);
        }
        more(wire, deadline)?;
    };
    wire.consume(size);
    // Goes out with the welcome.
    backend::sasl_final(&mut wire.out, &proof);
    Ok(())
}

fn more(wire: &mut Wire, deadline: Instant) -> Result<(), ConnectionError> {
    if await_bytes(wire, deadline)? { Ok(()) } else { Err(ConnectionError::Left) }
}

/// What the client is told. Nothing tells a wrong password from an unknown user.
fn refusal(user: &str, error: &ScramError) -> ServiceError {
    match error {
        ScramError::Password => {
            let user: String = user.chars().take(SHOWN).collect();
            let message = format!("password authentication failed for user \"{}\"", user.escape_debug());
            ServiceError::new(SqlState::INVALID_PASSWORD, message)
        }
        other => ServiceError::new(SqlState::PROTOCOL_VIOLATION, other.to_string()),
    }
}
