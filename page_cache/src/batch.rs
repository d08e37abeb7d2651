//! Records on their way into the index.

use pgdata::{Change, Lsn};

/// Some consecutive records with their changes, to be ingested in one step.
///
/// Filling a batch takes no lock; the bytes of its records become a piece of the cache's memory without being copied again.
#[derive(Debug, Default)]
pub struct Batch {
    pub(crate) bytes: Vec<u8>,
    pub(crate) records: Vec<BatchRecord>,
    pub(crate) changes: Vec<Change>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct BatchRecord {
    pub start: Lsn,
    pub lsn: Lsn,
    /// Where its bytes are in the batch, if it has any that are kept.
    pub offset: usize,
    pub len: usize,
    /// Its changes are those up to here that are not an earlier record's.
    pub changes_end: usize,
}

impl Batch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a record: its first byte's position `start`, its LSN `lsn` (its end), the whole record without page headers, and what
    /// it changes. A record that changes no page leaves its bytes behind, one without changes leaves nothing but its LSN.
    pub fn push(&mut self, start: Lsn, lsn: Lsn, bytes: &[u8], changes: impl IntoIterator<Item = Change>) {
        let before = self.changes.len();
        self.changes.extend(changes);
        let offset = self.bytes.len();
        if self.changes[before..].iter().any(|change| matches!(change, Change::Page { .. })) {
            self.bytes.extend_from_slice(bytes);
        }
        self.records.push(BatchRecord { start, lsn, offset, len: bytes.len(), changes_end: self.changes.len() });
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

    /// Bytes of records held so far: a caller ingests a batch when this is about a megabyte.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }
}
