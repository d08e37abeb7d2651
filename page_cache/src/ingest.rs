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
    /// Takes up one record: [`PageCache::ingest_batch`] with a batch of one.
    ///
    /// # Errors
    /// As [`PageCache::ingest_batch`].
    pub fn ingest(&self, start: Lsn, lsn: Lsn, bytes: &[u8], changes: &[Change]) -> Result<(), IngestError> {
        let mut batch = Batch::new();
        batch.push(start, lsn, bytes, changes.iter().cloned());
        self.ingest_batch(batch)
    }

    /// Takes up records, whose WAL was appended to the log before. Readers see them only after [`PageCache::advance`]. They wait
    /// while the batch is taken up, about 0.3 µs for each page that it changes.
    ///
    /// # Errors
    /// [`IngestError::OutOfOrder`] and [`IngestError::NotInLog`] if the batch makes no sense: it is refused as a whole.
    /// [`IngestError::Poisoned`] if a record contradicts what was before: the timeline takes no more from there on.
    pub fn ingest_batch(&self, batch: Batch) -> Result<(), IngestError> {
        let Some(last) = batch.records.last() else { return Ok(()) };
        self.check_batch(&batch)?;
        // Read back from there, if need be: what readers may see must not be cut off.
        self.wal.protect(last.lsn.min(self.wal.end()));
        let Batch { mut bytes, records, changes } = batch;
        bytes.shrink_to_fit();
        let mut state = self.write_state();
        if let Some(poison) = &state.poison {
            return Err(IngestError::Poisoned(Arc::clone(poison)));
        }
        if let Some(first) = records.first()
            && first.lsn <= state.ingested.max(self.last.load())
        {
            return Err(IngestError::OutOfOrder { lsn: first.lsn, last: state.ingested.max(self.last.load()) });
        }
        let (position, gone) = state.window.push(bytes);
        let result = apply(&mut state, position, &records, &changes);
        drop(state);
        // Freeing memory takes its time; readers need not wait for it.
        drop((gone, changes));
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
            let bytes_end = u32::try_from(len).ok().and_then(|len| size.record_end(start, len));
            // A record that ends its segment early has its LSN there, and no page.
            let whole = bytes_end.is_some_and(|at| at <= end && at.align_up() <= lsn);
            if !whole && record.changes_end > changes_before {
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

fn apply(state: &mut State, position: u64, records: &[BatchRecord], changes: &[Change]) -> Result<(), Arc<Poison>> {
    let mut changes_start = 0;
    for record in records {
        let place = RecordPlace {
            start: record.start,
            lsn: record.lsn,
            // Longer ones are refused as soon as they name a page.
            len: u32::try_from(record.len).unwrap_or(u32::MAX),
            position: position + record.offset as u64,
        };
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
