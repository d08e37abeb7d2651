//! Records on their way into the index.

use pgdata::wal::SegmentSize;
use pgdata::{Change, Lsn};

/// Smaller gaps than this are filled with zeros.
const GAP: u64 = 64;

/// Some consecutive records with their changes, to be ingested in one step.
///
/// Filling a batch takes no lock; the bytes of its records become a piece of the cache's memory without being copied again.
#[derive(Debug)]
pub struct Batch {
    size: SegmentSize,
    /// So many bytes of records there is to be room for.
    capacity: usize,
    /// The bytes of its records as they lie in WAL without page headers.
    piece: Piece,
    /// Pieces before that, if the records have gaps between them: a segment that ended early leaves one.
    closed: Vec<Piece>,
    pub(crate) records: Vec<BatchRecord>,
    pub(crate) changes: Vec<Change>,
}

/// WAL without page headers from a position on, as [`SegmentSize::record_position`] counts.
#[derive(Debug, Default)]
pub(crate) struct Piece {
    pub position: u64,
    pub bytes: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct BatchRecord {
    pub start: Lsn,
    pub lsn: Lsn,
    pub len: usize,
    /// Its changes are those up to here that are not an earlier record's.
    pub changes_end: usize,
}

impl Piece {
    pub fn end(&self) -> u64 {
        self.position + self.bytes.len() as u64
    }
}

impl Batch {
    /// An empty batch for WAL of that segment size.
    #[must_use]
    pub fn new(size: SegmentSize) -> Self {
        Batch::with_capacity(size, 0)
    }

    /// An empty batch with room for so many bytes of records.
    #[must_use]
    pub fn with_capacity(size: SegmentSize, bytes: usize) -> Self {
        let piece = Piece { position: 0, bytes: Vec::with_capacity(bytes) };
        Batch { size, capacity: bytes, piece, closed: Vec::new(), records: Vec::new(), changes: Vec::new() }
    }

    /// Adds a record: its first byte's position `start`, its LSN `lsn` (its end), the whole record without page headers, and what
    /// it changes.
    pub fn push(&mut self, start: Lsn, lsn: Lsn, bytes: &[u8], changes: impl IntoIterator<Item = Change>) {
        self.changes.extend(changes);
        self.close_record(start, lsn, bytes);
    }

    /// As [`Batch::push`], with changes that `append` adds to those of the records before.
    ///
    /// # Errors
    /// Those of `append`: then nothing is added.
    pub fn push_with<E>(
        &mut self,
        start: Lsn,
        lsn: Lsn,
        bytes: &[u8],
        append: impl FnOnce(&mut Vec<Change>) -> Result<(), E>,
    ) -> Result<(), E> {
        let before = self.changes.len();
        let result = append(&mut self.changes);
        match result {
            Ok(()) => self.close_record(start, lsn, bytes),
            Err(_) => self.changes.truncate(before),
        }
        result
    }

    fn close_record(&mut self, start: Lsn, lsn: Lsn, bytes: &[u8]) {
        // A record that is not where one can be is refused if it changes something. Nobody reads it otherwise.
        if let Some(position) = self.size.record_position(start) {
            self.keep(position, bytes);
        }
        self.records.push(BatchRecord { start, lsn, len: bytes.len(), changes_end: self.changes.len() });
    }

    fn keep(&mut self, position: u64, bytes: &[u8]) {
        let end = self.piece.end();
        if self.piece.bytes.is_empty() {
            self.piece.position = position;
        } else if position < end {
            return;
        } else if position < end + GAP {
            self.piece.bytes.resize((position - self.piece.position) as usize, 0);
        } else {
            let next = Piece { position, bytes: Vec::new() };
            let mut closed = std::mem::replace(&mut self.piece, next);
            closed.bytes.shrink_to_fit();
            self.closed.push(closed);
        }
        self.piece.bytes.extend_from_slice(bytes);
    }

    /// How many records it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether it has no record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Bytes of records held so far. A caller ingests a batch before this is more than some hundred kilobytes, which a processor still has in its own
    /// cache when it takes them up.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.closed.iter().map(|piece| piece.bytes.len()).sum::<usize>() + self.piece.bytes.len()
    }

    /// The bytes as pieces of memory of their own. If they fill what the batch has for them, that is given away instead of being copied.
    pub(crate) fn take_pieces(&mut self) -> impl Iterator<Item = Piece> {
        let Piece { position, bytes } = &mut self.piece;
        let full = bytes.len() >= bytes.capacity() - bytes.capacity() / 8;
        let bytes = if full { std::mem::take(bytes) } else { bytes.as_slice().to_vec() };
        let last = Piece { position: *position, bytes };
        self.closed.drain(..).chain(Some(last).filter(|piece| !piece.bytes.is_empty()))
    }

    /// Makes it empty. Its memory stays, or is that of `spare` or new: as much as asked for, so that it will be full when it is given away.
    pub(crate) fn clear(&mut self, spare: Option<Vec<u8>>) {
        let (least, most) = (self.capacity, self.capacity + self.capacity / 8);
        let fits = |memory: &Vec<u8>| (least..=most).contains(&memory.capacity());
        let bytes = &mut self.piece.bytes;
        if !fits(bytes) {
            *bytes = spare.filter(fits).unwrap_or_else(|| Vec::with_capacity(least));
        }
        bytes.clear();
        self.closed.clear();
        self.records.clear();
        self.changes.clear();
    }
}

#[cfg(test)]
mod tests {
    use pgdata::{PageEffect, PageKey, RelTag};

    use super::*;

    const SIZE: SegmentSize = SegmentSize::DEFAULT;

    fn page() -> Change {
        Change::Page { key: PageKey::relation(RelTag::default(), 0), effect: PageEffect::Replace }
    }

    fn pieces(batch: &mut Batch) -> Vec<(u64, Vec<u8>)> {
        batch.take_pieces().map(|piece| (piece.position, piece.bytes)).collect()
    }

    #[test]
    fn records_lie_as_in_wal_without_its_page_headers() {
        let mut batch = Batch::new(SIZE);
        batch.push(Lsn(8184 - 16), Lsn(8184), &[1; 12], [page()]);
        batch.push(Lsn(8184), Lsn(8192 + 40), &[2; 24], []);
        batch.push(Lsn(8192 + 40), Lsn(8192 + 48), &[3; 8], [page()]);
        let expected: Vec<u8> = [&[1; 12][..], &[0; 4], &[2; 24], &[3; 8]].concat();
        assert_eq!((batch.len(), batch.bytes()), (3, 48));
        assert_eq!(pieces(&mut batch), [(8184 - 16 - 40, expected)]);
    }

    #[test]
    fn a_gap_begins_a_new_piece_and_nothing_goes_back() {
        let mut batch = Batch::new(SIZE);
        let next = u64::from(SIZE.bytes()) + 40;
        batch.push(Lsn(40), Lsn(next - 40), &[1; 24], []);
        batch.push(Lsn(next), Lsn(next + 24), &[2; 24], [page()]);
        batch.push(Lsn(next), Lsn(next + 32), &[3; 24], [page()]);
        batch.push(Lsn(next + 25), Lsn(next + 40), &[4; 24], [page()]);
        assert_eq!((batch.len(), batch.bytes()), (4, 48));
        let second = SIZE.record_position(Lsn(next)).unwrap();
        assert_eq!(pieces(&mut batch), [(0, vec![1; 24]), (second, vec![2; 24])]);
    }

    #[test]
    fn a_record_whose_changes_fail_is_not_there() {
        let mut batch = Batch::new(SIZE);
        batch.push(Lsn(40), Lsn(64), &[1; 24], [page()]);
        let failed = batch.push_with(Lsn(64), Lsn(88), &[2; 24], |changes| {
            changes.push(page());
            Err("no")
        });
        assert_eq!((failed, batch.len(), batch.bytes(), batch.changes.len()), (Err("no"), 1, 24, 1));
    }

    #[test]
    fn full_memory_is_given_away_and_little_is_copied() {
        let mut batch = Batch::with_capacity(SIZE, 100);
        let memory = batch.piece.bytes.as_ptr();
        batch.push(Lsn(40), Lsn(96), &[1; 50], [page()]);
        assert_eq!(batch.take_pieces().next().unwrap().bytes.capacity(), 50);
        batch.clear(None);
        assert_eq!((batch.piece.bytes.as_ptr(), batch.is_empty(), batch.changes.len()), (memory, true, 0));
        batch.push(Lsn(96), Lsn(192), &[2; 90], [page()]);
        assert_eq!(batch.take_pieces().next().unwrap().bytes.as_ptr(), memory);
        batch.clear(Some(vec![3; 110]));
        assert_eq!((batch.bytes(), batch.piece.bytes.capacity()), (0, 110));
        // Neither what is too much nor what is too little is kept.
        batch.push(Lsn(192), Lsn(400), &[2; 200], [page()]);
        assert_eq!(batch.take_pieces().count(), 1);
        batch.clear(Some(vec![3; 170]));
        assert_eq!((batch.bytes(), batch.piece.bytes.capacity()), (0, 100));
    }
}
