//! Making durable what was appended.

use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};

use pgdata::Lsn;

use super::timelines::unfinished;
use super::{WalLog, WalLogError};
use crate::storage::{Context, StorageError, StorageFile};

/// A segment's number and its file.
type Segment = (u64, Arc<dyn StorageFile>);

#[derive(Debug, Default)]
pub(super) struct Writer {
    /// The last segment's file, once it is there.
    pub(super) file: Option<Segment>,
    /// The segment before it, if that was not durable when the last one began: then the last one is an unfinished file, without its name.
    pub(super) before: Option<Segment>,
    /// A file has got its name, and that is not durable yet.
    pub(super) dir_dirty: bool,
    poison: Option<Arc<StorageError>>,
}

/// What has to be made durable next.
struct Due {
    segment: Segment,
    dir_dirty: bool,
    /// Everything before this is durable then.
    end: Lsn,
}

impl WalLog {
    pub(super) fn lock(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn syncing(&self) -> MutexGuard<'_, ()> {
        self.syncing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether, and why, the log takes no more WAL.
    #[must_use]
    pub fn poison(&self) -> Option<Arc<StorageError>> {
        self.lock().poison.clone()
    }

    /// Makes everything appended so far durable, and tells up to where that is: only this may be acknowledged to the sender.
    ///
    /// # Errors
    /// [`WalLogError::Poisoned`] if it fails, and ever after: what the kernel dropped once, it does not write later.
    pub fn sync(&self) -> Result<Lsn, WalLogError> {
        self.sync_to(self.end())
    }

    /// As [`WalLog::sync`], for what is before `lsn` at least, and little more. Meanwhile another thread may append, up to the end of the segment behind
    /// the first that is not durable.
    ///
    /// # Errors
    /// As [`WalLog::sync`].
    pub fn sync_to(&self, lsn: Lsn) -> Result<Lsn, WalLogError> {
        let syncing = self.syncing();
        self.sync_holding(&syncing, lsn.min(self.end()))?;
        Ok(self.flushed())
    }

    /// Makes sure that every segment has its name.
    pub(super) fn settle(&self, syncing: &MutexGuard<'_, ()>) -> Result<(), WalLogError> {
        let unfinished = self.lock().before.is_some();
        if unfinished { self.sync_holding(syncing, self.end()) } else { Ok(()) }
    }

    /// One segment after the other, the names in between. Only what changes the writer is done with its lock.
    pub(super) fn sync_holding(&self, _: &MutexGuard<'_, ()>, to: Lsn) -> Result<(), WalLogError> {
        while let Some(due) = self.due(to)? {
            let (segno, file) = &due.segment;
            let result = file.sync().with_context("sync", || self.path(*segno));
            let result = result.and_then(|()| match due.dir_dirty {
                true => self.storage.sync_dir(&self.dir).context("sync", &self.dir),
                false => Ok(()),
            });
            self.lock().poison_if(result)?;
            self.flushed.store(due.end.0, Ordering::Release);
        }
        Ok(())
    }

    /// What comes next, if not everything is durable up to `to`.
    fn due(&self, to: Lsn) -> Result<Option<Due>, WalLogError> {
        let mut writer = self.lock();
        writer.check()?;
        self.name_last(&mut writer)?;
        let segment = match (&writer.before, &writer.file) {
            _ if self.flushed() >= to => return Ok(None),
            (Some(segment), _) | (None, Some(segment)) => segment.clone(),
            (None, None) => return Ok(None),
        };
        let end = if writer.before.is_some() { self.end_of_segment(segment.0) } else { self.end() };
        Ok(Some(Due { segment, dir_dirty: std::mem::take(&mut writer.dir_dirty), end }))
    }

    /// Gives the last segment its name, if the one before it is durable by now.
    fn name_last(&self, writer: &mut Writer) -> Result<(), WalLogError> {
        let (Some((before, _)), Some((segno, _))) = (&writer.before, &writer.file) else { return Ok(()) };
        if self.flushed() < self.end_of_segment(*before) {
            return Ok(());
        }
        let path = self.path(*segno);
        let renamed = self.storage.rename(&unfinished(&path), &path).context("rename into place", &path);
        // Otherwise the name may be there after a crash, or not.
        writer.poison_if(renamed)?;
        (writer.before, writer.dir_dirty) = (None, true);
        Ok(())
    }

    fn end_of_segment(&self, segno: u64) -> Lsn {
        self.info.segment_size.start_of(segno + 1).unwrap_or(Lsn::MAX)
    }
}

impl Writer {
    pub(super) fn check(&self) -> Result<(), WalLogError> {
        self.poison.as_ref().map_or(Ok(()), |poison| Err(WalLogError::Poisoned(Arc::clone(poison))))
    }

    pub(super) fn poison_if<T>(&mut self, result: Result<T, StorageError>) -> Result<T, WalLogError> {
        result.map_err(|error| {
            let error = Arc::new(error);
            tracing::error!(%error, "the WAL log takes no more WAL");
            self.poison = Some(Arc::clone(&error));
            WalLogError::Poisoned(error)
        })
    }
}
