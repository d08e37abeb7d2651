//! From raw WAL to batches for the index: the part that does no I/O.

use std::ops::ControlFlow;

use page_cache::{Batch, PageCache, TimelineInfo};
use pgdata::{ClusterState, Lsn, Timelines};
use wal_decoder::{Interpreter, Record, WalStream};

use crate::IngestError;

/// A batch goes into the index before its records take more than this.
const BATCH_BYTES: usize = 256 << 10;

/// Decodes WAL and collects what goes into the index.
#[derive(Debug)]
pub(super) struct Decoder {
    info: TimelineInfo,
    stream: WalStream,
    interpreter: Interpreter,
    /// The start of the last record, none before the first.
    last_start: Option<Lsn>,
    batch: Batch,
    /// The LSN of the batch's last record. The stream may be past it, at a record that is not understood.
    batch_end: Lsn,
}

/// Takes a batch with the LSN of its last record, and leaves an empty one. It breaks off if no more can be taken.
pub(super) type Take<'a> = dyn FnMut(&mut Batch, Lsn) -> ControlFlow<()> + 'a;

impl Decoder {
    /// For a timeline's WAL from its beginning; `initial` is the state there.
    pub fn new(cache: &PageCache, initial: ClusterState) -> Result<Decoder, IngestError> {
        let info = *cache.info();
        let stream = WalStream::new(info.start_lsn, info.segment_size.bytes(), info.version)?;
        let mut decoder = Decoder {
            info,
            stream,
            interpreter: Interpreter::new(info.version, initial),
            last_start: None,
            batch: Batch::new(),
            batch_end: info.start_lsn,
        };
        decoder.begin_again(info.start_lsn, cache.wal().timelines())?;
        Ok(decoder)
    }

    /// Forgets the bytes after the last whole record, which ended at `last`: they may come again, and be others.
    pub fn begin_again(&mut self, last: Lsn, timelines: Timelines) -> Result<(), IngestError> {
        let (size, version) = (self.info.segment_size.bytes(), self.info.version);
        let stream = match self.last_start {
            Some(start) => WalStream::after_record(start, last, size, version)?,
            None => WalStream::new(last, size, version)?,
        };
        self.stream = stream.expect_system_id(self.info.system_id).expect_timelines(timelines);
        Ok(())
    }

    /// Takes the bytes that are at `at` in the WAL, those after the ones before, and hands over each batch that gets full. What is left stays for
    /// the next bytes, or [`Decoder::finish`]. It breaks off if no batch is taken any more.
    pub fn decode(&mut self, at: Lsn, wal: &[u8], take: &mut Take<'_>) -> Result<ControlFlow<()>, IngestError> {
        // Kept, but with nothing to say: what precedes the first record in its segment, and what follows a segment switch.
        let skipped = self.stream.fed_to().bytes_since(at).min(wal.len() as u64) as usize;
        let mut whole = self.stream.feed(&wal[skipped..]);
        while let Some(raw) = whole.next_record()? {
            if self.batch.bytes() + raw.bytes.len() > BATCH_BYTES
                && hand_over(&mut self.batch, self.batch_end, take).is_break()
            {
                return Ok(ControlFlow::Break(()));
            }
            let (batch, interpreter) = (&mut self.batch, &mut self.interpreter);
            Record::with(self.info.version, raw.lsn, raw.bytes, |record| {
                batch.push_with(raw.start, raw.lsn, raw.bytes.len(), |changes| interpreter.changes(record, changes))
            })??;
            self.batch_end = raw.lsn;
            self.last_start = Some(raw.start);
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Hands over the records that are left. After an error of [`Decoder::decode`] they are those before the bad one, and good.
    pub fn finish(&mut self, take: &mut Take<'_>) {
        // Whoever takes batches knows by himself if he can take no more.
        let _ = hand_over(&mut self.batch, self.batch_end, take);
    }
}

fn hand_over(batch: &mut Batch, end: Lsn, take: &mut Take<'_>) -> ControlFlow<()> {
    if batch.is_empty() { ControlFlow::Continue(()) } else { take(batch, end) }
}
