//! WAL that waits for the flush.

use std::sync::Arc;

use page_cache::{PageCache, WalLogError};
use pgdata::Lsn;

/// What is appended and then decoded at a time: little enough for a processor's own cache. Pieces end at its multiples, so none goes over the end of a segment.
const PIECE: usize = 256 << 10;

/// Some consecutive WAL, in memory that the cache goes on using for it.
#[derive(Default)]
pub(super) struct Pending {
    pieces: Vec<(Lsn, Arc<Vec<u8>>)>,
    /// What is behind them, less than a piece.
    rest: Vec<u8>,
    bytes: usize,
}

/// A part of it.
#[derive(Clone, Copy)]
pub(super) enum Part<'a> {
    /// Its memory is given away.
    Piece(&'a Arc<Vec<u8>>),
    /// Less than a piece: it is copied.
    Rest(&'a [u8]),
}

impl Part<'_> {
    pub fn bytes(&self) -> &[u8] {
        match self {
            Part::Piece(piece) => piece,
            Part::Rest(rest) => rest,
        }
    }

    /// Puts it into the log.
    pub fn append(&self, cache: &PageCache, at: Lsn) -> Result<(), WalLogError> {
        match self {
            Part::Piece(piece) => cache.wal().append_shared(at, piece),
            Part::Rest(rest) => cache.wal().append(at, rest),
        }
    }
}

impl Pending {
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds what begins at `at`: behind the bytes that are there.
    pub fn push(&mut self, cache: &PageCache, at: Lsn, wal: &[u8]) {
        let (mut at, mut wal) = (at, wal);
        while !wal.is_empty() {
            if self.rest.capacity() == 0 {
                self.rest = cache.wal().memory(PIECE);
            }
            let room = PIECE - at.0 as usize % PIECE;
            let (taken, behind) = wal.split_at(wal.len().min(room));
            self.rest.extend_from_slice(taken);
            at = Lsn(at.0 + taken.len() as u64);
            if taken.len() == room {
                let start = Lsn(at.0 - self.rest.len() as u64);
                self.pieces.push((start, Arc::new(std::mem::take(&mut self.rest))));
            }
            self.bytes += taken.len();
            wal = behind;
        }
    }

    /// The parts in their order, and where each begins; the first at `start`.
    pub fn parts(&self, start: Lsn) -> impl Iterator<Item = (Lsn, Part<'_>)> + Clone {
        let rest = Lsn(start.0 + (self.bytes - self.rest.len()) as u64);
        let pieces = self.pieces.iter().map(|(at, piece)| (*at, Part::Piece(piece)));
        pieces.chain(Some((rest, Part::Rest(&self.rest))).filter(|_| !self.rest.is_empty()))
    }

    /// Makes it empty.
    pub fn clear(&mut self) {
        self.pieces.clear();
        self.rest.clear();
        self.bytes = 0;
    }
}
