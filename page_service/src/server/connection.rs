//! One connection from its first byte to its last.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::authenticate::authenticate;
use super::{Config, query, startup};
use crate::messages::{FrameError, FrontendMessage, Severity, backend};
use crate::wire::Wire;
use crate::{Backend, ConnectionEnd, ServiceError, SqlState};

/// How long a refused client has to read why.
const LINGER: Duration = Duration::from_secs(5);
/// What is received at once: many requests.
const INPUT: usize = 64 << 10;

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
    /// To be set when the client has been let in.
    pub is_let_in: Arc<AtomicBool>,
    pub config: Arc<Config>,
    pub backend: Arc<dyn Backend>,
}

/// Why a connection ended before its client took leave.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectionError {
    #[error("the socket failed: {0}")]
    Socket(#[from] io::Error),
    #[error("the client does not keep to the protocol: {0}")]
    Frame(#[from] FrameError),
    #[error("the client was refused: {0}")]
    Refused(ServiceError),
    #[error("TLS was not agreed on: {0}")]
    Tls(io::Error),
    #[error("the client left while it was connecting")]
    Left,
}

impl ConnectionError {
    /// What to tell the client, if it can still hear.
    fn farewell(&self) -> Option<ServiceError> {
        match self {
            ConnectionError::Socket(_) | ConnectionError::Tls(_) | ConnectionError::Left => None,
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
        if let Err(error) = &result {
            // The client may be gone, and the first error is the one that counts.
            let _ = take_leave(&mut wire, error);
        }
        result
    }

    fn converse(&self, wire: &mut Wire) -> Result<(), ConnectionError> {
        let deadline = Instant::now() + self.config.authentication_timeout;
        let Some(parameters) = startup::receive(wire, &self.config, deadline)? else { return Ok(()) };
        self.admit()?;
        match authenticate(wire, &self.config, parameters.get("user"), deadline) {
            // To ask its user for the password, most often.
            Err(ConnectionError::Left) => return Ok(()),
            result => result?,
        }
        self.is_let_in.store(true, Ordering::Release);
        tracing::debug!(id = self.id, peer = %self.peer, user = parameters.get("user"), "connection opened");
        startup::greet(wire, &parameters, self.id, &self.config)?;
        wire.stream().set_read_timeout(self.config.idle_timeout)?;
        wire.widen(INPUT);
        self.serve(wire)
    }

    /// Before anything is computed for the client.
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
        while let Some((command, size)) = next_command(wire, self.config.max_query_bytes)? {
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
                if skip_to_sync(wire, self.config.max_query_bytes)? == Next::Close {
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

/// Tells the client why its connection ends, if it can still hear.
fn take_leave(wire: &mut Wire, error: &ConnectionError) -> io::Result<()> {
    if let Some(farewell) = error.farewell() {
        backend::error(&mut wire.out, Severity::Fatal, &farewell);
        wire.flush()?;
    }
    match error {
        // After a failed handshake TLS itself has said why.
        ConnectionError::Frame(_) | ConnectionError::Refused(_) | ConnectionError::Tls(_) => linger(wire),
        ConnectionError::Socket(_) | ConnectionError::Left => Ok(()),
    }
}

/// Ends the sending side and reads on for a moment: if a socket is closed with unread bytes in it, the peer's system throws away
/// what the peer has not read yet, the reason for closing among it.
fn linger(wire: &mut Wire) -> io::Result<()> {
    wire.shutdown_write()?;
    let deadline = Instant::now() + LINGER;
    while wire.receive_by(deadline)? {
        wire.consume(wire.received().len());
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
fn next_command(wire: &mut Wire, most: usize) -> Result<Option<(Command, usize)>, ConnectionError> {
    loop {
        if let Some((message, size)) = FrontendMessage::parse_within(wire.received(), most)? {
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
fn skip_to_sync(wire: &mut Wire, most: usize) -> Result<Next, ConnectionError> {
    while let Some((command, size)) = next_command(wire, most)? {
        wire.consume(size);
        match command {
            Command::Sync => return Ok(Next::GoOn),
            Command::Terminate => return Ok(Next::Close),
            _ => {}
        }
    }
    Ok(Next::Close)
}
