//! Start-up and authentication of a replication connection.

use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{self, ScramSha256};
use postgres_protocol::message::backend::{AuthenticationSaslBody, Message};
use postgres_protocol::message::frontend;

use fallible_iterator::FallibleIterator;
use tokio_postgres::config::ChannelBinding;

use crate::error::Error;
use crate::primary::Primary;
use crate::protocol::ServerMessage;
use crate::server_error::{self, Asked};
use crate::wire::Wire;

/// The name under which `pg_stat_activity` and `pg_stat_replication` show us by default.
const APPLICATION_NAME: &str = "pageserver";

/// Makes a fresh connection ready for commands.
pub(crate) fn log_in(wire: &mut Wire, primary: &Primary) -> Result<(), Error> {
    wire.doing = "logging in";
    let user = primary.user()?;
    let config = &primary.config;
    let mut parameters = vec![
        ("user", user.as_str()),
        // Physical replication belongs to no database; pg_hba.conf knows it by this name.
        ("database", "replication"),
        ("replication", "true"),
        ("client_encoding", "UTF8"),
        ("application_name", config.get_application_name().unwrap_or(APPLICATION_NAME)),
    ];
    if let Some(options) = config.get_options() {
        parameters.push(("options", options));
    }
    frontend::startup_message(parameters, &mut wire.outgoing)
        .map_err(|error| Error::Config(format!("a start-up parameter is not usable: {error}")))?;
    wire.flush()?;
    authenticate(wire, primary, &user)?;
    until_ready(wire)
}

fn next(wire: &mut Wire) -> Result<Message, Error> {
    match wire.message()? {
        ServerMessage::Other(Message::ErrorResponse(body)) => {
            Err(server_error::explain(server_error::read(body.fields()), Asked::Login))
        }
        ServerMessage::Other(message) => Ok(message),
        ServerMessage::CopyBoth => Err(wire.unexpected(&ServerMessage::CopyBoth)),
    }
}

fn until_ready(wire: &mut Wire) -> Result<(), Error> {
    loop {
        match next(wire)? {
            Message::BackendKeyData(_) => {}
            Message::ReadyForQuery(_) => return Ok(()),
            other => return Err(wire.unexpected(&ServerMessage::Other(other))),
        }
    }
}

fn authenticate(wire: &mut Wire, primary: &Primary, user: &str) -> Result<(), Error> {
    let config = &primary.config;
    let password = || config.get_password().ok_or_else(|| Error::PasswordMissing { user: user.to_owned() });
    let unsupported = |method: &str| Error::UnsupportedAuthentication { method: method.to_owned() };
    let first = next(wire)?;
    if config.get_channel_binding() == ChannelBinding::Require && !matches!(first, Message::AuthenticationSasl(_)) {
        let reason = "channel_binding=require, but the server does not ask for SCRAM".to_owned();
        return Err(Error::ServerNotAuthenticated(reason));
    }
    match first {
        Message::AuthenticationOk => return Ok(()),
        Message::AuthenticationCleartextPassword => send_password(wire, password()?)?,
        Message::AuthenticationMd5Password(body) => {
            let hash = md5_hash(user.as_bytes(), password()?, body.salt());
            send_password(wire, hash.as_bytes())?;
        }
        Message::AuthenticationSasl(body) => scram(wire, primary, password()?, &body)?,
        Message::AuthenticationKerberosV5 => return Err(unsupported("Kerberos V5")),
        Message::AuthenticationScmCredential => return Err(unsupported("SCM credentials")),
        Message::AuthenticationGss => return Err(unsupported("gss")),
        Message::AuthenticationSspi => return Err(unsupported("sspi")),
        other => return Err(wire.unexpected(&ServerMessage::Other(other))),
    }
    match next(wire)? {
        Message::AuthenticationOk => Ok(()),
        other => Err(wire.unexpected(&ServerMessage::Other(other))),
    }
}

fn send_password(wire: &mut Wire, password: &[u8]) -> Result<(), Error> {
    frontend::password_message(password, &mut wire.outgoing)
        .map_err(|error| Error::Config(format!("the password is not usable: {error}")))?;
    wire.flush()
}

/// The mechanism to use and what binds it to the connection.
fn choose_mechanism(
    wire: &Wire,
    primary: &Primary,
    body: &AuthenticationSaslBody,
) -> Result<(&'static str, sasl::ChannelBinding), Error> {
    let offered: Vec<String> =
        body.mechanisms().map(|name| Ok(name.to_owned())).collect().map_err(|e| wire.invalid(e.to_string()))?;
    let offers = |name: &str| offered.iter().any(|offer| offer == name);
    let wish = primary.config.get_channel_binding();
    let binding = wire.channel_binding().filter(|_| wish != ChannelBinding::Disable);
    match binding {
        Some(binding) if offers(sasl::SCRAM_SHA_256_PLUS) => {
            Ok((sasl::SCRAM_SHA_256_PLUS, sasl::ChannelBinding::tls_server_end_point(binding)))
        }
        _ if wish == ChannelBinding::Require => {
            let reason = if wire.is_tls() { "the server or its certificate allows none" } else { "TLS is not in use" };
            Err(Error::ServerNotAuthenticated(format!("channel_binding=require, but {reason}")))
        }
        binding if offers(sasl::SCRAM_SHA_256) => {
            // Tells the server whether we could have bound, so that nobody can strip its offer unseen.
            let could = if binding.is_some() {
                sasl::ChannelBinding::unrequested()
            } else {
                sasl::ChannelBinding::unsupported()
            };
            Ok((sasl::SCRAM_SHA_256, could))
        }
        _ => Err(Error::UnsupportedAuthentication { method: format!("SASL ({})", offered.join(", ")) }),
    }
}

fn scram(wire: &mut Wire, primary: &Primary, password: &[u8], body: &AuthenticationSaslBody) -> Result<(), Error> {
    let doubt = |error: std::io::Error| Error::ServerNotAuthenticated(error.to_string());
    let (mechanism, binding) = choose_mechanism(wire, primary, body)?;
    let mut scram = ScramSha256::new(password, binding);
    frontend::sasl_initial_response(mechanism, scram.message(), &mut wire.outgoing).map_err(doubt)?;
    wire.flush()?;
    match next(wire)? {
        Message::AuthenticationSaslContinue(body) => scram.update(body.data()).map_err(doubt)?,
        other => return Err(wire.unexpected(&ServerMessage::Other(other))),
    }
    frontend::sasl_response(scram.message(), &mut wire.outgoing).map_err(doubt)?;
    wire.flush()?;
    match next(wire)? {
        Message::AuthenticationSaslFinal(body) => scram.finish(body.data()).map_err(doubt),
        other => Err(wire.unexpected(&ServerMessage::Other(other))),
    }
}
