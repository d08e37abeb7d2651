//! A connection as a blocking thing: an event loop of its own, a socket, and the bytes between it and the message parser.

use std::future::Future;
use std::io;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use postgres_protocol::message::backend::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Runtime;

use crate::error::Error;
use crate::protocol::{ProtocolError, ServerMessage, next_message};
use crate::socket::Socket;
use crate::stop::StopHandle;

/// Room that is made in the buffer before each read.
const READ_LEN: usize = 256 * 1024;
/// How long a farewell may take.
const FAREWELL: Duration = Duration::from_millis(100);

/// The event loop of one connection.
///
/// # Errors
/// [`Error::Runtime`] if the operating system gives no resources.
pub(crate) fn event_loop() -> Result<Runtime, Error> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Runtime)
}

/// Runs `work` until it ends, the handle is stopped or the time is over, whichever comes first.
pub(crate) fn run<T>(
    runtime: &Runtime,
    stop: &StopHandle,
    doing: &'static str,
    limit: Option<Duration>,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let timeout = async {
        match limit {
            Some(limit) => {
                tokio::time::sleep(limit).await;
                limit
            }
            None => std::future::pending().await,
        }
    };
    runtime.block_on(async {
        tokio::select! {
            biased;
            () = stop.stopped() => Err(Error::Stopped),
            result = work => result,
            after = timeout => Err(Error::Timeout { doing, after }),
        }
    })
}

/// What a wait for bytes brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fill {
    /// At least one byte.
    Bytes,
    /// None in time.
    Nothing,
}

/// A connection to a server.
pub(crate) struct Wire {
    runtime: Runtime,
    socket: Socket,
    stop: StopHandle,
    incoming: BytesMut,
    /// What [`Wire::flush`] sends.
    pub outgoing: BytesMut,
    /// What is going on, for errors.
    pub doing: &'static str,
    /// How long a single wait for the server may last.
    pub timeout: Option<Duration>,
}

impl Wire {
    pub(crate) fn new(runtime: Runtime, socket: Socket, stop: StopHandle) -> Self {
        Wire {
            runtime,
            socket,
            stop,
            incoming: BytesMut::with_capacity(READ_LEN),
            outgoing: BytesMut::new(),
            doing: "connecting",
            timeout: None,
        }
    }

    /// The binding data of the connection's TLS, if it has any.
    pub(crate) fn channel_binding(&self) -> Option<Vec<u8>> {
        self.socket.channel_binding()
    }

    /// Whether the connection is encrypted.
    pub(crate) fn is_tls(&self) -> bool {
        self.socket.is_tls()
    }

    fn io(&self, source: io::Error) -> Error {
        Error::Io { doing: self.doing, source }
    }

    /// Sends everything in `outgoing`.
    pub(crate) fn flush(&mut self) -> Result<(), Error> {
        let doing = self.doing;
        let (socket, outgoing) = (&mut self.socket, &mut self.outgoing);
        let sent = run(&self.runtime, &self.stop, doing, self.timeout, async {
            let all = async {
                socket.write_all(outgoing).await?;
                socket.flush().await
            };
            all.await.map_err(|source| Error::Io { doing, source })
        });
        self.outgoing.clear();
        sent
    }

    /// The next message that has already arrived whole.
    pub(crate) fn buffered(&mut self) -> Result<Option<ServerMessage>, Error> {
        Ok(next_message(&mut self.incoming)?)
    }

    /// Takes what the socket holds, without waiting.
    pub(crate) fn fill_now(&mut self) -> Result<Fill, Error> {
        let doing = self.doing;
        self.incoming.reserve(READ_LEN);
        let (socket, incoming) = (&mut self.socket, &mut self.incoming);
        let read = run(&self.runtime, &self.stop, doing, None, async {
            // Lets the event loop look at the socket: it knows only what it saw the last time.
            tokio::task::yield_now().await;
            tokio::select! {
                biased;
                read = socket.read_buf(incoming) => read.map(Some).map_err(|source| Error::Io { doing, source }),
                () = std::future::ready(()) => Ok(None),
            }
        })?;
        match read {
            Some(0) => Err(Error::Closed { doing }),
            Some(_) => Ok(Fill::Bytes),
            None => Ok(Fill::Nothing),
        }
    }

    /// Waits for bytes until `deadline`.
    pub(crate) fn fill_until(&mut self, deadline: Instant) -> Result<Fill, Error> {
        let limit = deadline.saturating_duration_since(Instant::now());
        match self.fill(Some(limit)) {
            Ok(()) => Ok(Fill::Bytes),
            Err(Error::Timeout { .. }) => Ok(Fill::Nothing),
            Err(error) => Err(error),
        }
    }

    fn fill(&mut self, limit: Option<Duration>) -> Result<(), Error> {
        let doing = self.doing;
        self.incoming.reserve(READ_LEN);
        let (socket, incoming) = (&mut self.socket, &mut self.incoming);
        let read = run(&self.runtime, &self.stop, doing, limit, async {
            socket.read_buf(incoming).await.map_err(|source| Error::Io { doing, source })
        })?;
        if read == 0 { Err(Error::Closed { doing }) } else { Ok(()) }
    }

    /// The next message that is not a notice or a changed setting; waits for it.
    pub(crate) fn message(&mut self) -> Result<ServerMessage, Error> {
        loop {
            match self.buffered()? {
                Some(ServerMessage::Other(message)) if is_aside(&message) => {}
                Some(message) => return Ok(message),
                None => self.fill(self.timeout)?,
            }
        }
    }

    /// An error for a message that has no place here.
    pub(crate) fn unexpected(&self, message: &ServerMessage) -> Error {
        Error::Protocol(ProtocolError::Unexpected { doing: self.doing, got: message.name().to_owned() })
    }

    /// Says goodbye, so that the server's log shows no broken connection. Best effort: also after a stop.
    pub(crate) fn close(mut self, farewell: &[u8]) {
        let socket = &mut self.socket;
        self.runtime.block_on(async {
            let words = async {
                socket.write_all(farewell).await?;
                socket.shutdown().await
            };
            let _ = tokio::time::timeout(FAREWELL, words).await;
        });
    }

    /// An I/O error with what was going on.
    pub(crate) fn invalid(&self, reason: impl Into<String>) -> Error {
        self.io(io::Error::new(io::ErrorKind::InvalidData, reason.into()))
    }
}

/// Messages that may come at any time and change nothing.
pub(crate) fn is_aside(message: &Message) -> bool {
    match message {
        Message::NoticeResponse(body) => {
            let notice = crate::server_error::read(body.fields());
            tracing::debug!(%notice, "the server's notice");
            true
        }
        Message::ParameterStatus(_) | Message::NotificationResponse(_) => true,
        _ => false,
    }
}
