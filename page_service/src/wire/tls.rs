//! TLS over a blocking socket, on one thread.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Instant;

use rustls::Connection;

use super::send::Sender;
use super::wait_until;

/// A socket that speaks TLS.
#[derive(Debug)]
pub(super) struct TlsStream {
    pub socket: Arc<TcpStream>,
    pub connection: Connection,
}

impl TlsStream {
    /// Shakes hands. `early` are bytes of the handshake that have been received already.
    pub fn start(
        socket: Arc<TcpStream>,
        connection: Connection,
        mut early: &[u8],
        deadline: Instant,
    ) -> io::Result<TlsStream> {
        let mut stream = TlsStream { socket, connection };
        while !early.is_empty() {
            stream.connection.read_tls(&mut early)?;
            stream.process()?;
        }
        while stream.connection.is_handshaking() {
            stream.send()?;
            if stream.connection.is_handshaking() && stream.fetch(Some(deadline))? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        stream.send()?;
        Ok(stream)
    }

    /// Waits for plain bytes. None, if the peer has closed the connection: each message says how long it is, so a connection that is cut
    /// off cannot be taken for one that was closed in order, and both mean the same here.
    pub fn read(&mut self, room: &mut [u8], deadline: Option<Instant>) -> io::Result<usize> {
        loop {
            match self.connection.reader().read(room) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                done => return done,
            }
            self.send()?;
            self.fetch(deadline)?;
        }
    }

    pub fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let taken = self.connection.writer().write(bytes)?;
            bytes = &bytes[taken..];
            self.send()?;
        }
        Ok(())
    }

    /// Tells the peer that nothing more comes.
    pub fn close(&mut self) -> io::Result<()> {
        self.connection.send_close_notify();
        self.send()
    }

    /// Sends what has been encrypted.
    fn send(&mut self) -> io::Result<()> {
        let mut sender = Sender::new(&self.socket);
        while self.connection.wants_write() {
            match self.connection.write_tls(&mut sender) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                sent => drop(sent?),
            }
        }
        Ok(())
    }

    /// Receives once, and decrypts. Answers with the number of bytes received.
    fn fetch(&mut self, deadline: Option<Instant>) -> io::Result<usize> {
        let count = loop {
            if let Some(deadline) = deadline {
                wait_until(&self.socket, deadline)?;
            }
            match self.connection.read_tls(&mut &*self.socket) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                received => break received?,
            }
        };
        self.process()?;
        Ok(count)
    }

    fn process(&mut self) -> io::Result<()> {
        match self.connection.process_new_packets() {
            Ok(_) => Ok(()),
            Err(error) => {
                // The alert that tells the peer why. It may be gone already, and the first error is the one that counts.
                let _ = self.send();
                Err(io::Error::new(io::ErrorKind::InvalidData, error))
            }
        }
    }
}
