//! The write path: records become versions, versions become visible.

use std::sync::Arc;

use pgdata::{Change, Lsn};

use crate::batch::{Batch, BatchRecord};
use crate::cache::{PageCache, Poison, State};
use crate::index::RecordPlace;

/// Why records are not taken up.
#[derive(Clone, Debug, thiserror::Error)]
pub enum IngestError {
    /// The record is not after those before it. Nothing was taken up.
    #[error("the record at {lsn} comes after the one at {last}")]
    OutOfOrder {
        /// The record's LSN.
        lsn: Lsn,
        /// The LSN of the last record before it.
        last: Lsn,
    },
    /// The record is not in the WAL log, where it may have to be read from later. Nothing was taken up.
    #[error("the record from {start} to {lsn} with {len} bytes is not one in the WAL log, which ends at {end}")]
    NotInLog {
        /// Where the record starts.
        start: Lsn,
        /// Its LSN.
        lsn: Lsn,
        /// Its length.
        len: usize,
        /// Where the log ends.
        end: Lsn,
    },
    /// A record contradicts what was before, now or earlier. The records before it were taken up.
    #[error(transparent)]
    Poisoned(Arc<Poison>),
}

/// Why `last_record_lsn` does not advance.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AdvanceError {
    /// No record ends there.
    #[error("{0} is not the LSN of a record: it is not a multiple of eight")]
    Unaligned(Lsn),
    /// A record up to there was refused.
    #[error(transparent)]
    Poisoned(Arc<Poison>),
}

impl PageCache {
    /// Takes up one record of `len` bytes: [`PageCache::ingest_batch`] with a batch of one.
    ///
    /// # Errors
    /// As [`PageCache::ingest_batch`].
    pub fn ingest(&self, start: Lsn, lsn: Lsn, len: usize, changes: &[Change]) -> Result<(), IngestError> {
        let mut batch = Batch::new();
        batch.push(start, lsn, len, changes.iter().cloned());
        self.ingest_batch(&mut batch)
    }

    /// Takes up records, whose WAL was appended to the log before. Readers see them only after [`PageCache::advance`]. They wait
    /// while the batch is taken up, about 0.1 µs for each page that it changes. The batch is empty afterwards, whatever the answer, and keeps its
    /// memory for the next records.
    ///
    /// # Errors
    /// [`IngestError::OutOfOrder`] and [`IngestError::NotInLog`] if the batch makes no sense: it is refused as a whole.
    /// [`IngestError::Poisoned`] if a record contradicts what was before: the timeline takes no more from there on.
    pub fn ingest_batch(&self, batch: &mut Batch) -> Result<(), IngestError> {
        let result = self.take_up(batch);
        batch.clear();
        result
    }

    fn take_up(&self, batch: &Batch) -> Result<(), IngestError> {
        let (Some(first), Some(last)) = (batch.records.first(), batch.records.last()) else { return Ok(()) };
        let first = first.lsn;
        self.check_batch(batch)?;
        // Read back from there, if need be: what readers may see must not be cut off.
        self.wal.protect(last.lsn.min(self.wal.end()));
        let mut state = self.write_state();
        if let Some(poison) = &state.poison {
            return Err(IngestError::Poisoned(Arc::clone(poison)));
        }
        let before = state.ingested.max(self.last.load());
        if first <= before {
            return Err(IngestError::OutOfOrder { lsn: first, last: before });
        }
        let result = apply(&mut state, &batch.records, &batch.changes);
        drop(state);
        result.map_err(|poison| {
            tracing::error!(%poison, "a record was refused");
            IngestError::Poisoned(poison)
        })
    }

    /// What can be said of a batch without the lock.
    fn check_batch(&self, batch: &Batch) -> Result<(), IngestError> {
        let (end, size) = (self.wal.end(), self.info().segment_size);
        let mut last = Lsn::INVALID;
        let mut changes_before = 0;
        for record in &batch.records {
            let BatchRecord { start, lsn, len, .. } = *record;
            if lsn <= last || !lsn.is_aligned() {
                return Err(IngestError::OutOfOrder { lsn, last });
            }
            let changes = &batch.changes[changes_before..record.changes_end];
            let bytes_end = u32::try_from(len).ok().and_then(|len| size.record_end(start, len));
            let there = match bytes_end {
                Some(at) if at.align_up() == lsn => at <= end,
                // A record that ends its segment early has its LSN there, and no page.
                Some(at) => {
                    at <= end && at < lsn && !changes.iter().any(|change| matches!(change, Change::Page { .. }))
                }
                None => false,
            };
            if !there && !changes.is_empty() {
                return Err(IngestError::NotInLog { start, lsn, len, end });
            }
            (last, changes_before) = (lsn, record.changes_end);
        }
        Ok(())
    }

    /// Makes everything up to `lsn`, the end of a record, visible, and wakes those who wait for it. Answers with the number before;
    /// a step backwards changes nothing.
    ///
    /// # Errors
    /// [`AdvanceError::Poisoned`] past a record that was refused.
    pub fn advance(&self, lsn: Lsn) -> Result<Lsn, AdvanceError> {
        if !lsn.is_aligned() {
            return Err(AdvanceError::Unaligned(lsn));
        }
        if let Some(poison) = self.poison()
            && lsn > poison.good
        {
            return Err(AdvanceError::Poisoned(poison));
        }
        self.wal.protect(lsn.min(self.wal.end()));
        Ok(self.last.advance(lsn))
    }

    /// Whether, and why, the timeline takes no more records.
    #[must_use]
    pub fn poison(&self) -> Option<Arc<Poison>> {
        self.read_state().poison.clone()
    }
}

fn apply(state: &mut State, records: &[BatchRecord], changes: &[Change]) -> Result<(), Arc<Poison>> {
    let mut changes_start = 0;
    for record in records {
        // Longer ones are refused as soon as they name a page.
        let len = u32::try_from(record.len).unwrap_or(u32::MAX);
        let place = RecordPlace { start: record.start, lsn: record.lsn, len };
        if let Err(fault) = state.index.apply(place, &changes[changes_start..record.changes_end]) {
            let poison = Arc::new(Poison { good: state.ingested, fault });
            state.poison = Some(Arc::clone(&poison));
            return Err(poison);
        }
        state.ingested = record.lsn;
        changes_start = record.changes_end;
    }
    Ok(())
}
