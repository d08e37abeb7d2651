//! WAL that is not in the log yet.

use std::sync::Arc;

use page_cache::PageCache;
use pgdata::Lsn;

/// What is appended and then decoded at a time: little enough for a processor's own cache. Pieces end at its multiples, so none goes over the end of a segment.
pub(super) const PIECE: usize = 256 << 10;

/// Less than a piece of WAL, which grows.
pub(super) struct Pending {
    start: Lsn,
    bytes: Vec<u8>,
}

impl Pending {
    /// What is written next is at `start`.
    pub fn new(start: Lsn) -> Pending {
        Pending { start, bytes: Vec::new() }
    }

    /// Takes the first of the bytes that are behind its own. Answers with how many; if they make a piece whole, that has to be taken out.
    pub fn fill(&mut self, cache: &PageCache, wal: &[u8]) -> usize {
        if self.bytes.capacity() == 0 {
            self.bytes = cache.wal().memory(PIECE);
        }
        let taken = wal.len().min(self.room());
        self.bytes.extend_from_slice(&wal[..taken]);
        taken
    }

    fn room(&self) -> usize {
        PIECE - (self.start.0 as usize + self.bytes.len()) % PIECE
    }

    /// Whether it ends where pieces do.
    pub fn is_whole(&self) -> bool {
        !self.bytes.is_empty() && self.room() == PIECE
    }

    /// Where its bytes begin, and the bytes.
    pub fn rest(&self) -> (Lsn, &[u8]) {
        (self.start, &self.bytes)
    }

    /// Where its bytes end.
    pub fn end(&self) -> Lsn {
        Lsn(self.start.0 + self.bytes.len() as u64)
    }

    /// Takes a piece out: where it begins, and its bytes, in memory that can go on being used for them.
    pub fn take(&mut self) -> (Lsn, Arc<Vec<u8>>) {
        let (start, end) = (self.start, self.end());
        self.start = end;
        (start, Arc::new(std::mem::take(&mut self.bytes)))
    }

    /// Forgets its bytes. What is written next is at `start`.
    pub fn begin_again(&mut self, start: Lsn) {
        self.start = start;
        self.bytes.clear();
    }
}
