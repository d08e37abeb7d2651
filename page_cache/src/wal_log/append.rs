//! Appending: to the files, and to what is kept in memory.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use pgdata::Lsn;

use super::timelines::unfinished;
use super::window::COPIED;
use super::{WalLog, WalLogError};
use crate::storage::{Context, StorageFile, write_all_at};

impl WalLog {
    /// Appends WAL that starts at `lsn`, which must be [`WalLog::end`]. It is not durable before [`WalLog::sync`]. A copy of it is kept in memory as long as
    /// there is room.
    ///
    /// # Errors
    /// [`WalLogError::NotAtEnd`]; [`WalLogError::Storage`] if writing failed, with a full disk for example: [`WalLog::end`] then
    /// says how much was taken (whole segments' parts of it), and what was not can be appended again;
    /// [`WalLogError::Poisoned`].
    pub fn append(&self, lsn: Lsn, bytes: &[u8]) -> Result<(), WalLogError> {
        let (taken, appended) = self.write(lsn, bytes);
        let (mut at, mut rest) = (lsn, &bytes[..taken]);
        while !rest.is_empty() {
            let (copied, behind) = rest.split_at(rest.len().min(COPIED - at.0 as usize % COPIED));
            self.keep(at, &Arc::new(copied.to_vec()), copied.len());
            at = Lsn(at.0 + copied.len() as u64);
            rest = behind;
        }
        appended
    }

    /// As [`WalLog::append`], but the memory itself is kept, not a copy of it. All of it counts: it should be full, and of some size.
    ///
    /// # Errors
    /// As [`WalLog::append`].
    pub fn append_shared(&self, lsn: Lsn, bytes: &Arc<Vec<u8>>) -> Result<(), WalLogError> {
        let (taken, appended) = self.write(lsn, bytes);
        if taken > 0 {
            self.keep(lsn, bytes, taken);
        }
        appended
    }

    /// Memory for `capacity` bytes of WAL, empty; if possible some that was in use for older WAL.
    #[must_use]
    pub fn memory(&self, capacity: usize) -> Vec<u8> {
        let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut memory =
            spare.filter(|spare| spare.capacity() == capacity).unwrap_or_else(|| Vec::with_capacity(capacity));
        memory.clear();
        memory
    }

    /// Keeps WAL in memory that is in the log.
    pub(super) fn keep(&self, lsn: Lsn, bytes: &Arc<Vec<u8>>, len: usize) {
        let gone = self.window.write().unwrap_or_else(PoisonError::into_inner).push(lsn, bytes, len);
        // Without the lock: freeing memory takes its time. A reader may still hold a piece.
        if let Some(spare) = gone.into_iter().filter_map(Arc::into_inner).max_by_key(Vec::capacity) {
            *self.spare.lock().unwrap_or_else(PoisonError::into_inner) = Some(spare);
        }
    }

    /// Writes into the files. Tells also how much was taken, if that is not all.
    fn write(&self, lsn: Lsn, bytes: &[u8]) -> (usize, Result<(), WalLogError>) {
        if let Err(error) = self.check_append(lsn, bytes.len()) {
            return (0, Err(error));
        }
        let result = self.write_all(lsn, bytes);
        (self.end().bytes_since(lsn) as usize, result)
    }

    fn check_append(&self, lsn: Lsn, len: usize) -> Result<(), WalLogError> {
        self.lock().check()?;
        let end = self.end();
        if lsn != end {
            return Err(WalLogError::NotAtEnd { got: lsn, end });
        }
        lsn.checked_add(len as u64).map(drop).ok_or(WalLogError::EndOfNumbers(lsn))
    }

    fn write_all(&self, lsn: Lsn, bytes: &[u8]) -> Result<(), WalLogError> {
        let size = self.info.segment_size;
        let (mut at, mut rest) = (lsn, bytes);
        while !rest.is_empty() {
            let room = (size.bytes() - size.offset_of(at)) as usize;
            let (piece, behind) = rest.split_at(rest.len().min(room));
            let segno = size.segment_of(at);
            let file = self.segment_for_append(segno)?;
            write_all_at(&*file, piece, u64::from(size.offset_of(at))).with_context("write", || self.path(segno))?;
            at = Lsn(at.0 + piece.len() as u64);
            self.end.store(at.0, Ordering::Release);
            rest = behind;
        }
        Ok(())
    }

    /// The file to append to. A segment gets its name when the one before it is durable: that is what lets [`WalLog::open`] tell damage from the end.
    /// Until then it is an unfinished file, of which there is one at most: who appends waits before there would be a second.
    fn segment_for_append(&self, segno: u64) -> Result<Arc<dyn StorageFile>, WalLogError> {
        let begin = self.info.segment_size.start_of(segno).unwrap_or(self.end());
        loop {
            let mut writer = self.lock();
            writer.check()?;
            let last = match &writer.file {
                Some((last, file)) if *last == segno => return Ok(Arc::clone(file)),
                Some((last, _)) => self.info.segment_size.start_of(*last),
                None => None,
            };
            let ahead = last.is_some() && self.flushed() < begin;
            if ahead && writer.before.is_some() {
                drop(writer);
                self.sync_to(last.unwrap_or(begin))?;
                continue;
            }
            let path = if ahead { unfinished(&self.path(segno)) } else { self.path(segno) };
            let file = self.storage.create(&path).context("create", &path)?;
            self.files().insert((self.timeline_of(segno), segno), Arc::clone(&file));
            let before = writer.file.replace((segno, Arc::clone(&file)));
            match ahead {
                true => writer.before = before,
                false => writer.dir_dirty = true,
            }
            return Ok(file);
        }
    }
}
