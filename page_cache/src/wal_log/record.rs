//! Reading records, out of memory or back from disk.

use pgdata::Lsn;
use pgdata::wal::{strip_page_headers, verify_record_crc};

use super::window::{Found, put_together};
use super::{RecordBytes, WalLog, WalLogError};
use crate::index::RecordPlace;
use crate::storage::{Context, read_exact_at};

impl WalLog {
    /// Records that were ingested: the newest are shared out of memory, others are read back. No lock is held over that.
    pub(crate) fn records(&self, places: &[RecordPlace]) -> Result<Vec<RecordBytes>, WalLogError> {
        let found: Vec<Option<Found>> = {
            let window = self.window();
            places.iter().map(|place| window.find(*place)).collect()
        };
        let records = places.iter().zip(found).map(|(place, found)| {
            let here = match found {
                Some(Found::Whole(record)) => Some(record),
                Some(Found::Parts(parts)) => put_together(*place, self.info.segment_size, &parts),
                None => None,
            };
            match here {
                Some(record) => Ok(record),
                None => {
                    let bytes = self.read_record(place.start, place.lsn, place.len)?;
                    Ok(RecordBytes::owned(place.lsn, bytes))
                }
            }
        });
        records.collect()
    }

    /// The record of `len` bytes that goes from `start` to `lsn`, without page headers, its CRC verified. `start` and `len`
    /// were checked when the record was ingested.
    fn read_record(&self, start: Lsn, lsn: Lsn, len: u32) -> Result<Vec<u8>, WalLogError> {
        self.check_range(start)?;
        self.check_range(lsn)?;
        let size = self.info.segment_size;
        // Not up to the LSN: that of a record which ends a segment early lies far behind its bytes.
        let end = size.record_end(start, len).unwrap_or(lsn).min(lsn);
        let mut wal = vec![0; end.bytes_since(start) as usize];
        let (mut at, mut rest) = (start, &mut wal[..]);
        while !rest.is_empty() {
            let room = (size.bytes() - size.offset_of(at)) as usize;
            let (piece, behind) = { rest }.split_at_mut(room.min((end.0 - at.0) as usize));
            let segno = size.segment_of(at);
            let file = self.open_segment(segno)?;
            let read = read_exact_at(&*file, piece, u64::from(size.offset_of(at)));
            read.with_context("read", || self.path(segno))?;
            at = Lsn(at.0 + piece.len() as u64);
            rest = behind;
        }
        let record = match wal.len() == len as usize {
            // All of it lies in one page, as that of most records.
            true => Ok(wal),
            false => {
                let mut record = Vec::with_capacity(len as usize);
                strip_page_headers(&wal, start, len, size, &mut record).map(|()| record)
            }
        };
        record.and_then(|record| verify_record_crc(&record).map(|()| record)).map_err(|source| {
            let segments = size.segment_of(start)..=size.segment_of(Lsn(end.0 - 1));
            WalLogError::Record { paths: segments.map(|segno| self.path(segno)).collect(), start, lsn, source }
        })
    }
}
