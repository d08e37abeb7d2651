//! A socket, plain or with TLS, with the bytes that are on their way in and out.

mod input;
mod send;
mod tls;

use std::io::{self, Read as _};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::Instant;

use input::Input;
use send::Sender;
use tls::TlsStream;

/// An output buffer that has grown beyond this is given back after it has been sent.
const KEEP_OUTPUT: usize = 1 << 20;

/// What the bytes go through. Most connections are plain, and pay nothing for the others.
#[derive(Debug)]
enum Transport {
    Plain(Arc<TcpStream>),
    Tls(Box<TlsStream>),
}

/// A connection's socket and buffers.
#[derive(Debug)]
pub(crate) struct Wire {
    transport: Transport,
    input: Input,
    /// Bytes to be sent by the next [`flush`](Wire::flush).
    pub out: Vec<u8>,
}

impl Wire {
    /// A plain connection, with little room for input: [`widen`](Wire::widen) follows when a session begins.
    pub fn new(stream: Arc<TcpStream>) -> Self {
        Wire { transport: Transport::Plain(stream), input: Input::new(), out: Vec::new() }
    }

    /// Makes room for the input of a session: what usually comes at once.
    pub fn widen(&mut self, usual: usize) {
        self.input.widen(usual);
    }

    /// Goes on with TLS, once both sides have agreed to. Received bytes that have not been consumed are the handshake's.
    pub fn start_tls(&mut self, connection: impl Into<rustls::Connection>, deadline: Instant) -> io::Result<()> {
        let Transport::Plain(socket) = &self.transport else {
            return Err(io::Error::other("TLS within TLS is not spoken"));
        };
        let early = self.input.received();
        let stream = TlsStream::start(Arc::clone(socket), connection.into(), early, deadline)?;
        self.input.consume(self.input.received().len());
        self.transport = Transport::Tls(Box::new(stream));
        Ok(())
    }

    /// The state of TLS, if it is in use.
    pub fn tls(&self) -> Option<&rustls::Connection> {
        match &self.transport {
            Transport::Plain(_) => None,
            Transport::Tls(stream) => Some(&stream.connection),
        }
    }

    pub fn stream(&self) -> &TcpStream {
        match &self.transport {
            Transport::Plain(stream) => stream,
            Transport::Tls(stream) => &stream.socket,
        }
    }

    /// Bytes received and not yet [consumed](Wire::consume).
    pub fn received(&self) -> &[u8] {
        self.input.received()
    }

    /// Forgets the first `count` received bytes: they have been understood.
    pub fn consume(&mut self, count: usize) {
        self.input.consume(count);
    }

    /// Waits for more bytes. `false` says that the peer has closed the connection.
    pub fn receive(&mut self) -> io::Result<bool> {
        self.receive_until(None)
    }

    /// Waits for more bytes until the deadline, however they trickle in; then it is an error of the kind `TimedOut`. The socket's own
    /// timeout is changed.
    pub fn receive_by(&mut self, deadline: Instant) -> io::Result<bool> {
        self.receive_until(Some(deadline))
    }

    fn receive_until(&mut self, deadline: Option<Instant>) -> io::Result<bool> {
        loop {
            let room = self.input.room();
            let received = match &mut self.transport {
                Transport::Plain(stream) => {
                    if let Some(deadline) = deadline {
                        wait_until(stream, deadline)?;
                    }
                    (&**stream).read(room)
                }
                Transport::Tls(stream) => stream.read(room, deadline),
            };
            match received {
                Ok(count) => {
                    self.input.filled(count);
                    return Ok(count > 0);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Err(io::Error::new(io::ErrorKind::TimedOut, "nothing came in time"));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends what has been written to `out`.
    pub fn flush(&mut self) -> io::Result<()> {
        self.flush_with(&[])
    }

    /// Sends what has been written to `out`, and `more` behind it, which need not be copied there.
    pub fn flush_with(&mut self, more: &[u8]) -> io::Result<()> {
        if self.out.is_empty() && more.is_empty() {
            return Ok(());
        }
        let result = match &mut self.transport {
            Transport::Plain(stream) => Sender::new(stream).send_all(&self.out, more),
            Transport::Tls(stream) => stream.write_all(&self.out).and_then(|()| stream.write_all(more)),
        };
        self.out.clear();
        self.out.shrink_to(KEEP_OUTPUT);
        result
    }

    /// Ends the sending side.
    pub fn shutdown_write(&mut self) -> io::Result<()> {
        if let Transport::Tls(stream) = &mut self.transport {
            stream.close()?;
        }
        self.stream().shutdown(Shutdown::Write)
    }
}

/// Lets the next read of the socket wait until the deadline and not longer.
fn wait_until(socket: &TcpStream, deadline: Instant) -> io::Result<()> {
    match deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        Some(left) => socket.set_read_timeout(Some(left)),
        None => Err(io::Error::new(io::ErrorKind::TimedOut, "the deadline has passed")),
    }
}
