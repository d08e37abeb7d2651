//! The newest WAL in memory, as it was appended.

use std::collections::VecDeque;
use std::ops::{Deref, Range};
use std::sync::Arc;

use pgdata::Lsn;
use pgdata::wal::{SegmentSize, WAL_PAGE_SIZE, strip_page_headers};

use crate::index::RecordPlace;

/// Bytes that are copied are kept in pieces of this size, and joined up to it, so that a trickle does not become as many small pieces.
pub(super) const COPIED: usize = 16 << 10;

/// The bytes of one whole record, page headers removed. Holding it holds a piece of memory, no lock.
#[derive(Clone, Debug)]
pub struct RecordBytes {
    lsn: Lsn,
    bytes: Arc<Vec<u8>>,
    range: Range<usize>,
}

impl RecordBytes {
    pub(super) fn owned(lsn: Lsn, bytes: Vec<u8>) -> Self {
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

/// WAL from `start` on: the first `len` of `bytes`.
#[derive(Debug)]
struct Piece {
    start: Lsn,
    len: usize,
    bytes: Arc<Vec<u8>>,
}

impl Piece {
    fn end(&self) -> Lsn {
        Lsn(self.start.0 + self.len as u64)
    }
}

/// A record in the window.
pub(super) enum Found {
    /// In one page of one piece: it can be read where it is.
    Whole(RecordBytes),
    /// In several pages or pieces. It is put together without the lock.
    Parts(Vec<RecordPart>),
}

pub(super) type RecordPart = (Arc<Vec<u8>>, Range<usize>);

/// The newest WAL in pieces, one behind the other. There may be gaps between them.
#[derive(Debug)]
pub(super) struct Window {
    size: SegmentSize,
    pieces: VecDeque<Piece>,
    memory: usize,
    budget: usize,
}

impl Window {
    pub fn new(size: SegmentSize, budget: usize) -> Self {
        Window { size, pieces: VecDeque::new(), memory: 0, budget }
    }

    /// Bytes of memory that the pieces take.
    pub fn memory(&self) -> usize {
        self.memory
    }

    /// Adds WAL: the first `len` of `bytes`, in place of all that was there from `start` on. The pieces that no longer fit are handed back, so that the
    /// caller can let go of them when it holds no lock any more, or use their memory again.
    pub fn push(&mut self, start: Lsn, bytes: &Arc<Vec<u8>>, len: usize) -> Vec<Arc<Vec<u8>>> {
        let mut gone = self.cut(start);
        if len > 0 && !self.join(start, &bytes[..len]) {
            self.memory += bytes.capacity();
            self.pieces.push_back(Piece { start, len, bytes: Arc::clone(bytes) });
        }
        while self.memory > self.budget
            && let Some(piece) = self.pieces.pop_front()
        {
            self.memory -= piece.bytes.capacity();
            gone.push(piece.bytes);
        }
        gone
    }

    /// Puts a little behind the little that is there. Readers may hold the old piece, so it is replaced, not changed.
    fn join(&mut self, start: Lsn, bytes: &[u8]) -> bool {
        let Some(last) = self.pieces.back_mut() else { return false };
        if last.end() != start || last.len + bytes.len() > COPIED {
            return false;
        }
        let joined = [&last.bytes[..last.len], bytes].concat();
        self.memory = self.memory + joined.capacity() - last.bytes.capacity();
        (last.len, last.bytes) = (joined.len(), Arc::new(joined));
        true
    }

    /// Forgets what is from `lsn` on: it is void, and other bytes will take its place.
    pub fn cut(&mut self, lsn: Lsn) -> Vec<Arc<Vec<u8>>> {
        let mut gone = Vec::new();
        while let Some(last) = self.pieces.back_mut()
            && last.end() > lsn
        {
            if last.start < lsn {
                last.len = lsn.bytes_since(last.start) as usize;
                break;
            }
            self.memory -= last.bytes.capacity();
            gone.extend(self.pieces.pop_back().map(|piece| piece.bytes));
        }
        gone
    }

    /// A record, or `None` if not all of it is here.
    pub fn find(&self, place: RecordPlace) -> Option<Found> {
        let index = self.pieces.partition_point(|piece| piece.start <= place.start).checked_sub(1)?;
        let (first, len) = (&self.pieces[index], place.len as usize);
        let from = place.start.bytes_since(first.start) as usize;
        if len <= WAL_PAGE_SIZE - place.start.0 as usize % WAL_PAGE_SIZE && from + len <= first.len {
            let bytes = Arc::clone(&first.bytes);
            return Some(Found::Whole(RecordBytes { lsn: place.lsn, bytes, range: from..from + len }));
        }
        let end = self.size.record_end(place.start, place.len)?;
        let (mut at, mut parts) = (place.start, Vec::new());
        for piece in self.pieces.range(index..) {
            if piece.start > at || piece.end() <= at {
                return None;
            }
            let to = end.min(piece.end());
            parts.push((
                Arc::clone(&piece.bytes),
                at.bytes_since(piece.start) as usize..to.bytes_since(piece.start) as usize,
            ));
            at = to;
            if at == end {
                return Some(Found::Parts(parts));
            }
        }
        None
    }
}

/// Puts a record together. `None` if the pages are not those of such a record: then the WAL log can say what is wrong.
pub(super) fn put_together(place: RecordPlace, size: SegmentSize, parts: &[RecordPart]) -> Option<RecordBytes> {
    let mut record = Vec::new();
    match parts {
        [(bytes, range)] => strip_page_headers(&bytes[range.clone()], place.start, place.len, size, &mut record),
        _ => {
            let wal: Vec<u8> = parts.iter().flat_map(|(bytes, range)| &bytes[range.clone()]).copied().collect();
            strip_page_headers(&wal, place.start, place.len, size, &mut record)
        }
    }
    .ok()?;
    Some(RecordBytes::owned(place.lsn, record))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: SegmentSize = SegmentSize::DEFAULT;

    fn push(window: &mut Window, start: u64, byte: u8, len: usize) -> usize {
        window.push(Lsn(start), &Arc::new(vec![byte; len]), len).len()
    }

    fn place(start: u64, len: u32) -> RecordPlace {
        RecordPlace { start: Lsn(start), lsn: Lsn(start + u64::from(len)), len }
    }

    fn get(window: &Window, place: RecordPlace) -> Option<Vec<u8>> {
        match window.find(place)? {
            Found::Whole(record) => Some(record.to_vec()),
            Found::Parts(parts) => put_together(place, SIZE, &parts).map(|record| record.to_vec()),
        }
    }

    #[test]
    fn keeps_the_newest_within_the_budget() {
        const LEN: u64 = 10 << 10;
        let mut window = Window::new(SIZE, 100 << 10);
        for number in 0..50u8 {
            push(&mut window, u64::from(number) * LEN, number, LEN as usize);
        }
        assert!(window.memory() <= 100 << 10);
        let found: Vec<bool> = (0..50).map(|number| get(&window, place(number * LEN + 40, 24)).is_some()).collect();
        assert_eq!(found.iter().filter(|found| **found).count(), 10);
        assert!(found[40..].iter().all(|found| *found));
        assert_eq!(get(&window, place(45 * LEN + 40, 24)).unwrap(), [45; 24]);
    }

    #[test]
    fn memory_counts_and_not_what_is_in_it() {
        let mut window = Window::new(SIZE, 100_000);
        let mut bytes = vec![1; 64];
        bytes.reserve_exact(80_000 - 64);
        assert_eq!(window.push(Lsn(40), &Arc::new(bytes), 64).len(), 0);
        assert!(window.memory() >= 80_000);
        assert_eq!(push(&mut window, 1 << 20, 2, 30_000), 1);
    }

    #[test]
    fn small_pieces_are_joined_without_disturbing_readers() {
        let mut window = Window::new(SIZE, 1 << 20);
        let places = [place(40, 24), place(64, 24), place(88, 24)];
        push(&mut window, 40, 1, 24);
        let Some(Found::Whole(held)) = window.find(places[0]) else { panic!("it was pushed") };
        push(&mut window, 64, 2, 24);
        push(&mut window, 88, 3, 24);
        assert_eq!((window.pieces.len(), window.memory()), (1, 72));
        assert_eq!(held[..], [1; 24]);
        for (place, byte) in places.into_iter().zip(1..) {
            assert_eq!(get(&window, place).unwrap(), [byte; 24]);
        }
    }

    #[test]
    fn what_comes_again_replaces_what_was_there() {
        let mut window = Window::new(SIZE, 1 << 20);
        push(&mut window, 40, 1, 40 << 10);
        push(&mut window, 40 + (40 << 10), 2, 40 << 10);
        assert_eq!(get(&window, place(100, 24)).unwrap(), [1; 24]);
        push(&mut window, 104, 3, 24);
        assert_eq!(get(&window, place(80, 24)).unwrap(), [1; 24]);
        assert_eq!(get(&window, place(104, 24)).unwrap(), [3; 24]);
        for gone in [128, 8192 + 40, 50 << 10] {
            assert!(get(&window, place(gone, 24)).is_none(), "{gone}");
        }
        window.cut(Lsn(80));
        assert_eq!((get(&window, place(56, 24)), get(&window, place(64, 24))), (Some(vec![1; 24]), None));
    }

    #[test]
    fn what_was_not_added_is_not_there() {
        let mut window = Window::new(SIZE, 1 << 20);
        assert!(get(&window, place(40, 24)).is_none());
        push(&mut window, 88, 1, 24);
        push(&mut window, 1 << 20, 2, 24);
        for (start, len) in [(64, 24), (88, 32), (112, 24), (1 << 20, 32), (2 << 20, 24)] {
            assert!(get(&window, place(start, len)).is_none(), "{start}");
        }
        assert_eq!(get(&window, place(88, 24)).unwrap(), [1; 24]);
    }

    #[test]
    fn a_record_in_two_pieces_is_put_together() {
        let mut window = Window::new(SIZE, 1 << 20);
        push(&mut window, 40, 1, 12 << 10);
        push(&mut window, 40 + (12 << 10), 2, 12 << 10);
        let expected = [[1; 16], [2; 16]].concat();
        assert_eq!(get(&window, place(40 + (12 << 10) - 16, 32)).unwrap(), expected);
    }

    #[test]
    fn a_budget_of_nothing_holds_nothing() {
        let mut window = Window::new(SIZE, 0);
        assert_eq!((push(&mut window, 40, 1, 24), window.memory()), (1, 0));
        assert!(get(&window, place(40, 24)).is_none());
    }
}
