//! The write path: raw WAL is kept, decoded, indexed, and, once it is durable, made visible.
//!
//! What is written waits in memory for the flush. If it is much, a flush has three threads: one appends piece after piece to the WAL log and makes all of
//! it durable; another decodes each piece that was appended, never one that was not, because what is in the index must be in the log; the third puts
//! what was decoded into the index.

mod decoder;
mod indexer;
mod pending;

use std::ops::ControlFlow;
use std::sync::{Arc, OnceLock, mpsc};

use page_cache::{PageCache, WalLogError};
use pgdata::{ClusterState, Lsn, Timelines};
use wal_decoder::WalError;

use crate::images::Images;
use crate::{IngestError, LostWal};
use decoder::Decoder;
use indexer::Indexer;
use pending::Pending;

/// As much as this is decoded on another processor than it is appended and made durable on. For less, a thread is not worth it.
const AT_ONCE: usize = 256 << 10;

/// Who flushes so much at once is behind.
const CATCHING_UP: usize = 4 << 20;

/// A flush comes by itself when so much is waiting for it.
const MOST: usize = 32 << 20;

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
    decoder: Decoder,
    indexer: Indexer,
    /// What was written since the last flush: the bytes before `next`.
    pending: Pending,
    /// Where the next write must begin.
    next: Lsn,
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
    /// Rebuilds the index of a timeline from its WAL on disk, and goes on from there.
    pub(crate) fn recover(cache: Arc<PageCache>, initial: ClusterState, images: Images) -> Result<Ingest, IngestError> {
        let mut decoder = Decoder::new(&cache, initial)?;
        let mut indexer = Indexer::new(cache.info().start_lsn);
        let fault = Fault::default();
        let lost = match Self::replay(&mut decoder, &mut indexer, &cache) {
            Ok(end) => end_of_log(&cache, end).map(Arc::new),
            Err(error) => {
                let last = cache.last_record_lsn();
                tracing::error!(%error, %last, "the timeline takes no more WAL; what is before stays readable");
                let _ = fault.set(Arc::new(error));
                None
            }
        };
        // If no more WAL is taken, nothing can come in the place of what is missing.
        if fault.get().is_none() {
            cache.remove_void_images().map_err(WalLogError::Storage)?;
        }
        cache.use_images();
        images.offer();
        let next = cache.resume_lsn();
        let pending = Pending::default();
        let mut ingest = Ingest { cache, decoder, indexer, pending, next, fault, lost, note_failed: false, images };
        ingest.rewind()?;
        ingest.note_flushed();
        Ok(ingest)
    }

    /// Decodes what the log holds into the index. Answers with what ended it, if that is not its end.
    fn replay(
        decoder: &mut Decoder,
        indexer: &mut Indexer,
        cache: &PageCache,
    ) -> Result<Option<WalError>, IngestError> {
        let (wal, start) = (cache.wal(), cache.info().start_lsn);
        if wal.end() <= start {
            return Ok(None);
        }
        let durable = wal.durable_since();
        let mut reader = wal.replay_from(start)?;
        let mut end = None;
        let replayed = indexer.on_another_thread(cache, |take| {
            let decoded = loop {
                let (at, chunk) = match reader.next_chunk() {
                    Ok(Some(chunk)) => chunk,
                    Ok(None) => break Ok(()),
                    Err(error) => break Err(error.into()),
                };
                match decoder.decode(at, chunk, take) {
                    Ok(ControlFlow::Continue(())) => {}
                    Ok(ControlFlow::Break(())) => break Ok(()),
                    Err(IngestError::Wal(error)) => {
                        end = Some((at, error));
                        break Ok(());
                    }
                    Err(error) => break Err(error),
                }
            };
            decoder.finish(take);
            decoded
        });
        indexer.publish(cache).and(replayed)?;
        match end {
            // Without bytes of the last segment there was no error: a write that a crash tore looks like this.
            Some((at, error)) if at >= durable => Ok(Some(error)),
            Some((at, source)) => Err(damage(cache, at, source)),
            None => Ok(None),
        }
    }

    /// Where a sender must begin: the end of the last whole record (or before the rest of a segment that ended early), and for a
    /// new timeline the start of the segment that it begins in.
    #[must_use]
    pub fn resume_lsn(&self) -> Lsn {
        self.cache.resume_lsn()
    }

    /// Takes the next bytes of WAL. They continue the last write, or begin at [`Ingest::resume_lsn`] again. They stay in memory until
    /// [`Ingest::flush`], which the caller should ask for every few megabytes; when 32 MiB are waiting, it is made here.
    ///
    /// # Errors
    /// [`IngestError::Position`] for bytes from elsewhere, [`IngestError::Stopped`] after a fault; those of [`Ingest::flush`].
    pub fn write(&mut self, lsn: Lsn, wal: &[u8]) -> Result<(), IngestError> {
        self.check()?;
        if lsn != self.next && lsn == self.resume_lsn() {
            self.rewind()?;
        }
        if lsn != self.next {
            return Err(IngestError::Position { got: lsn, expected: self.next });
        }
        if self.pending.bytes() > 0 && self.pending.bytes() + wal.len() > MOST {
            self.flush()?;
        }
        self.pending.push(&self.cache, lsn, wal);
        self.next = Lsn(lsn.0 + wal.len() as u64);
        Ok(())
    }

    /// Makes durable what was written, and visible what is whole.
    ///
    /// # Errors
    /// What keeps the WAL from being written, a full disk for example: then what was not taken has to be sent again, from [`Ingest::resume_lsn`] on.
    /// After an error of the decoder or the index nothing more can be taken: the WAL is not what this program understands.
    pub fn flush(&mut self) -> Result<Progress, IngestError> {
        self.check()?;
        let Flushed { appended, synced, taken_up } = self.append_and_take_up()?;
        synced?;
        // Records before a bad one are good.
        if let Err(error) = self.indexer.publish(&self.cache).and(taken_up) {
            let error = Arc::new(error);
            let _ = self.fault.set(Arc::clone(&error));
            return Err(IngestError::Stopped(error));
        }
        self.note_flushed();
        self.images.offer();
        if let Err(error) = appended {
            self.rewind()?;
            return Err(error.into());
        }
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

    /// Puts what is pending into the log and into the index, and makes the log durable. Little is done one thing after the other.
    fn append_and_take_up(&mut self) -> Result<Flushed, IngestError> {
        let mut pending = std::mem::take(&mut self.pending);
        let start = Lsn(self.next.0 - pending.bytes() as u64);
        if pending.bytes() > 0 {
            // What was there of a record that was not whole is void. It stays until something takes its place: if it is damage and no
            // torn write, and the sender has no more of it, there is still something to look at.
            self.cache.wal().truncate_to(start)?;
        }
        let flushed = match pending.bytes() {
            0 => Flushed { appended: Ok(()), synced: self.cache.wal().sync(), taken_up: Ok(()) },
            1..AT_ONCE => self.flush_in_turn(start, &pending),
            _ => {
                let _catching_up = (pending.bytes() >= CATCHING_UP).then(|| self.images.give_way());
                self.flush_at_once(start, &pending)
            }
        };
        pending.clear();
        self.pending = pending;
        Ok(flushed)
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

    fn flush_in_turn(&mut self, start: Lsn, wal: &Pending) -> Flushed {
        let (cache, decoder) = (&*self.cache, &mut self.decoder);
        let appended = wal.parts(start).try_for_each(|(at, part)| part.append(cache, at));
        let synced = cache.wal().sync();
        let end = cache.wal().end();
        let taken_up = self.indexer.on_this_thread(cache, |take| {
            let decoded = wal.parts(start).try_for_each(|(at, part)| {
                let there = end.bytes_since(at).min(part.bytes().len() as u64) as usize;
                go_on(decoder.decode(at, &part.bytes()[..there], take))
            });
            decoder.finish(take);
            decoded.break_value().unwrap_or(Ok(()))
        });
        Flushed { appended, synced, taken_up }
    }

    /// The disk and several processors work at the same time.
    fn flush_at_once(&mut self, start: Lsn, wal: &Pending) -> Flushed {
        let (cache, decoder, indexer) = (&*self.cache, &mut self.decoder, &mut self.indexer);
        let (done, parts_done) = mpsc::channel();
        let log = move || {
            let appended = wal.parts(start).try_for_each(|(at, part)| {
                part.append(cache, at)?;
                // Nobody listens any more after a bad record; the bytes are kept all the same.
                let _ = done.send(());
                Ok(())
            });
            drop(done);
            (appended, cache.wal().sync())
        };
        let flushed = std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().name("wal log".to_owned()).spawn_scoped(scope, log).ok()?;
            let taken_up = indexer.on_another_thread(cache, |take| {
                let decoded = wal
                    .parts(start)
                    .zip(parts_done)
                    .try_for_each(|((at, part), ())| go_on(decoder.decode(at, part.bytes(), take)));
                decoder.finish(take);
                decoded.break_value().unwrap_or(Ok(()))
            });
            let (appended, synced) = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            Some(Flushed { appended, synced, taken_up })
        });
        // No thread can be had.
        flushed.unwrap_or_else(|| self.flush_in_turn(start, wal))
    }

    /// Forgets the bytes after the last whole record: they may come again, and be others.
    fn rewind(&mut self) -> Result<(), IngestError> {
        self.decoder.begin_again(self.cache.last_record_lsn(), self.cache.wal().timelines())?;
        self.pending.clear();
        self.next = self.resume_lsn();
        Ok(())
    }
}

/// What decoding came to, as a reason to go on or to stop.
fn go_on(decoded: Result<ControlFlow<()>, IngestError>) -> ControlFlow<Result<(), IngestError>> {
    match decoded {
        Ok(ControlFlow::Continue(())) => ControlFlow::Continue(()),
        ended => ControlFlow::Break(ended.map(drop)),
    }
}

/// How the parts of a flush went.
struct Flushed {
    appended: Result<(), WalLogError>,
    /// Of what was appended, also if that is not everything.
    synced: Result<Lsn, WalLogError>,
    /// Of what was appended, too.
    taken_up: Result<(), IngestError>,
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
