//! A start: what the log holds goes into the index again.

use std::ops::ControlFlow;
use std::sync::Arc;

use page_cache::{PageCache, WalLogError};
use pgdata::{ClusterState, Lsn};
use wal_decoder::WalError;

use super::decoder::Decoder;
use super::indexer::Indexer;
use super::pending::Pending;
use super::taker::Taker;
use super::{Fault, Ingest};
use crate::images::Images;
use crate::{IngestError, LostWal};

impl Ingest {
    /// Rebuilds the index of a timeline from its WAL on disk, and goes on from there.
    pub(crate) fn recover(cache: Arc<PageCache>, initial: ClusterState, images: Images) -> Result<Ingest, IngestError> {
        let mut decoder = Decoder::new(&cache, initial)?;
        let mut indexer = Indexer::default();
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
        let (taken, pending) = (indexer.taken().clone(), Pending::new(cache.resume_lsn()));
        let mut ingest = Ingest {
            taker: Taker::new(Arc::clone(&cache), decoder, indexer),
            cache,
            taken,
            pending,
            unflushed: 0,
            waiting: 0,
            syncing: None,
            catching_up: None,
            fault,
            lost,
            note_failed: false,
            images,
        };
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
        indexer.taken().publish(cache, Lsn::MAX).and(replayed)?;
        match end {
            // Without bytes of the last segment there was no error: a write that a crash tore looks like this.
            Some((at, error)) if at >= durable => Ok(Some(error)),
            Some((at, source)) => Err(damage(cache, at, source)),
            None => Ok(None),
        }
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
