//! The bytes that were fed and are not decoded yet.

use std::ops::Range;

use pgdata::Lsn;

/// A piece of the WAL, and how far it has been consumed. Consuming may run ahead of what was fed: the bytes in between are
/// dropped when they come.
#[derive(Debug)]
pub(super) struct Buffer {
    /// The bytes from `end - bytes.len()` to `end`.
    bytes: Vec<u8>,
    /// How many of `bytes` are consumed, as long as `position` is not past `end`.
    consumed: usize,
    /// The next byte to be consumed.
    position: Lsn,
    /// Behind the last byte fed.
    end: Lsn,
}

/// An empty buffer that is larger than this gives its memory back. What a receiver feeds between two polls stays below it.
const KEEP: usize = 16 << 20;

impl Buffer {
    /// The first bytes fed will be those at `fed_from`; those before `position` are dropped.
    pub(super) fn new(fed_from: Lsn, position: Lsn) -> Buffer {
        Buffer { bytes: Vec::new(), consumed: 0, position, end: fed_from }
    }

    /// Behind the last byte fed.
    pub(super) fn end(&self) -> Lsn {
        self.end
    }

    /// The next byte to be consumed.
    pub(super) fn position(&self) -> Lsn {
        self.position
    }

    /// The bytes that are there from the position on.
    pub(super) fn available(&self) -> &[u8] {
        &self.bytes[self.consumed..]
    }

    /// Bytes of memory that the buffer holds.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn memory(&self) -> usize {
        self.bytes.capacity()
    }

    /// Appends what is fed.
    pub(super) fn push(&mut self, fed: &[u8]) {
        self.make_room();
        let ahead = self.position.bytes_since(self.end).min(fed.len() as u64);
        self.end = Lsn(self.end.0.saturating_add(fed.len() as u64));
        self.bytes.extend_from_slice(&fed[ahead as usize..]);
    }

    /// Forgets consumed bytes. The rest is moved only when it is the smaller part: so each byte is moved once on average.
    fn make_room(&mut self) {
        let left = self.bytes.len() - self.consumed;
        if left == 0 {
            self.bytes.clear();
            self.consumed = 0;
            if self.bytes.capacity() > KEEP {
                self.bytes = Vec::new();
            }
        } else if left <= self.consumed {
            self.bytes.copy_within(self.consumed.., 0);
            self.bytes.truncate(left);
            self.consumed = 0;
        }
    }

    /// Moves the position forward to `to`, and tells which of the buffer's bytes that were. They stay until the next push.
    pub(super) fn consume_to(&mut self, to: Lsn) -> Range<usize> {
        debug_assert!(to >= self.position);
        let from = self.consumed;
        let count = usize::try_from(to.bytes_since(self.position)).unwrap_or(usize::MAX);
        self.consumed = self.consumed.saturating_add(count).min(self.bytes.len());
        self.position = to;
        from..self.consumed
    }

    /// Bytes that have been consumed since the last push.
    pub(super) fn taken(&self, range: Range<usize>) -> &[u8] {
        &self.bytes[range]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_out_as_they_went_in() {
        let mut buffer = Buffer::new(Lsn(100), Lsn(100));
        buffer.push(b"abcdef");
        let taken = buffer.consume_to(Lsn(104));
        assert_eq!(buffer.taken(taken), b"abcd");
        buffer.push(b"gh");
        assert_eq!((buffer.available(), buffer.position(), buffer.end()), (&b"efgh"[..], Lsn(104), Lsn(108)));
    }

    #[test]
    fn bytes_skipped_ahead_of_being_fed_are_dropped() {
        let mut buffer = Buffer::new(Lsn(100), Lsn(104));
        buffer.push(b"ab");
        assert_eq!(buffer.available(), b"");
        buffer.push(b"cdef");
        assert_eq!(buffer.available(), b"ef");
        buffer.consume_to(Lsn(110));
        buffer.push(b"ghijk");
        assert_eq!((buffer.available(), buffer.end()), (&b"k"[..], Lsn(111)));
    }
}
