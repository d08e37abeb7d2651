//! Records on their way into the index.

use pgdata::{Change, Lsn};

/// Some consecutive records with their changes, to be ingested in one step. Their bytes are those in the WAL log.
///
/// Filling a batch takes no lock.
#[derive(Debug, Default)]
pub struct Batch {
    /// Bytes of records.
    bytes: usize,
    pub(crate) records: Vec<BatchRecord>,
    pub(crate) changes: Vec<Change>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct BatchRecord {
    pub start: Lsn,
    pub lsn: Lsn,
    pub len: usize,
    /// Its changes are those up to here that are not an earlier record's.
    pub changes_end: usize,
}

impl Batch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Batch::default()
    }

    /// Adds a record, whose bytes were found to be right: its first byte's position `start`, its LSN `lsn` (its end), how many bytes it has without page
    /// headers, and what it changes.
    pub fn push(&mut self, start: Lsn, lsn: Lsn, len: usize, changes: impl IntoIterator<Item = Change>) {
        self.changes.extend(changes);
        self.close_record(start, lsn, len);
    }

    /// As [`Batch::push`], with changes that `append` adds to those of the records before.
    ///
    /// # Errors
    /// Those of `append`: then nothing is added.
    pub fn push_with<E>(
        &mut self,
        start: Lsn,
        lsn: Lsn,
        len: usize,
        append: impl FnOnce(&mut Vec<Change>) -> Result<(), E>,
    ) -> Result<(), E> {
        let before = self.changes.len();
        let result = append(&mut self.changes);
        match result {
            Ok(()) => self.close_record(start, lsn, len),
            Err(_) => self.changes.truncate(before),
        }
        result
    }

    fn close_record(&mut self, start: Lsn, lsn: Lsn, len: usize) {
        self.bytes += len;
        self.records.push(BatchRecord { start, lsn, len, changes_end: self.changes.len() });
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

    /// Bytes of its records. A caller ingests a batch before this is more than some hundred kilobytes: readers wait while it is taken up.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Makes it empty. Its memory stays.
    pub(crate) fn clear(&mut self) {
        self.bytes = 0;
        self.records.clear();
        self.changes.clear();
    }
}

#[cfg(test)]
mod tests {
    use pgdata::{PageEffect, PageKey, RelTag};

    use super::*;

    fn page() -> Change {
        Change::Page { key: PageKey::relation(RelTag::default(), 0), effect: PageEffect::Replace }
    }

    #[test]
    fn a_record_whose_changes_fail_is_not_there() {
        let mut batch = Batch::new();
        batch.push(Lsn(40), Lsn(64), 24, [page()]);
        let failed = batch.push_with(Lsn(64), Lsn(88), 24, |changes| {
            changes.push(page());
            Err("no")
        });
        assert_eq!((failed, batch.len(), batch.bytes(), batch.changes.len()), (Err("no"), 1, 24, 1));
        batch.clear();
        assert_eq!((batch.is_empty(), batch.bytes(), batch.changes.len()), (true, 0, 0));
    }
}
