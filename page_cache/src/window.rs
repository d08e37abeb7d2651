//! The newest records' bytes in memory, each record once.

use std::collections::VecDeque;
use std::ops::{Deref, Range};
use std::sync::Arc;

use pgdata::Lsn;

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
struct Piece {
    position: u64,
    bytes: Arc<Vec<u8>>,
}

/// Records by position in the endless row of all bytes ever added, of which the window keeps the end.
#[derive(Debug)]
pub(crate) struct RecordWindow {
    pieces: VecDeque<Piece>,
    bytes: usize,
    budget: usize,
    next: u64,
}

impl RecordWindow {
    pub fn new(budget: usize) -> Self {
        RecordWindow { pieces: VecDeque::new(), bytes: 0, budget, next: 0 }
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds bytes, and tells the position of the first. The pieces that no longer fit are handed back, so that the caller can let
    /// go of them when it holds no lock any more.
    pub fn push(&mut self, mut added: Vec<u8>) -> (u64, Vec<Arc<Vec<u8>>>) {
        let position = self.next;
        self.next += added.len() as u64;
        self.bytes += added.len();
        match self.pieces.back_mut() {
            // Readers may hold the old piece, so it is replaced, not changed.
            Some(last) if last.bytes.len() + added.len() <= JOIN => {
                let mut joined = Vec::with_capacity(last.bytes.len() + added.len());
                joined.extend_from_slice(&last.bytes);
                joined.append(&mut added);
                last.bytes = Arc::new(joined);
            }
            _ => self.pieces.push_back(Piece { position, bytes: Arc::new(added) }),
        }
        let mut gone = Vec::new();
        while self.bytes > self.budget {
            let Some(piece) = self.pieces.pop_front() else { break };
            self.bytes -= piece.bytes.len();
            gone.push(piece.bytes);
        }
        (position, gone)
    }

    /// The record of `len` bytes at a position, or `None` if it is no longer here.
    pub fn get(&self, lsn: Lsn, position: u64, len: usize) -> Option<RecordBytes> {
        let index = self.pieces.partition_point(|piece| piece.position <= position).checked_sub(1)?;
        let piece = &self.pieces[index];
        let start = (position - piece.position) as usize;
        Some(RecordBytes { lsn, bytes: Arc::clone(&piece.bytes), range: start..start + len })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_newest_within_the_budget() {
        let mut window = RecordWindow::new(100 << 10);
        let places: Vec<u64> = (0..50u8).map(|i| window.push(vec![i; 10 << 10]).0).collect();
        assert!(window.bytes() <= 100 << 10);
        let found: Vec<bool> = places.iter().map(|at| window.get(Lsn(8), *at, 10 << 10).is_some()).collect();
        assert_eq!(found.iter().filter(|found| **found).count(), 10);
        assert!(found[40..].iter().all(|found| *found));
        assert_eq!(window.get(Lsn(8), places[45], 10 << 10).unwrap()[..], vec![45; 10 << 10]);
    }

    #[test]
    fn small_pieces_are_joined_without_disturbing_readers() {
        let mut window = RecordWindow::new(1 << 20);
        let (first, _) = window.push(vec![1; 10]);
        let held = window.get(Lsn(8), first, 10).unwrap();
        let (second, _) = window.push(vec![2; 10]);
        assert_eq!(window.pieces.len(), 1);
        assert_eq!(held[..], [1; 10]);
        assert_eq!(window.get(Lsn(16), second, 10).unwrap()[..], [2; 10]);
        assert_eq!(window.get(Lsn(8), first, 10).unwrap()[..], [1; 10]);
    }

    #[test]
    fn a_budget_of_nothing_holds_nothing() {
        let mut window = RecordWindow::new(0);
        let (at, gone) = window.push(vec![1; 10]);
        assert_eq!((gone.len(), window.bytes()), (1, 0));
        assert!(window.get(Lsn(8), at, 10).is_none());
    }
}
