//! A socket with the bytes that are on their way in and out.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;

/// The buffer of received bytes has this size, and grows only while it is filled by one message alone.
const INPUT: usize = 64 << 10;
/// An output buffer that has grown beyond this is given back after it has been sent.
const KEEP_OUTPUT: usize = 1 << 20;

/// Bytes received and not yet understood.
#[derive(Debug)]
struct Input {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Input {
    fn new() -> Self {
        Input { buffer: vec![0; INPUT], start: 0, end: 0 }
    }

    /// Room for more bytes. Only bytes that really came make the buffer grow, never a length that a peer announces; and how much may
    /// come before a message is whole is bounded by the parsers.
    fn room(&mut self) -> &mut [u8] {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
            self.buffer.truncate(INPUT);
        }
        if self.end == self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            if self.end > self.buffer.len() / 2 {
                self.buffer.resize(self.buffer.len() * 2, 0);
            }
        }
        &mut self.buffer[self.end..]
    }
}

/// A connection's socket and buffers.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: Arc<TcpStream>,
    input: Input,
    /// Bytes to be sent by the next [`flush`](Wire::flush).
    pub out: Vec<u8>,
}

impl Wire {
    pub fn new(stream: Arc<TcpStream>) -> Self {
        Wire { stream, input: Input::new(), out: Vec::new() }
    }

    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Bytes received and not yet [consumed](Wire::consume).
    pub fn received(&self) -> &[u8] {
        &self.input.buffer[self.input.start..self.input.end]
    }

    /// Forgets the first `count` received bytes: they have been understood.
    pub fn consume(&mut self, count: usize) {
        assert!(count <= self.input.end - self.input.start, "{count} bytes consumed of fewer received");
        self.input.start += count;
    }

    /// Waits for more bytes. `false` says that the peer has closed the connection.
    pub fn receive(&mut self) -> io::Result<bool> {
        loop {
            match (&*self.stream).read(self.input.room()) {
                Ok(count) => {
                    self.input.end += count;
                    return Ok(count > 0);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends what has been written to `out`.
    pub fn flush(&mut self) -> io::Result<()> {
        if self.out.is_empty() {
            return Ok(());
        }
        let result = (&*self.stream).write_all(&self.out);
        self.out.clear();
        self.out.shrink_to(KEEP_OUTPUT);
        result
    }
}
