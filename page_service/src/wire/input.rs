//! Bytes received and not yet understood.

/// Before a session begins, a few short messages come, perhaps from a stranger who will never begin one.
const FIRST: usize = 4 << 10;
/// Bytes received and not yet understood.
#[derive(Debug)]
pub(super) struct Input {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    usual: usize,
}

impl Input {
    pub fn new() -> Self {
        Input { buffer: vec![0; FIRST], start: 0, end: 0, usual: FIRST }
    }

    /// Makes room for what comes in a session. The buffer has this size from now on, and grows only while it is filled by one message alone.
    pub fn widen(&mut self, usual: usize) {
        self.usual = usual;
        if self.buffer.len() < usual {
            self.buffer.resize(usual, 0);
        }
    }

    pub fn received(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    pub fn consume(&mut self, count: usize) {
        assert!(count <= self.end - self.start, "{count} bytes consumed of fewer received");
        self.start += count;
    }

    /// Room for more bytes. Only bytes that really came make the buffer grow, never a length that a peer announces; and how much may
    /// come before a message is whole is bounded by the parsers.
    pub fn room(&mut self) -> &mut [u8] {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
            if self.buffer.len() > self.usual {
                self.buffer.truncate(self.usual);
                self.buffer.shrink_to_fit();
            }
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

    /// Says that the first `count` bytes of the room have been filled.
    pub fn filled(&mut self, count: usize) {
        assert!(count <= self.buffer.len() - self.end, "{count} bytes filled of less room");
        self.end += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_buffer_grows_with_what_comes_and_is_given_back() {
        let mut input = Input::new();
        for byte in 0..200_000_u32 {
            input.room()[0] = byte as u8;
            input.filled(1);
        }
        assert!(input.received().iter().enumerate().all(|(at, byte)| *byte == at as u8));
        assert!(input.buffer.len() < 4 * 200_000);
        input.consume(200_000);
        assert_eq!(input.room().len(), FIRST);
        input.widen(10 * FIRST);
        assert_eq!(input.room().len(), 10 * FIRST);
    }
}
