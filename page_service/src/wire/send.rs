//! Sending to a peer that may not read.

use std::io::{self, IoSlice, Write};
use std::net::TcpStream;
use std::time::Instant;

/// Sends one buffer. The socket's timeout ends a write that stands still; and this ends a series of writes of which each makes a little
/// headway, so that a peer that takes a byte now and then cannot hold a connection for ever.
pub(super) struct Sender<'a> {
    socket: &'a TcpStream,
    /// When the peer began not to keep up.
    behind: Option<Instant>,
}

impl<'a> Sender<'a> {
    pub fn new(socket: &'a TcpStream) -> Self {
        Sender { socket, behind: None }
    }

    /// Sends two buffers, one behind the other, with one system call if the peer keeps up.
    pub fn send_all(&mut self, mut first: &[u8], second: &[u8]) -> io::Result<()> {
        while !first.is_empty() && !second.is_empty() {
            match self.write_vectored(&[IoSlice::new(first), IoSlice::new(second)]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) if count >= first.len() => return self.write_all(&second[count - first.len()..]),
                Ok(count) => first = &first[count..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.write_all(first)?;
        self.write_all(second)
    }

    /// A blocking socket writes less than it was given only after its timeout or a signal. The clock is not looked at before that.
    fn sent(&mut self, count: usize, wanted: usize) -> io::Result<usize> {
        if count < wanted {
            let since = *self.behind.get_or_insert_with(Instant::now);
            if self.socket.write_timeout()?.is_some_and(|limit| since.elapsed() >= limit) {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "the peer reads too slowly"));
            }
        }
        Ok(count)
    }
}

impl Write for Sender<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.socket.write(bytes)?;
        self.sent(count, bytes.len())
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let count = self.socket.write_vectored(slices)?;
        self.sent(count, slices.iter().map(|slice| slice.len()).sum())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
