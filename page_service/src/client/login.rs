//! A client proves who it is, and hears that the server is ready.

use pgtls::tls_server_end_point;
use postgres_protocol::authentication::sasl::{self, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramSha256};

use super::{ChannelBinding, ClientConfig, ClientError, next_message};
use crate::messages::{Authentication, BackendMessage, frontend};
use crate::wire::Wire;

/// What a message on the way to a session asks for.
enum Step {
    /// Answer with this mechanism.
    Choose(&'static str, sasl::ChannelBinding),
    Continue(Vec<u8>),
    Finish(Vec<u8>),
    LetIn,
    Nothing,
    Ready,
}

/// Answers the server's questions until it is ready for commands.
pub(super) fn log_in(wire: &mut Wire, config: &ClientConfig) -> Result<(), ClientError> {
    let binding = wire.tls().and_then(|tls| tls_server_end_point(tls.peer_certificates()?.first()?));
    let binding = binding.filter(|_| config.channel_binding != ChannelBinding::Disable);
    let (mut scram, mut is_let_in, mut is_proved) = (None, false, false);
    loop {
        let step = next_message(wire, |message| step(message, config.channel_binding, binding.as_deref()))?;
        match (step, &mut scram) {
            (Step::Choose(mechanism, binding), None) if !is_let_in => {
                let password = config.password.as_ref().ok_or(ClientError::PasswordNeeded)?;
                let client = ScramSha256::new(password.secret().as_bytes(), binding);
                frontend::sasl_initial(&mut wire.out, mechanism, client.message());
                scram = Some(client);
            }
            (Step::Continue(data), Some(client)) if !is_proved => {
                client.update(&data).map_err(ClientError::Scram)?;
                frontend::sasl_response(&mut wire.out, client.message());
            }
            (Step::Finish(data), Some(client)) if !is_proved => {
                client.finish(&data).map_err(ClientError::Scram)?;
                is_proved = true;
            }
            // A server that has asked for a password has to show that it knows it.
            (Step::LetIn, None) if config.channel_binding == ChannelBinding::Require => {
                return Err(ClientError::NoBinding);
            }
            (Step::LetIn, Some(_)) if !is_proved => return Err(unexpected("AuthenticationOk")),
            (Step::LetIn, _) => is_let_in = true,
            (Step::Ready, _) if is_let_in => return Ok(()),
            (Step::Nothing, _) => {}
            _ => return Err(unexpected("a message out of turn")),
        }
        wire.flush()?;
    }
}

fn unexpected(got: &'static str) -> ClientError {
    ClientError::Unexpected { got, during: "startup" }
}

fn step(message: BackendMessage<'_>, wish: ChannelBinding, binding: Option<&[u8]>) -> Result<Step, ClientError> {
    Ok(match message {
        BackendMessage::Authentication(Authentication::Ok) => Step::LetIn,
        BackendMessage::Authentication(Authentication::Sasl(offered)) => choose(&offered, wish, binding)?,
        BackendMessage::Authentication(Authentication::SaslContinue(data)) => Step::Continue(data.to_vec()),
        BackendMessage::Authentication(Authentication::SaslFinal(data)) => Step::Finish(data.to_vec()),
        BackendMessage::Authentication(Authentication::Other(kind)) => return Err(ClientError::Authentication(kind)),
        BackendMessage::Ready => Step::Ready,
        BackendMessage::ParameterStatus { .. }
        | BackendMessage::KeyData
        | BackendMessage::NegotiateVersion
        | BackendMessage::Notice(_) => Step::Nothing,
        BackendMessage::Error(error) => return Err(ClientError::Server(error)),
        other => return Err(unexpected(other.name())),
    })
}

/// The mechanism to use, and what binds it to the connection.
fn choose(offered: &[&str], wish: ChannelBinding, binding: Option<&[u8]>) -> Result<Step, ClientError> {
    match binding {
        Some(data) if offered.contains(&SCRAM_SHA_256_PLUS) => {
            Ok(Step::Choose(SCRAM_SHA_256_PLUS, sasl::ChannelBinding::tls_server_end_point(data.to_vec())))
        }
        _ if wish == ChannelBinding::Require => Err(ClientError::NoBinding),
        // Tells the server whether we could have bound, so that nobody can strip its offer unseen.
        Some(_) if offered.contains(&SCRAM_SHA_256) => {
            Ok(Step::Choose(SCRAM_SHA_256, sasl::ChannelBinding::unrequested()))
        }
        None if offered.contains(&SCRAM_SHA_256) => {
            Ok(Step::Choose(SCRAM_SHA_256, sasl::ChannelBinding::unsupported()))
        }
        _ => Err(ClientError::Mechanism(offered.join(", "))),
    }
}
