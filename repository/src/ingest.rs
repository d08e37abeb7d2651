//! The write path: raw WAL is kept and made durable, then decoded, indexed, and made visible.

use std::sync::Arc;

use page_cache::{Batch, PageCache};
use pgdata::{Change, ClusterState, Lsn};
use wal_decoder::{Interpreter, Record, WalStream};

use crate::IngestError;

/// A batch goes into the index when its records take about this much.
const BATCH_BYTES: usize = 1 << 20;

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
}

/// From raw WAL to batches: the part that does no I/O.
#[derive(Debug)]
struct Decoder {
    stream: WalStream,
    interpreter: Interpreter,
    /// The start of the last record that went into the index, none before the first.
    last_start: Option<Lsn>,
    batch: Batch,
    changes: Vec<Change>,
}

impl Ingest {
    /// Rebuilds the index of a timeline from its WAL on disk, and goes on from there.
    pub(crate) fn recover(cache: Arc<PageCache>, initial: ClusterState) -> Result<Ingest, IngestError> {
        let info = *cache.info();
        let mut decoder = Decoder {
            stream: WalStream::new(info.start_lsn, info.segment_size.bytes(), info.version)?
                .expect_system_id(info.system_id),
            interpreter: Interpreter::new(info.version, initial),
            last_start: None,
            batch: Batch::new(),
            changes: Vec::new(),
        };
        let wal = cache.wal();
        if wal.end() > info.start_lsn {
            let mut reader = wal.read_from(info.start_lsn)?;
            while let Some((_, chunk)) = reader.next_chunk()? {
                decoder.stream.feed(chunk);
                if let Err(error) = decoder.drain(&cache) {
                    Self::end_of_log(&cache, error)?;
                    break;
                }
            }
        }
        let next = wal.end();
        let mut ingest = Ingest { cache, decoder, next };
        ingest.restart()?;
        Ok(ingest)
    }

    /// What does not decode is the end of the log if it was never made durable; otherwise it is damage.
    fn end_of_log(cache: &PageCache, error: IngestError) -> Result<(), IngestError> {
        let last = cache.last_record_lsn();
        if matches!(error, IngestError::Wal(_)) && last >= cache.wal().durable_since() {
            tracing::info!(%last, %error, "the WAL kept so far ends here");
            return Ok(());
        }
        Err(error)
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
    /// [`IngestError::Position`] for bytes from elsewhere, and whatever keeps them from being written.
    pub fn write(&mut self, lsn: Lsn, wal: &[u8]) -> Result<(), IngestError> {
        if lsn != self.next && lsn == self.resume_lsn() {
            self.restart()?;
        }
        if lsn != self.next {
            return Err(IngestError::Position { got: lsn, expected: self.next });
        }
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
        self.cache.wal().sync()?;
        self.decoder.drain(&self.cache)?;
        let applied = self.cache.last_record_lsn();
        Ok(Progress { written: self.next, flushed: applied, applied })
    }

    /// Forgets the bytes after the last whole record: they may come again, and be others.
    fn restart(&mut self) -> Result<(), IngestError> {
        let info = *self.cache.info();
        let lsn = self.resume_lsn();
        let size = info.segment_size.bytes();
        let last = self.cache.last_record_lsn();
        let stream = match self.decoder.last_start {
            Some(start) => WalStream::after_record(start, last, size, info.version)?,
            None => WalStream::new(last, size, info.version)?,
        };
        self.cache.wal().truncate_to(lsn)?;
        self.decoder.stream = stream.expect_system_id(info.system_id);
        self.next = lsn;
        Ok(())
    }
}

impl Decoder {
    /// Decodes all whole records that were fed, and makes them visible.
    fn drain(&mut self, cache: &PageCache) -> Result<(), IngestError> {
        let result = self.decode(cache);
        // Records before a bad one are good.
        self.publish(cache)?;
        result
    }

    fn decode(&mut self, cache: &PageCache) -> Result<(), IngestError> {
        let version = cache.info().version;
        while let Some(raw) = self.stream.next_record()? {
            let record = Record::parse(version, raw.lsn, raw.bytes)?;
            self.interpreter.changes(&record, &mut self.changes)?;
            self.batch.push(raw.start, raw.lsn, raw.bytes, self.changes.drain(..));
            let (start, lsn) = (raw.start, raw.lsn);
            self.last_start = Some(start);
            if self.batch.bytes() >= BATCH_BYTES {
                Self::publish_batch(&mut self.batch, lsn, cache)?;
            }
        }
        Ok(())
    }

    fn publish(&mut self, cache: &PageCache) -> Result<(), IngestError> {
        Self::publish_batch(&mut self.batch, self.stream.decoded_to(), cache)
    }

    /// `last` is the LSN of the batch's last record.
    fn publish_batch(batch: &mut Batch, last: Lsn, cache: &PageCache) -> Result<(), IngestError> {
        if batch.is_empty() {
            return Ok(());
        }
        let result = cache.ingest_batch(std::mem::take(batch));
        // Records before a refused one are good.
        let good = match &result {
            Err(page_cache::IngestError::Poisoned(poison)) => poison.good.min(last),
            _ => last,
        };
        cache.advance(good)?;
        Ok(result?)
    }
}
