//! The bytes that were fed and are not decoded yet: where they are, and the few of them that wait for more.

use std::ops::Range;

use pgdata::Lsn;
use pgdata::wal::WAL_PAGE_SIZE;

/// What is kept between two feeds: less than a page, unless somebody did not poll. Consuming may run ahead of what was fed: the bytes in
/// between are dropped when they come.
#[derive(Debug)]
pub(super) struct Buffer {
    /// Bytes that were fed before; those from `consumed` on are the ones at `position`.
    carried: Vec<u8>,
    consumed: usize,
    /// The next byte to be consumed.
    position: Lsn,
    /// Behind the last byte fed.
    end: Lsn,
}

/// What is carried is normally less than a page; a buffer that had to become larger than this gives its memory back.
const KEEP: usize = 1 << 20;

impl Buffer {
    /// The first bytes fed will be those at `fed_from`; those before `position` are dropped.
    pub(super) fn new(fed_from: Lsn, position: Lsn) -> Buffer {
        Buffer { carried: Vec::new(), consumed: 0, position, end: fed_from }
    }

    /// Behind the last byte fed.
    pub(super) fn end(&self) -> Lsn {
        self.end
    }

    /// Bytes of memory that the buffer holds.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn memory(&self) -> usize {
        self.carried.capacity()
    }

    /// Counts bytes as fed, and tells how many of them, at their beginning, nobody wants.
    pub(super) fn feed(&mut self, fed: &[u8]) -> usize {
        let ahead = self.position.bytes_since(self.end).min(fed.len() as u64);
        self.end = Lsn(self.end.0.saturating_add(fed.len() as u64));
        ahead as usize
    }

    fn left(&self) -> &[u8] {
        &self.carried[self.consumed..]
    }

    /// Appends what has to wait. Of what is consumed before it, no more is kept than of the rest: so each byte is moved once on average.
    fn carry(&mut self, bytes: &[u8]) {
        let left = self.carried.len() - self.consumed;
        if left <= self.consumed {
            self.carried.copy_within(self.consumed.., 0);
            self.carried.truncate(left);
            self.consumed = 0;
            if left == 0 && self.carried.capacity() > KEEP {
                self.carried = Vec::new();
            }
        }
        self.carried.extend_from_slice(bytes);
    }
}

/// The bytes at hand: first those carried, then those just fed, which stay where they are.
#[derive(Debug)]
pub(super) struct Input<'a> {
    buffer: &'a mut Buffer,
    fed: &'a [u8],
    /// How many of `fed` are consumed or carried.
    taken: usize,
}

/// Where consumed bytes are. They stay there until the next call of [`Input::carry_more`].
pub(super) enum Consumed {
    Carried(Range<usize>),
    Fed(Range<usize>),
}

impl<'a> Input<'a> {
    /// `fed` begins with `skipped` bytes that nobody wants.
    pub(super) fn new(buffer: &'a mut Buffer, fed: &'a [u8], skipped: usize) -> Input<'a> {
        Input { buffer, fed, taken: skipped }
    }

    /// The next byte to be consumed.
    #[inline]
    pub(super) fn position(&self) -> Lsn {
        self.buffer.position
    }

    /// Bytes that are there from the position on, in one piece. Perhaps there are more: see [`Input::carry_more`].
    #[inline]
    pub(super) fn available(&self) -> &[u8] {
        let carried = self.buffer.left();
        if carried.is_empty() { &self.fed[self.taken..] } else { carried }
    }

    /// Moves the position forward to `to`. The answer is where the bytes are that were passed, as far as they were available.
    #[inline]
    pub(super) fn consume_to(&mut self, to: Lsn) -> Consumed {
        debug_assert!(to >= self.buffer.position);
        let count = usize::try_from(to.bytes_since(self.buffer.position)).unwrap_or(usize::MAX);
        self.buffer.position = to;
        let carried = self.buffer.left().len();
        let from_carried = count.min(carried);
        let from_fed = (count - from_carried).min(self.fed.len() - self.taken);
        let consumed = match carried {
            0 => Consumed::Fed(self.taken..self.taken + from_fed),
            _ => Consumed::Carried(self.buffer.consumed..self.buffer.consumed + from_carried),
        };
        self.buffer.consumed += from_carried;
        self.taken += from_fed;
        consumed
    }

    /// Bytes that were consumed last.
    #[inline]
    pub(super) fn consumed(&self, place: Consumed) -> &[u8] {
        match place {
            Consumed::Carried(range) => &self.buffer.carried[range],
            Consumed::Fed(range) => &self.fed[range],
        }
    }

    /// Makes more available in one piece, up to the end of the page: no step looks farther. `false` if all that was fed is available: then it waits
    /// in the buffer for what is fed next.
    pub(super) fn carry_more(&mut self) -> bool {
        let (left, rest) = (self.buffer.left().len(), &self.fed[self.taken..]);
        let count = match left {
            0 => rest.len(),
            _ => rest.len().min(WAL_PAGE_SIZE - (self.buffer.position.0 as usize + left) % WAL_PAGE_SIZE),
        };
        self.buffer.carry(&rest[..count]);
        self.taken += count;
        left > 0 && count > 0
    }

    /// Keeps what was not asked for.
    pub(super) fn carry_all(&mut self) {
        self.buffer.carry(&self.fed[self.taken..]);
        self.taken = self.fed.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed<'a>(buffer: &'a mut Buffer, fed: &'a [u8]) -> Input<'a> {
        let skipped = buffer.feed(fed);
        Input::new(buffer, fed, skipped)
    }

    #[test]
    fn bytes_come_out_as_they_went_in() {
        let mut buffer = Buffer::new(Lsn(100), Lsn(100));
        let mut input = feed(&mut buffer, b"abcdef");
        let taken = input.consume_to(Lsn(104));
        assert_eq!(input.consumed(taken), b"abcd");
        assert!(!input.carry_more());
        let mut input = feed(&mut buffer, b"gh");
        assert_eq!((input.available(), input.position()), (&b"ef"[..], Lsn(104)));
        assert!(input.carry_more());
        assert_eq!(input.available(), b"efgh");
        let taken = input.consume_to(Lsn(107));
        assert_eq!(input.consumed(taken), b"efg");
        assert!(!input.carry_more());
        assert_eq!(input.available(), b"h");
        assert_eq!(buffer.end(), Lsn(108));
    }

    #[test]
    fn no_more_is_carried_than_the_page_has() {
        let page = WAL_PAGE_SIZE as u64;
        let mut buffer = Buffer::new(Lsn(page - 4), Lsn(page - 4));
        feed(&mut buffer, b"ab").carry_all();
        let mut input = feed(&mut buffer, b"cdef");
        assert!(input.carry_more());
        assert_eq!(input.available(), b"abcd");
        input.consume_to(Lsn(page));
        assert_eq!(input.available(), b"ef");
        let taken = input.consume_to(Lsn(page + 1));
        assert!(matches!(&taken, Consumed::Fed(range) if *range == (2..3)));
    }

    #[test]
    fn bytes_skipped_ahead_of_being_fed_are_dropped() {
        let mut buffer = Buffer::new(Lsn(100), Lsn(104));
        let input = feed(&mut buffer, b"ab");
        assert_eq!(input.available(), b"");
        let mut input = feed(&mut buffer, b"cdef");
        assert_eq!(input.available(), b"ef");
        input.consume_to(Lsn(110));
        let input = feed(&mut buffer, b"ghijk");
        assert_eq!(input.available(), b"k");
        assert_eq!(buffer.end(), Lsn(111));
    }
}
