//! One connection from its first byte to its last.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::accept::remaining;
use super::{Config, query, startup};
use crate::messages::{FrameError, FrontendMessage, Severity, backend};
use crate::wire::Wire;
use crate::{Backend, ConnectionEnd, ServiceError, SqlState};

/// How long a refused client has to read why.
const LINGER: Duration = Duration::from_secs(5);

/// Whether a connection is to be served.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Admission {
    Serve,
    /// There are too many; it is told so.
    Refuse,
}

pub(super) struct Connection {
    pub id: u32,
    pub peer: SocketAddr,
    pub admission: Admission,
    pub config: Arc<Config>,
    pub backend: Arc<dyn Backend>,
}

/// Why a connection ended before its client took leave.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectionError {
    #[error("the socket failed")]
    Socket(#[from] io::Error),
    #[error("the client does not keep to the protocol: {0}")]
    Frame(#[from] FrameError),
    #[error("the client was refused: {0}")]
    Refused(ServiceError),
}

impl ConnectionError {
    /// What to tell the client, if it can still hear.
    fn farewell(&self) -> Option<ServiceError> {
        match self {
            ConnectionError::Socket(_) => None,
            ConnectionError::Frame(error) => Some(ServiceError::new(SqlState::PROTOCOL_VIOLATION, error.to_string())),
            ConnectionError::Refused(error) => Some(error.clone()),
        }
    }

    /// The same for the observer.
    pub fn end(&self) -> ConnectionEnd {
        self.farewell().map_or(ConnectionEnd::Broken, |farewell| ConnectionEnd::Refused(farewell.code))
    }
}

/// Whether the connection goes on after a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Next {
    GoOn,
    Close,
}

impl Connection {
    pub fn run(&self, stream: Arc<TcpStream>) -> Result<(), ConnectionError> {
        stream.set_write_timeout(Some(self.config.write_timeout))?;
        let mut wire = Wire::new(stream);
        let result = self.converse(&mut wire);
        if let Err(Some(farewell)) = result.as_ref().map_err(ConnectionError::farewell) {
            backend::error(&mut wire.out, Severity::Fatal, &farewell);
            wire.flush()?;
            linger(&mut wire)?;
        }
        result
    }

    fn converse(&self, wire: &mut Wire) -> Result<(), ConnectionError> {
        let Some(parameters) = startup::receive(wire, self.config.startup_timeout)? else { return Ok(()) };
        tracing::debug!(id = self.id, peer = %self.peer, user = parameters.get("user"), "connection opened");
        self.admit()?;
        startup::greet(wire, &parameters, self.id, &self.config)?;
        wire.stream().set_read_timeout(self.config.idle_timeout)?;
        self.serve(wire)
    }

    /// The place where a client will have to prove who it is. Until then everybody may do everything, and only the listener's address
    /// keeps strangers away.
    fn admit(&self) -> Result<(), ConnectionError> {
        match self.admission {
            Admission::Serve => Ok(()),
            Admission::Refuse => {
                let message = format!("no more than {} connections are served at once", self.config.max_connections);
                Err(ConnectionError::Refused(ServiceError::new(SqlState::TOO_MANY_CONNECTIONS, message)))
            }
        }
    }

    fn serve(&self, wire: &mut Wire) -> Result<(), ConnectionError> {
        while let Some((command, size)) = next_command(wire)? {
            wire.consume(size);
            if self.obey(wire, command)? == Next::Close {
                break;
            }
        }
        Ok(())
    }

    fn obey(&self, wire: &mut Wire, command: Command) -> Result<Next, ConnectionError> {
        match command {
            Command::Query(text) => return query::run(wire, &*self.backend, &*self.config.observer, &text),
            Command::Extended => {
                let message = "only simple queries are understood, not the extended query protocol";
                backend::error(&mut wire.out, Severity::Error, &unsupported(message));
                if skip_to_sync(wire)? == Next::Close {
                    return Ok(Next::Close);
                }
                backend::ready(&mut wire.out);
            }
            Command::FunctionCall => {
                backend::error(&mut wire.out, Severity::Error, &unsupported("functions cannot be called"));
                backend::ready(&mut wire.out);
            }
            Command::Sync => backend::ready(&mut wire.out),
            Command::Nothing => {}
            Command::Terminate => return Ok(Next::Close),
        }
        Ok(Next::GoOn)
    }
}

/// Ends the sending side and reads on for a moment: if a socket is closed with unread bytes in it, the peer's system throws away
/// what the peer has not read yet, the reason for closing among it.
fn linger(wire: &mut Wire) -> io::Result<()> {
    wire.stream().shutdown(Shutdown::Write)?;
    let deadline = Instant::now() + LINGER;
    while let Some(left) = remaining(deadline) {
        wire.stream().set_read_timeout(Some(left))?;
        wire.consume(wire.received().len());
        if !matches!(wire.receive(), Ok(true)) {
            break;
        }
    }
    Ok(())
}

fn unsupported(message: &str) -> ServiceError {
    ServiceError::new(SqlState::FEATURE_NOT_SUPPORTED, message)
}

/// A message outside of a page stream, taken out of the input buffer.
enum Command {
    Query(String),
    Extended,
    FunctionCall,
    Sync,
    /// What needs no answer: Flush, and what is left of a copy that has ended.
    Nothing,
    Terminate,
}

/// The next message and its size in the input buffer; what has been written is sent before waiting for it.
fn next_command(wire: &mut Wire) -> Result<Option<(Command, usize)>, ConnectionError> {
    loop {
        if let Some((message, size)) = FrontendMessage::parse(wire.received())? {
            return Command::of(message).map(|command| Some((command, size)));
        }
        wire.flush()?;
        if !wire.receive()? {
            return Ok(None);
        }
    }
}

impl Command {
    fn of(message: FrontendMessage<'_>) -> Result<Command, ConnectionError> {
        Ok(match message {
            FrontendMessage::Query(text) => Command::Query(text.to_owned()),
            FrontendMessage::Extended => Command::Extended,
            FrontendMessage::FunctionCall => Command::FunctionCall,
            FrontendMessage::Sync => Command::Sync,
            FrontendMessage::Terminate => Command::Terminate,
            FrontendMessage::Flush
            | FrontendMessage::CopyData(_)
            | FrontendMessage::CopyDone
            | FrontendMessage::CopyFail(_) => Command::Nothing,
            FrontendMessage::Password => {
                let message = "a password came without having been asked for";
                return Err(ConnectionError::Refused(ServiceError::new(SqlState::PROTOCOL_VIOLATION, message)));
            }
        })
    }
}

/// After an error in the extended protocol, everything up to the next Sync is passed over.
fn skip_to_sync(wire: &mut Wire) -> Result<Next, ConnectionError> {
    while let Some((command, size)) = next_command(wire)? {
        wire.consume(size);
        match command {
            Command::Sync => return Ok(Next::GoOn),
            Command::Terminate => return Ok(Next::Close),
            _ => {}
        }
    }
    Ok(Next::Close)
}
