//! The write path: raw WAL is kept and made durable, then decoded, indexed, and made visible.

use std::sync::{Arc, OnceLock};

use page_cache::{Batch, PageCache, WalLogError};
use pgdata::{Change, ClusterState, Lsn, Timelines};
use wal_decoder::{Interpreter, Record, WalError, WalStream};

use crate::{IngestError, LostWal};

/// A batch goes into the index when its records take about this much.
const BATCH_BYTES: usize = 1 << 20;

/// While as much as this is made durable, it is decoded on another processor. For less, a thread is not worth it.
const AT_ONCE: u64 = 256 << 10;

/// How far a timeline is with the WAL that it was given. Each is the position after the last byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    /// Taken over, perhaps only in memory.
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
    decoder: Decoder,
    /// Where the next write must begin.
    next: Lsn,
    /// Why no more WAL is taken, if so. Set once.
    fault: Fault,
    /// What recovery did not find.
    lost: Option<Arc<LostWal>>,
    /// Whether it was said that the flush position cannot be noted.
    note_failed: bool,
}

/// Why a timeline takes no more WAL. Who only wants to know need not wait for the writer.
pub(crate) type Fault = Arc<OnceLock<Arc<IngestError>>>;

/// From raw WAL to batches: the part that does no I/O.
#[derive(Debug)]
struct Decoder {
    stream: WalStream,
    interpreter: Interpreter,
    /// The start of the last record that went into the index, none before the first.
    last_start: Option<Lsn>,
    batch: Batch,
    /// The LSN of the batch's last record. The stream may be past it, at a record that is not understood.
    batch_end: Lsn,
    /// The LSN of the last record in the index. Readers do not see what is there before it is durable.
    taken_up: Lsn,
    changes: Vec<Change>,
}

impl Ingest {
    /// Rebuilds the index of a timeline from its WAL on disk, and goes on from there.
    pub(crate) fn recover(cache: Arc<PageCache>, initial: ClusterState) -> Result<Ingest, IngestError> {
        let info = *cache.info();
        let mut decoder = Decoder {
            stream: WalStream::new(info.start_lsn, info.segment_size.bytes(), info.version)?
                .expect_system_id(info.system_id)
                .expect_timelines(cache.wal().timelines()),
            interpreter: Interpreter::new(info.version, initial),
            last_start: None,
            batch: Batch::new(),
            batch_end: info.start_lsn,
            taken_up: info.start_lsn,
            changes: Vec::new(),
        };
        let fault = Fault::default();
        let lost = match Self::replay(&mut decoder, &cache) {
            Ok(end) => end_of_log(&cache, end).map(Arc::new),
            Err(error) => {
                let last = cache.last_record_lsn();
                tracing::error!(%error, %last, "the timeline takes no more WAL; what is before stays readable");
                let _ = fault.set(Arc::new(error));
                None
            }
        };
        let next = cache.resume_lsn();
        let mut ingest = Ingest { cache, decoder, next, fault, lost, note_failed: false };
        ingest.rewind()?;
        ingest.note_flushed();
        Ok(ingest)
    }

    /// Decodes what the log holds into the index. Answers with what ended it, if that is not its end.
    fn replay(decoder: &mut Decoder, cache: &PageCache) -> Result<Option<WalError>, IngestError> {
        let (wal, start) = (cache.wal(), cache.info().start_lsn);
        if wal.end() <= start {
            return Ok(None);
        }
        let durable = wal.durable_since();
        let mut reader = wal.read_from(start)?;
        while let Some((at, chunk)) = reader.next_chunk()? {
            decoder.stream.feed(chunk);
            match decoder.take_up(cache).and(decoder.publish(cache)) {
                Ok(()) => {}
                // Without bytes of the last segment there was no error: a write that a crash tore looks like this.
                Err(IngestError::Wal(error)) if at >= durable => return Ok(Some(error)),
                Err(IngestError::Wal(source)) => return Err(damage(cache, at, source)),
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Where a sender must begin: the end of the last whole record (or before the rest of a segment that ended early), and for a
    /// new timeline the start of the segment that it begins in.
    #[must_use]
    pub fn resume_lsn(&self) -> Lsn {
        self.cache.resume_lsn()
    }

    /// Takes the next bytes of WAL. They continue the last write, or begin at [`Ingest::resume_lsn`] again.
    ///
    /// # Errors
    /// [`IngestError::Position`] for bytes from elsewhere, [`IngestError::Stopped`] after a fault, and whatever keeps them from
    /// being written.
    pub fn write(&mut self, lsn: Lsn, wal: &[u8]) -> Result<(), IngestError> {
        self.check()?;
        if lsn != self.next && lsn == self.resume_lsn() {
            self.rewind()?;
        }
        if lsn != self.next {
            return Err(IngestError::Position { got: lsn, expected: self.next });
        }
        // What was there of a record that was not whole is void. It stays until something takes its place: if it is damage and no
        // torn write, and the sender has no more of it, there is still something to look at.
        self.cache.wal().truncate_to(lsn)?;
        self.cache.wal().append(lsn, wal)?;
        // Kept, but with nothing to say: what precedes the first record in its segment, and what follows a segment switch.
        let skipped = self.decoder.stream.fed_to().bytes_since(lsn).min(wal.len() as u64) as usize;
        self.decoder.stream.feed(&wal[skipped..]);
        self.next = Lsn(lsn.0 + wal.len() as u64);
        Ok(())
    }

    /// Makes durable what was written, and visible what is whole.
    ///
    /// # Errors
    /// After an error of the decoder or the index nothing more can be taken: the WAL is not what this program understands.
    pub fn flush(&mut self) -> Result<Progress, IngestError> {
        self.check()?;
        let (synced, taken_up) = self.sync_and_take_up();
        synced?;
        // Records before a bad one are good.
        if let Err(error) = self.decoder.publish(&self.cache).and(taken_up) {
            let error = Arc::new(error);
            let _ = self.fault.set(Arc::clone(&error));
            return Err(IngestError::Stopped(error));
        }
        self.note_flushed();
        let applied = self.cache.last_record_lsn();
        // A segment that ended early counts only as far as it has arrived.
        Ok(Progress { written: self.next, flushed: self.resume_lsn(), applied })
    }

    /// Goes on with the next timeline: the one that the sender's server follows after the present one. `file` is its history file. All WAL of
    /// the present timeline must have been written; what is there of a record that was not whole at its end is void.
    ///
    /// # Errors
    /// [`IngestError::Diverged`] if records were received that are not in the new timeline's history: they stay, and it is not followed.
    /// [`IngestError::NotReached`] if WAL before the switch is missing, and whatever keeps the switch from being made durable.
    pub fn switch_timeline(&mut self, timeline: u32, file: &[u8]) -> Result<(), IngestError> {
        self.check()?;
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

    /// The disk and the processor work at the same time, if there is enough to do for both.
    fn sync_and_take_up(&mut self) -> (Result<Lsn, WalLogError>, Result<(), IngestError>) {
        let (cache, decoder) = (&*self.cache, &mut self.decoder);
        let sync = || cache.wal().sync();
        if cache.wal().end().bytes_since(cache.wal().flushed()) < AT_ONCE {
            return (sync(), decoder.take_up(cache));
        }
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().name("sync".to_owned()).spawn_scoped(scope, sync);
            let taken_up = decoder.take_up(cache);
            let synced = match thread.map(std::thread::ScopedJoinHandle::join) {
                Ok(Ok(synced)) => synced,
                Ok(Err(panic)) => std::panic::resume_unwind(panic),
                // No thread can be had: one after the other, then.
                Err(_) => sync(),
            };
            (synced, taken_up)
        })
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
        let info = *self.cache.info();
        let size = info.segment_size.bytes();
        let last = self.cache.last_record_lsn();
        let stream = match self.decoder.last_start {
            Some(start) => WalStream::after_record(start, last, size, info.version)?,
            None => WalStream::new(last, size, info.version)?,
        };
        self.decoder.stream = stream.expect_system_id(info.system_id).expect_timelines(self.cache.wal().timelines());
        self.next = self.resume_lsn();
        Ok(())
    }
}

/// Says where the log ends, and what ended it. Bytes that are no records are what a crash leaves of a write that was not acknowledged, unless it is known
/// that records were there.
fn end_of_log(cache: &PageCache, error: Option<WalError>) -> Option<LostWal> {
    let (last, acknowledged) = (cache.resume_lsn(), cache.noted_flushed());
    if last < acknowledged {
        // The record that is not whole may have begun in the file before.
        let end = cache.wal().end();
        let missing = if error.is_some() { Lsn(end.0 - 1) } else { end };
        let lost = LostWal { file: segment_file(cache, missing), last, acknowledged, source: error };
        tracing::error!(%lost, "WAL that was acknowledged is gone");
        return Some(lost);
    }
    if let Some(error) = error {
        let void = cache.wal().end().bytes_since(last);
        tracing::warn!(%last, void, %error, "the last WAL segment ends in bytes that are no records: they are asked for again");
    }
    None
}

/// The name of the file that a position of the WAL is in.
fn segment_file(cache: &PageCache, at: Lsn) -> String {
    cache.wal().file_name(cache.info().segment_size.segment_of(at))
}

/// What does not decode in a segment that was complete, and so durable, is damaged.
fn damage(cache: &PageCache, at: Lsn, source: WalError) -> IngestError {
    IngestError::Damaged { file: segment_file(cache, at), last: cache.last_record_lsn(), source }
}

impl Decoder {
    /// Decodes all whole records that were fed into the index. On an error, those before the bad one are there.
    fn take_up(&mut self, cache: &PageCache) -> Result<(), IngestError> {
        let decoded = self.decode(cache);
        self.hand_over(cache).and(decoded)
    }

    /// Makes visible what is in the index.
    fn publish(&self, cache: &PageCache) -> Result<(), IngestError> {
        cache.advance(self.taken_up)?;
        Ok(())
    }

    fn decode(&mut self, cache: &PageCache) -> Result<(), IngestError> {
        let version = cache.info().version;
        while let Some(raw) = self.stream.next_record()? {
            let record = Record::parse(version, raw.lsn, raw.bytes)?;
            self.changes.clear();
            self.interpreter.changes(&record, &mut self.changes)?;
            drop(record);
            self.batch.push(raw.start, raw.lsn, raw.bytes, self.changes.drain(..));
            self.batch_end = raw.lsn;
            self.last_start = Some(raw.start);
            if self.batch.bytes() >= BATCH_BYTES {
                self.hand_over(cache)?;
            }
        }
        Ok(())
    }

    /// Puts the batch into the index.
    fn hand_over(&mut self, cache: &PageCache) -> Result<(), IngestError> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let result = cache.ingest_batch(std::mem::take(&mut self.batch));
        match &result {
            Ok(()) => self.taken_up = self.batch_end,
            // Records before a refused one are good.
            Err(page_cache::IngestError::Poisoned(poison)) => self.taken_up = poison.good.min(self.batch_end),
            // Nothing was taken up.
            Err(_) => {}
        }
        Ok(result?)
    }
}
