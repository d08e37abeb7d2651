//! Batches into the index, on this thread or on one of their own.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};

use page_cache::{Batch, PageCache};
use pgdata::Lsn;

use super::decoder::Take;
use crate::IngestError;

/// How many full batches may wait for the thread.
const WAITING: usize = 1;

/// How far the index is: the LSNs of the last records of batches that readers do not see yet.
#[derive(Clone, Debug, Default)]
pub(super) struct Taken(Arc<Mutex<VecDeque<Lsn>>>);

impl Taken {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Lsn>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether readers see all that is in the index.
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Makes visible what is in the index and durable: what is before `durable`.
    pub fn publish(&self, cache: &PageCache, durable: Lsn) -> Result<(), IngestError> {
        let last = {
            let mut ends = self.lock();
            let count = ends.partition_point(|end| *end <= durable);
            ends.drain(..count).next_back()
        };
        if let Some(last) = last {
            cache.advance(last)?;
        }
        Ok(())
    }
}

/// Puts batches into the index.
#[derive(Debug, Default)]
pub(super) struct Indexer {
    taken: Taken,
}

impl Indexer {
    /// How far it is.
    pub fn taken(&self) -> &Taken {
        &self.taken
    }

    fn take_up(&mut self, cache: &PageCache, batch: &mut Batch, end: Lsn) -> Result<(), IngestError> {
        let result = cache.ingest_batch(batch);
        match &result {
            Ok(()) => self.taken.lock().push_back(end),
            // Records before a refused one are good.
            Err(page_cache::IngestError::Poisoned(poison)) => self.taken.lock().push_back(poison.good.min(end)),
            // Nothing was taken up.
            Err(_) => {}
        }
        Ok(result?)
    }

    /// Runs `decode` with something that takes its batches up at once. Answers with what `decode` does, unless the index refuses a batch.
    pub fn on_this_thread(
        &mut self,
        cache: &PageCache,
        decode: impl FnOnce(&mut Take<'_>) -> Result<(), IngestError>,
    ) -> Result<(), IngestError> {
        let mut indexed = Ok(());
        let decoded = decode(&mut |batch, end| {
            if indexed.is_ok() {
                indexed = self.take_up(cache, batch, end);
            }
            if indexed.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        indexed.and(decoded)
    }

    /// The same with a thread that takes batches up while the next one is decoded.
    pub fn on_another_thread(
        &mut self,
        cache: &PageCache,
        decode: impl FnOnce(&mut Take<'_>) -> Result<(), IngestError>,
    ) -> Result<(), IngestError> {
        let (full, fulls) = mpsc::sync_channel::<(Batch, Lsn)>(WAITING);
        let (empty, empties) = mpsc::channel();
        let mut decode = Some(decode);
        let done = std::thread::scope(|scope| {
            // Both ends are the thread's own, so that who hands over batches learns if it ends.
            let index = || {
                let (fulls, empty) = (fulls, empty);
                for (mut batch, end) in fulls {
                    self.take_up(cache, &mut batch, end)?;
                    // Nobody wants it back at the end.
                    let _ = empty.send(batch);
                }
                Ok::<_, IngestError>(())
            };
            let thread = std::thread::Builder::new().name("index".to_owned()).spawn_scoped(scope, index).ok()?;
            let mut take = |batch: &mut Batch, end| {
                let next = empties.try_recv().unwrap_or_default();
                let sent = full.send((std::mem::replace(batch, next), end));
                if sent.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            };
            let decoded = decode.take().map_or(Ok(()), |decode| decode(&mut take));
            drop(full);
            let indexed = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            Some(indexed.and(decoded))
        });
        match decode {
            None => done.expect("it decoded"),
            // No thread can be had.
            Some(decode) => self.on_this_thread(cache, decode),
        }
    }
}
