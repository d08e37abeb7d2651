//! Decoding and indexing of what was appended: on this thread if it is little, else on two of their own, while more of it comes.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};

use page_cache::PageCache;
use pgdata::{Lsn, Timelines};

use super::decoder::Decoder;
use super::indexer::Indexer;
use crate::IngestError;

/// So many pieces may wait for the thread. Who appends more waits.
const WAITING: usize = 8;

/// A piece of WAL and where it begins.
type Piece = (Lsn, Arc<Vec<u8>>);

/// Takes up WAL that is in the log.
pub(super) struct Taker {
    cache: Arc<PageCache>,
    state: State,
}

enum State {
    Here(Box<Work>),
    Thread {
        pieces: SyncSender<Piece>,
        thread: JoinHandle<Box<Work>>,
    },
    /// The thread has panicked: how far it came is not known.
    Gone,
}

/// What is needed for it, wherever it is done.
struct Work {
    decoder: Decoder,
    indexer: Indexer,
    /// Of all since [`Taker::end`]. After an error nothing is taken up.
    outcome: Result<(), IngestError>,
}

impl Taker {
    pub fn new(cache: Arc<PageCache>, decoder: Decoder, indexer: Indexer) -> Taker {
        Taker { cache, state: State::Here(Box::new(Work { decoder, indexer, outcome: Ok(()) })) }
    }

    /// Whether a thread takes up what comes.
    pub fn has_thread(&self) -> bool {
        matches!(self.state, State::Thread { .. })
    }

    /// Whether the thread has stopped, because it cannot go on.
    pub fn has_stopped(&self) -> bool {
        matches!(&self.state, State::Thread { thread, .. } if thread.is_finished())
    }

    /// From here on a thread takes up what comes. If none can be had, it goes on here.
    pub fn start_thread(&mut self) {
        let work = match std::mem::replace(&mut self.state, State::Gone) {
            State::Here(work) => work,
            other => {
                self.state = other;
                return;
            }
        };
        let (pieces, coming) = sync_channel(WAITING);
        // The work is sent after the thread is there: else it would be lost with the thread.
        let (hand_over, handed) = sync_channel::<Box<Work>>(1);
        let cache = Arc::clone(&self.cache);
        let thread = Builder::new().name("decode".to_owned()).spawn(move || {
            let mut work = handed.recv().expect("it is sent at once");
            work.take_all(&cache, coming);
            work
        });
        self.state = match thread {
            Ok(thread) => {
                let _ = hand_over.send(work);
                State::Thread { pieces, thread }
            }
            Err(_) => State::Here(work),
        };
    }

    /// Takes up a piece, or gives it to the thread.
    pub fn take(&mut self, at: Lsn, piece: Arc<Vec<u8>>) {
        match &mut self.state {
            // Nobody takes it any more after a bad record. The bytes are in the log all the same.
            State::Thread { pieces, .. } => drop(pieces.send((at, piece))),
            State::Here(work) => work.take(&self.cache, at, &piece),
            State::Gone => {}
        }
    }

    /// Ends the thread if there is one, takes up `rest`, which is not given to a thread, and answers with how all of it went.
    pub fn end(&mut self, at: Lsn, rest: &[u8]) -> Result<(), IngestError> {
        self.end_thread();
        let State::Here(work) = &mut self.state else { return Err(IngestError::Panicked) };
        if !rest.is_empty() {
            work.take(&self.cache, at, rest);
        }
        std::mem::replace(&mut work.outcome, Ok(()))
    }

    /// Forgets the bytes after the last whole record, which ended at `last`. No thread may be at work.
    pub fn begin_again(&mut self, last: Lsn, timelines: Timelines) -> Result<(), IngestError> {
        match &mut self.state {
            State::Here(work) => work.decoder.begin_again(last, timelines),
            _ => Err(IngestError::Panicked),
        }
    }

    fn end_thread(&mut self) {
        if !self.has_thread() {
            return;
        }
        if let State::Thread { pieces, thread } = std::mem::replace(&mut self.state, State::Gone) {
            drop(pieces);
            self.state = State::Here(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
    }
}

impl Drop for Taker {
    fn drop(&mut self) {
        // Who lets go of a timeline may remove its directory.
        if let State::Thread { pieces, thread } = std::mem::replace(&mut self.state, State::Gone) {
            drop(pieces);
            let _ = thread.join();
        }
    }
}

impl Work {
    fn take(&mut self, cache: &PageCache, at: Lsn, wal: &[u8]) {
        if self.outcome.is_ok() {
            let decoder = &mut self.decoder;
            self.outcome = self.indexer.on_this_thread(cache, |take| {
                let decoded = decoder.decode(at, wal, take);
                decoder.finish(take);
                decoded.map(drop)
            });
        }
    }

    /// Takes up all that comes, until nothing more does or a record is bad.
    fn take_all(&mut self, cache: &PageCache, pieces: Receiver<Piece>) {
        if self.outcome.is_ok() {
            let decoder = &mut self.decoder;
            self.outcome = self.indexer.on_another_thread(cache, |take| {
                let decoded = pieces.into_iter().try_for_each(|(at, piece)| match decoder.decode(at, &piece, take) {
                    Ok(ControlFlow::Continue(())) => ControlFlow::Continue(()),
                    ended => ControlFlow::Break(ended.map(drop)),
                });
                decoder.finish(take);
                decoded.break_value().unwrap_or(Ok(()))
            });
        }
    }
}
