//! Reading the log in order.

use std::sync::Arc;

use pgdata::Lsn;

use super::{WalLog, WalLogError};
use crate::storage::{Context, read_exact_at};

/// Bytes in a piece at most.
const CHUNK: usize = 256 << 10;

/// Goes through the log in pieces of at most 256 KiB.
#[derive(Debug)]
pub struct WalReader<'a> {
    log: &'a WalLog,
    at: Lsn,
    /// Whether what is read is kept in memory.
    keeps: bool,
    buffer: Arc<Vec<u8>>,
}

impl<'a> WalReader<'a> {
    pub(super) fn new(log: &'a WalLog, at: Lsn, keeps: bool) -> Self {
        WalReader { log, at, keeps, buffer: Arc::default() }
    }

    /// The next piece and where it starts; `None` at the end of the log, as it is at this moment. A piece never goes over the
    /// end of a segment.
    ///
    /// # Errors
    /// [`WalLogError::Storage`]; the same piece is tried again by the next call.
    pub fn next_chunk(&mut self) -> Result<Option<(Lsn, &[u8])>, WalLogError> {
        let left = self.log.end().bytes_since(self.at);
        if left == 0 {
            return Ok(None);
        }
        let size = self.log.info.segment_size;
        let in_segment = u64::from(size.bytes() - size.offset_of(self.at));
        let len = left.min(in_segment).min(CHUNK as u64) as usize;
        let mut buffer = match Arc::get_mut(&mut self.buffer) {
            Some(buffer) if buffer.capacity() > 0 => std::mem::take(buffer),
            _ => self.log.memory(CHUNK),
        };
        buffer.resize(len, 0);
        let segno = size.segment_of(self.at);
        let file = self.log.open_segment(segno)?;
        let offset = u64::from(size.offset_of(self.at));
        read_exact_at(&*file, &mut buffer, offset).context("read", &self.log.path(segno))?;
        self.buffer = Arc::new(buffer);
        let at = self.at;
        if self.keeps {
            self.log.keep(at, &self.buffer, len);
        }
        self.at = Lsn(at.0 + len as u64);
        Ok(Some((at, &self.buffer)))
    }
}
