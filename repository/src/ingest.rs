//! The write path: raw WAL is kept, decoded, indexed, and, once it is durable, made visible.
//!
//! What is written is appended to the WAL log, piece after piece, and what was appended is decoded and indexed, never what was not: what is in the index
//! must be in the log. If it is much, others do the work meanwhile: one thread decodes, one puts what was decoded into the index, and one waits for the
//! disk, which makes a segment durable while the next one is written.

mod decoder;
mod indexer;
mod pending;
mod recover;
mod taker;

use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

use page_cache::{PageCache, WalLogError};
use pgdata::{Lsn, Timelines};

use crate::images::{Flushing, Images};
use crate::{IngestError, LostWal};
use indexer::Taken;
use pending::{PIECE, Pending};
use taker::Taker;

/// When so much was written since a flush, others begin to decode it. For less, a thread is not worth it.
const AT_ONCE: u64 = 256 << 10;

/// Who writes so much without a flush is behind.
const CATCHING_UP: u64 = 4 << 20;

/// A flush comes by itself when so much is waiting for it.
const MOST: u64 = 32 << 20;

/// How far a timeline is with the WAL that it was given. Each is the position after the last byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    /// Taken over and kept; on disk only as far as the next one says.
    pub written: Lsn,
    /// Whole records that are on disk: what may be acknowledged as flushed. It lies at a record's end, because that is where
    /// receiving starts again after a crash.
    pub flushed: Lsn,
    /// Whole records that readers see.
    pub applied: Lsn,
}

/// Takes a timeline's WAL, in order. There is one at a time for each timeline.
pub struct Ingest {
    cache: Arc<PageCache>,
    taker: Taker,
    taken: Taken,
    /// The last bytes written, which are not in the log yet. The next write must begin where they end.
    pending: Pending,
    /// Bytes written since the last flush.
    unflushed: u64,
    /// Bytes written since one was begun or ended.
    waiting: u64,
    /// A flush that was begun.
    syncing: Option<JoinHandle<Result<Lsn, WalLogError>>>,
    /// While much comes, images have to wait.
    catching_up: Option<Flushing>,
    /// Why no more WAL is taken, if so. Set once.
    fault: Fault,
    /// What recovery did not find.
    lost: Option<Arc<LostWal>>,
    /// Whether it was said that the flush position cannot be noted.
    note_failed: bool,
    images: Images,
}

/// Why a timeline takes no more WAL. Who only wants to know need not wait for the writer.
pub(crate) type Fault = Arc<OnceLock<Arc<IngestError>>>;

impl Ingest {
    /// Where a sender must begin: the end of the last whole record (or before the rest of a segment that ended early), and for a
    /// new timeline the start of the segment that it begins in.
    #[must_use]
    pub fn resume_lsn(&self) -> Lsn {
        self.cache.resume_lsn()
    }

    /// Takes the next bytes of WAL. They continue the last write, or begin at [`Ingest::resume_lsn`] again, as it is after a flush. They are neither durable
    /// nor visible before [`Ingest::flush`], which the caller should ask for every few megabytes; when 32 MiB are waiting, it is made here.
    ///
    /// # Errors
    /// [`IngestError::Position`] for bytes from elsewhere, [`IngestError::Stopped`] after a fault; those of [`Ingest::flush`].
    pub fn write(&mut self, lsn: Lsn, wal: &[u8]) -> Result<(), IngestError> {
        self.check()?;
        if lsn != self.pending.end() {
            self.begin_again(lsn)?;
        }
        if self.waiting > 0 && self.waiting + wal.len() as u64 > MOST {
            self.flush()?;
        }
        let mut left = wal;
        while !left.is_empty() {
            let taken = self.pending.fill(&self.cache, left);
            left = &left[taken..];
            (self.unflushed, self.waiting) = (self.unflushed + taken as u64, self.waiting + taken as u64);
            if self.pending.is_whole() {
                self.append_piece()?;
            }
        }
        Ok(())
    }

    /// Makes durable what was written, and visible what is whole.
    ///
    /// # Errors
    /// What keeps the WAL from being written, a full disk for example: then what was not taken has to be sent again, from [`Ingest::resume_lsn`] on.
    /// After an error of the decoder or the index nothing more can be taken: the WAL is not what this program understands.
    pub fn flush(&mut self) -> Result<Progress, IngestError> {
        self.check()?;
        let (there, appended) = self.append_rest();
        self.finish(there, appended)
    }

    /// Begins to make durable what was written, and goes on meanwhile: when WAL comes at full speed, neither who sends it nor who takes it up waits for the disk.
    /// What was begun before is ended first, and the answer is how far that came. If little was written, this is [`Ingest::flush`].
    ///
    /// # Errors
    /// As [`Ingest::flush`].
    pub fn begin_flush(&mut self) -> Result<Progress, IngestError> {
        self.check()?;
        if !self.taker.has_thread() || self.taker.has_stopped() {
            return self.flush();
        }
        if let Some(begun) = self.syncing.take() {
            let durable = begun.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            self.published(durable, Ok(()))?;
        }
        let (cache, end) = (Arc::clone(&self.cache), self.cache.wal().end());
        let begun = std::thread::Builder::new().name("wal sync".to_owned()).spawn(move || cache.wal().sync_to(end));
        self.waiting = 0;
        match begun {
            Ok(begun) => self.syncing = Some(begun),
            // No thread can be had.
            Err(_) => return self.flush(),
        }
        Ok(self.progress())
    }

    /// Goes on with the next timeline: the one that the sender's server follows after the present one. `file` is its history file. All WAL of
    /// the present timeline must have been written; what is there of a record that was not whole at its end is void.
    ///
    /// # Errors
    /// [`IngestError::Diverged`] if records were received that are not in the new timeline's history: they stay, and it is not followed.
    /// [`IngestError::NotReached`] if WAL before the switch is missing, and whatever keeps the switch from being made durable.
    pub fn switch_timeline(&mut self, timeline: u32, file: &[u8]) -> Result<(), IngestError> {
        self.flush()?;
        let (now, next) = (self.cache.wal().timelines(), Timelines::parse(timeline, file).map_err(WalLogError::from)?);
        let (held, begin) = (self.cache.last_record_lsn(), next.begin());
        if begin < held {
            return Err(IngestError::Diverged { timeline: now.last(), next: timeline, begin, held });
        }
        // PostgreSQL begins a timeline at the end of a record, or of the segment that a record ended early.
        if begin != held || self.cache.wal().end() < begin {
            let end = self.resume_lsn();
            return Err(IngestError::NotReached { timeline: now.last(), next: timeline, begin, end });
        }
        self.cache.wal().truncate_to(begin)?;
        self.cache.wal().begin_timeline(timeline, file)?;
        tracing::info!(timeline = now.last(), next = timeline, at = %begin, "the WAL goes on with another timeline");
        self.rewind()
    }

    /// Goes back to where a sender begins again.
    fn begin_again(&mut self, lsn: Lsn) -> Result<(), IngestError> {
        if self.taker.has_thread() || !self.taken.is_empty() {
            self.flush()?;
        }
        if lsn == self.resume_lsn() {
            self.rewind()?;
        }
        let expected = self.pending.end();
        if lsn == expected { Ok(()) } else { Err(IngestError::Position { got: lsn, expected }) }
    }

    /// Puts a whole piece into the log, and has it taken up.
    fn append_piece(&mut self) -> Result<(), IngestError> {
        let (at, piece) = self.pending.take();
        let wal = self.cache.wal();
        let appended = self.cut_off_void(at).and_then(|()| match piece.len() > PIECE / 8 * 7 {
            true => wal.append_shared(at, &piece),
            // The beginning of it has been there before.
            false => wal.append(at, &piece),
        });
        if appended.is_err() {
            return self.finish(0, appended).map(drop);
        }
        if self.unflushed >= AT_ONCE {
            self.taker.start_thread();
        }
        if self.unflushed >= CATCHING_UP && self.catching_up.is_none() {
            self.catching_up = self.images.give_way();
        }
        self.taker.take(at, piece);
        Ok(())
    }

    /// Puts what is less than a piece into the log. Tells also how much of it is there.
    fn append_rest(&self) -> (usize, Result<(), WalLogError>) {
        let ((at, rest), wal) = (self.pending.rest(), self.cache.wal());
        if rest.is_empty() {
            return (0, Ok(()));
        }
        match self.cut_off_void(at) {
            Ok(()) => {
                let appended = wal.append(at, rest);
                (wal.end().bytes_since(at) as usize, appended)
            }
            Err(error) => (0, Err(error)),
        }
    }

    /// What was there of a record that was not whole is void. It stays until something takes its place: if it is damage and no torn write, and the
    /// sender has no more of it, there is still something to look at.
    fn cut_off_void(&self, at: Lsn) -> Result<(), WalLogError> {
        if self.cache.wal().end() > at { self.cache.wal().truncate_to(at) } else { Ok(()) }
    }

    /// Makes what was appended durable, takes all of it up, and shows it to readers; of what is less than a piece, the first `there` bytes. If not
    /// everything was appended, goes back to where the sender has to begin again.
    fn finish(&mut self, there: usize, appended: Result<(), WalLogError>) -> Result<Progress, IngestError> {
        let synced = self.cache.wal().sync();
        let (at, rest) = self.pending.rest();
        let taken_up = self.taker.end(at, &rest[..there]);
        // What it did, the other has done too.
        self.syncing.take().map(JoinHandle::join);
        (self.unflushed, self.waiting, self.catching_up) = (0, 0, None);
        self.pending.begin_again(self.pending.end());
        synced?;
        // All that is in the log is durable; the LSN of a record that ended its segment early may lie behind that.
        self.published(Lsn::MAX, taken_up)?;
        if let Err(error) = appended {
            self.rewind()?;
            return Err(error.into());
        }
        Ok(self.progress())
    }

    /// Makes visible what is durable. `taken_up` is how taking up went.
    fn published(&mut self, durable: Lsn, taken_up: Result<(), IngestError>) -> Result<(), IngestError> {
        // Records before a bad one are good.
        if let Err(error) = self.taken.publish(&self.cache, durable).and(taken_up) {
            let error = Arc::new(error);
            let _ = self.fault.set(Arc::clone(&error));
            return Err(IngestError::Stopped(error));
        }
        self.note_flushed();
        self.images.offer();
        Ok(())
    }

    fn progress(&self) -> Progress {
        let applied = self.cache.last_record_lsn();
        // A segment that ended early counts only as far as it has arrived.
        Progress { written: self.pending.end(), flushed: self.resume_lsn(), applied }
    }

    /// Takes no more WAL, after a panic while it was taken up: how far that came is not known. A restart finds out.
    pub(crate) fn give_up(&self) {
        let _ = self.fault.set(Arc::new(IngestError::Panicked));
    }

    pub(crate) fn fault(&self) -> &Fault {
        &self.fault
    }

    pub(crate) fn lost(&self) -> Option<&Arc<LostWal>> {
        self.lost.as_ref()
    }

    /// Nothing depends on the note but what the next start can tell, so a failure is said and no more.
    fn note_flushed(&mut self) {
        let noted = self.cache.note_flushed();
        if let (Err(error), false) = (&noted, self.note_failed) {
            tracing::warn!(%error, "it cannot be noted how much WAL is on disk: damage at the log's end may be taken for a torn write");
        }
        self.note_failed = noted.is_err();
    }

    fn check(&self) -> Result<(), IngestError> {
        self.fault.get().map_or(Ok(()), |fault| Err(IngestError::Stopped(Arc::clone(fault))))
    }

    /// Forgets the bytes after the last whole record: they may come again, and be others.
    fn rewind(&mut self) -> Result<(), IngestError> {
        self.taker.begin_again(self.cache.last_record_lsn(), self.cache.wal().timelines())?;
        self.pending.begin_again(self.resume_lsn());
        Ok(())
    }
}

impl Drop for Ingest {
    fn drop(&mut self) {
        // Who lets go of a timeline may remove its directory.
        self.syncing.take().map(JoinHandle::join);
    }
}
