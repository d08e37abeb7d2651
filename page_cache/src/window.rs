//! The newest records' bytes in memory, each record once.

use std::collections::VecDeque;
use std::ops::{Deref, Range};
use std::sync::Arc;

use pgdata::Lsn;
use pgdata::wal::SegmentSize;

use crate::batch::Piece;
use crate::index::RecordPlace;

/// Pieces are joined up to this size, so that a trickle of small batches does not become as many small pieces.
const JOIN: usize = 16 << 10;

/// The bytes of one whole record, page headers removed. Holding it holds a piece of the window in memory, no lock.
#[derive(Clone, Debug)]
pub struct RecordBytes {
    lsn: Lsn,
    bytes: Arc<Vec<u8>>,
    range: Range<usize>,
}

impl RecordBytes {
    pub(crate) fn owned(lsn: Lsn, bytes: Vec<u8>) -> Self {
        let range = 0..bytes.len();
        RecordBytes { lsn, bytes: Arc::new(bytes), range }
    }

    /// The record's LSN: its end.
    #[must_use]
    pub fn lsn(&self) -> Lsn {
        self.lsn
    }
}

impl Deref for RecordBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[self.range.clone()]
    }
}

#[derive(Debug)]
struct Held {
    position: u64,
    bytes: Arc<Vec<u8>>,
}

impl Held {
    fn end(&self) -> u64 {
        self.position + self.bytes.len() as u64
    }
}

/// The newest part of the WAL without its page headers, in pieces that may have gaps between them: records are found by their position.
#[derive(Debug)]
pub(crate) struct RecordWindow {
    size: SegmentSize,
    pieces: VecDeque<Held>,
    bytes: usize,
    budget: usize,
}

impl RecordWindow {
    pub fn new(size: SegmentSize, budget: usize) -> Self {
        RecordWindow { size, pieces: VecDeque::new(), bytes: 0, budget }
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds a piece behind the others; one that is not behind them is passed over. The pieces that no longer fit are handed back, so that
    /// the caller can let go of them when it holds no lock any more, or use their memory again. What counts is the memory that pieces take.
    pub fn push(&mut self, added: Piece) -> Vec<Arc<Vec<u8>>> {
        let end = self.pieces.back().map_or(0, Held::end);
        if added.position < end {
            return vec![Arc::new(added.bytes)];
        }
        let gap = (added.position - end).min(JOIN as u64) as usize;
        self.bytes += added.bytes.capacity();
        match self.pieces.back_mut() {
            // Readers may hold the old piece, so it is replaced, not changed.
            Some(last) if last.bytes.len() + gap + added.bytes.len() <= JOIN => {
                let mut joined = Vec::with_capacity(last.bytes.len() + gap + added.bytes.len());
                joined.extend_from_slice(&last.bytes);
                joined.resize(last.bytes.len() + gap, 0);
                joined.extend_from_slice(&added.bytes);
                self.bytes = self.bytes + joined.capacity() - last.bytes.capacity() - added.bytes.capacity();
                last.bytes = Arc::new(joined);
            }
            _ => self.pieces.push_back(Held { position: added.position, bytes: Arc::new(added.bytes) }),
        }
        let mut gone = Vec::new();
        while self.bytes > self.budget {
            let Some(piece) = self.pieces.pop_front() else { break };
            self.bytes -= piece.bytes.capacity();
            gone.push(piece.bytes);
        }
        gone
    }

    /// A record that was added, or `None` if it is no longer here.
    pub fn get(&self, place: RecordPlace) -> Option<RecordBytes> {
        let position = self.size.record_position(place.start)?;
        let index = self.pieces.partition_point(|piece| piece.position <= position).checked_sub(1)?;
        let piece = &self.pieces[index];
        let start = (position - piece.position) as usize;
        let end = start.checked_add(place.len as usize).filter(|end| *end <= piece.bytes.len())?;
        Some(RecordBytes { lsn: place.lsn, bytes: Arc::clone(&piece.bytes), range: start..end })
    }
}

#[cfg(test)]
mod tests {
    use pgdata::Lsn;

    use super::*;

    const SIZE: SegmentSize = SegmentSize::DEFAULT;

    /// The record of `len` bytes whose position is a multiple of eight.
    fn place(position: u64, len: u32) -> RecordPlace {
        let start =
            SIZE.record_end(Lsn(40), position as u32).map_or(Lsn(40), |end| if position == 0 { Lsn(40) } else { end });
        let start = if SIZE.is_record_start(start) { start } else { Lsn(start.0 + SIZE.page_header_len(start) as u64) };
        RecordPlace { start, lsn: SIZE.record_end(start, len).unwrap().align_up(), len }
    }

    fn piece(position: u64, byte: u8, len: usize) -> Piece {
        Piece { position, bytes: vec![byte; len] }
    }

    #[test]
    fn keeps_the_newest_within_the_budget() {
        const LEN: u32 = 10 << 10;
        let mut window = RecordWindow::new(SIZE, 100 << 10);
        let places: Vec<RecordPlace> = (0..50).map(|i| place(i * u64::from(LEN), LEN)).collect();
        for number in 0..50u8 {
            window.push(piece(u64::from(number) * u64::from(LEN), number, LEN as usize));
        }
        assert!(window.bytes() <= 100 << 10);
        let found: Vec<bool> = places.iter().map(|place| window.get(*place).is_some()).collect();
        assert_eq!(found.iter().filter(|found| **found).count(), 10);
        assert!(found[40..].iter().all(|found| *found));
        assert_eq!(window.get(places[45]).unwrap()[..], vec![45; LEN as usize]);
    }

    #[test]
    fn small_pieces_are_joined_without_disturbing_readers() {
        let mut window = RecordWindow::new(SIZE, 1 << 20);
        let places = [place(0, 24), place(24, 24), place(80, 24)];
        window.push(piece(0, 1, 24));
        let held = window.get(places[0]).unwrap();
        window.push(piece(24, 2, 24));
        window.push(piece(80, 3, 24));
        assert_eq!((window.pieces.len(), window.bytes()), (1, 104));
        assert_eq!(held[..], [1; 24]);
        for (place, byte) in places.into_iter().zip(1..) {
            assert_eq!(window.get(place).unwrap()[..], [byte; 24]);
        }
    }

    #[test]
    fn what_was_not_added_is_not_there() {
        let mut window = RecordWindow::new(SIZE, 1 << 20);
        assert!(window.get(place(0, 24)).is_none());
        window.push(piece(48, 1, 24));
        window.push(piece(1 << 20, 2, 24));
        for (position, len) in [(24, 24), (48, 32), (72, 24), (1 << 20, 32), (2 << 20, 24)] {
            assert!(window.get(place(position, len)).is_none(), "{position}");
        }
        assert_eq!(window.get(place(1 << 20, 24)).unwrap()[..], [2; 24]);
        // Nothing takes the place of what is there.
        assert_eq!(window.push(piece(48, 3, 24)).len(), 1);
        assert_eq!(window.get(place(48, 24)).unwrap()[..], [1; 24]);
    }

    #[test]
    fn a_budget_of_nothing_holds_nothing() {
        let mut window = RecordWindow::new(SIZE, 0);
        let gone = window.push(piece(0, 1, 24));
        assert_eq!((gone.len(), window.bytes()), (1, 0));
        assert!(window.get(place(0, 24)).is_none());
    }
}
