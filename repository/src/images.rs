//! Images of pages to which many records lead, made in the background, so that readers need not apply them all each time.
//!
//! One thread for all timelines. While a timeline catches up, it leaves the processors to that: who is behind wants to be up to date first.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use page_cache::KeepImagesError;
use pgdata::{Lsn, PAGE_SIZE, Page, PageKey};

use crate::Id;
use crate::make::PageMaker;

/// So many images are made and kept at a time, about a millisecond's work.
const AT_ONCE: usize = 64;
/// After images could not be written, it is tried again when so much WAL has come.
const PAUSE: u64 = 16 << 20;
/// When no more than this has passed since much WAL was taken up, more of it is on its way.
const QUIET: Duration = Duration::from_millis(50);
/// A timeline that catches up for longer than this gets its images meanwhile.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Default)]
struct State {
    /// Timelines with pages to look at.
    waiting: BTreeMap<Id, Arc<PageMaker>>,
    /// Flushes of much WAL that are under way.
    flushing: usize,
    /// When the last of them ended.
    flushed: Option<Instant>,
    stop: bool,
}

impl State {
    /// How long to give way, at least; `None` if there is no reason to.
    fn give_way(&self, now: Instant) -> Option<Duration> {
        if self.flushing > 0 {
            return Some(PATIENCE);
        }
        let quiet = self.flushed? + QUIET;
        (now < quiet).then(|| quiet - now)
    }
}

/// What the thread and those who give it work share.
#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where timelines say that they have pages for the thread to look at. There may be no thread.
#[derive(Clone, Default)]
pub(crate) struct ImageWork(Option<Arc<Shared>>);

/// What takes up a timeline's WAL tells the thread of it.
pub(crate) struct Images {
    timeline: Id,
    maker: Arc<PageMaker>,
    work: ImageWork,
}

impl Images {
    pub fn new(timeline: Id, maker: Arc<PageMaker>, work: ImageWork) -> Images {
        Images { timeline, maker, work }
    }

    /// Pages may have got records.
    pub fn offer(&self) {
        if let Some(shared) = &self.work.0
            && self.maker.cache.has_grown_pages()
        {
            shared.lock().waiting.entry(self.timeline).or_insert_with(|| Arc::clone(&self.maker));
            shared.changed.notify_one();
        }
    }

    /// Much WAL, as it comes when a timeline catches up, is taken up from now on until the answer is dropped.
    pub fn give_way(&self) -> Option<Flushing> {
        self.work.0.as_ref().map(Flushing::begin)
    }
}

/// A flush of much WAL.
pub(crate) struct Flushing(Arc<Shared>);

impl Flushing {
    fn begin(shared: &Arc<Shared>) -> Flushing {
        shared.lock().flushing += 1;
        Flushing(Arc::clone(shared))
    }
}

impl Drop for Flushing {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.flushing -= 1;
        state.flushed = Some(Instant::now());
        drop(state);
        self.0.changed.notify_one();
    }
}

/// The thread. It ends with this.
pub(crate) struct ImageThread {
    work: ImageWork,
    thread: Option<JoinHandle<()>>,
}

impl ImageThread {
    /// Starts it. Without it, if it cannot be had, everything works as well, and some reads take longer.
    pub fn start() -> Option<ImageThread> {
        let shared = Arc::new(Shared::default());
        let its = Arc::clone(&shared);
        match std::thread::Builder::new().name("images".to_owned()).spawn(move || run(&its)) {
            Ok(thread) => Some(ImageThread { work: ImageWork(Some(shared)), thread: Some(thread) }),
            Err(error) => {
                tracing::warn!(%error, "no thread for making images of pages: reads of pages with many records take longer");
                None
            }
        }
    }

    /// No images are made.
    pub fn none() -> ImageThread {
        ImageThread { work: ImageWork(None), thread: None }
    }

    /// Where to say that there is something to do.
    pub fn work(&self) -> &ImageWork {
        &self.work
    }
}

impl Drop for ImageThread {
    fn drop(&mut self) {
        if let Some(shared) = &self.work.0 {
            shared.lock().stop = true;
            shared.changed.notify_one();
        }
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that makes images of pages had ended with a panic");
        }
    }
}

fn run(shared: &Shared) {
    // Until when a timeline whose images could not be written is left alone.
    let mut paused: BTreeMap<Id, Lsn> = BTreeMap::new();
    let mut last = None;
    loop {
        let mut state = shared.lock();
        let (id, maker) = loop {
            if state.stop {
                return;
            }
            match turn_after(last, &mut state.waiting) {
                Some(work) => break work,
                None => state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        };
        drop(state);
        last = Some(id);
        if paused.get(&id).is_some_and(|until| maker.cache.last_record_lsn() < *until) {
            continue;
        }
        let patience = Instant::now() + PATIENCE;
        let kept = make_images(&maker, || go_on(shared, patience));
        match kept {
            Ok(_) => drop(paused.remove(&id)),
            Err(error) => {
                let until = match error {
                    KeepImagesError::Stopped(_) => Lsn(u64::MAX),
                    _ => Lsn(maker.cache.last_record_lsn().0.saturating_add(PAUSE)),
                };
                tracing::warn!(timeline = %id, %error, "images of pages are not kept for now: reads of these pages take longer");
                paused.insert(id, until);
            }
        }
    }
}

/// Takes out whose turn it is after another's: who always has something to do does not keep the others waiting.
fn turn_after<T>(last: Option<Id>, waiting: &mut BTreeMap<Id, T>) -> Option<(Id, T)> {
    let behind = last.and_then(|last| waiting.range((Bound::Excluded(last), Bound::Unbounded)).next());
    let id = *behind.or_else(|| waiting.first_key_value())?.0;
    waiting.remove_entry(&id)
}

/// Waits while a timeline catches up, but not for longer than there is patience. `false` if the thread is to end.
fn go_on(shared: &Shared, patience: Instant) -> bool {
    let mut state = shared.lock();
    loop {
        let now = Instant::now();
        if state.stop {
            return false;
        }
        let Some(wait) = state.give_way(now).filter(|_| now < patience) else { return true };
        let wait = wait.min(patience - now);
        (state, _) = shared.changed.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner);
    }
}

/// Makes and keeps the images that it is time for, as long as it may go on. Answers with how many are of use.
pub(crate) fn make_images(maker: &PageMaker, mut go_on: impl FnMut() -> bool) -> Result<usize, KeepImagesError> {
    let mut pages = vec![[0; PAGE_SIZE]; AT_ONCE];
    let mut kept = 0;
    let all = maker.cache.pages_to_image();
    for (keys, done) in all.chunks(AT_ONCE).zip((0..).step_by(AT_ONCE)) {
        if !go_on() {
            break;
        }
        let lsn = maker.cache.last_record_lsn();
        let made = make_some(maker, keys, lsn, &mut pages);
        let images: Vec<(PageKey, &Page)> = made.into_iter().map(|at| (keys[at], &pages[at])).collect();
        match maker.cache.keep_images(lsn, &images) {
            Ok(of_use) => kept += of_use,
            Err(error) => {
                maker.cache.look_again(&all[done..]);
                return Err(error);
            }
        }
    }
    Ok(kept)
}

/// Makes pages, as many as can be made, and answers which these are.
fn make_some(maker: &PageMaker, keys: &[PageKey], lsn: Lsn, pages: &mut [Page]) -> Vec<usize> {
    let mut made = Vec::with_capacity(keys.len());
    let mut at = 0;
    let follows = |a: &PageKey, b: &PageKey| a.object == b.object && a.block.checked_add(1) == Some(b.block);
    for run in keys.chunk_by(follows) {
        let range = at..at + run.len();
        at = range.end;
        let whole = or_panicked(|| maker.run(run[0].object, run[0].block, lsn, &mut pages[range.clone()]));
        if matches!(whole, Some(Ok(()))) {
            made.extend(range);
            continue;
        }
        for (key, at) in run.iter().zip(range) {
            match or_panicked(|| maker.page(*key, lsn, &mut pages[at])) {
                Some(Ok(())) => made.push(at),
                // It was dropped or cut off meanwhile, or cannot be made: who reads it is told.
                Some(Err(error)) => tracing::debug!(%key, %lsn, %error, "no image of this page"),
                None => tracing::error!(%key, %lsn, "making this page panicked: no image of it"),
            }
        }
    }
    made
}

/// What `make` answers, unless it panics: a record that redo does not get over costs its own page, and not the images of all others.
fn or_panicked<T>(make: impl FnOnce() -> T) -> Option<T> {
    // A page that was not finished is not used, and redo engines get over a panic as they do in a connection's thread.
    catch_unwind(AssertUnwindSafe(make)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_has_a_turn() {
        let mut ids: Vec<Id> = (0..3).map(|_| Id::random().expect("random")).collect();
        ids.sort();
        let (mut last, mut turns) = (None, Vec::new());
        for _ in 0..6 {
            // All have something to do again.
            let mut waiting: BTreeMap<Id, ()> = ids.iter().map(|id| (*id, ())).collect();
            let (id, ()) = turn_after(last, &mut waiting).expect("three wait");
            assert!(!waiting.contains_key(&id));
            turns.push(id);
            last = Some(id);
        }
        assert_eq!(turns, [&ids[..], &ids[..]].concat());
        assert_eq!(turn_after::<()>(last, &mut BTreeMap::new()), None);
    }

    #[test]
    fn it_gives_way_during_a_flush_of_much_wal_and_for_a_moment_after() {
        let shared = Arc::new(Shared::default());
        let now = Instant::now();
        assert_eq!(shared.lock().give_way(now), None);
        let both = [Flushing::begin(&shared), Flushing::begin(&shared)];
        for flush in both {
            assert_eq!(shared.lock().give_way(now), Some(PATIENCE));
            drop(flush);
        }
        let flushed = shared.lock().flushed.expect("noted");
        assert_eq!(shared.lock().give_way(flushed), Some(QUIET));
        assert_eq!(shared.lock().give_way(flushed + QUIET), None);
    }

    #[test]
    fn patience_has_an_end_and_so_has_the_thread() {
        let shared = Arc::new(Shared::default());
        let flush = Flushing::begin(&shared);
        let patience = Instant::now() + Duration::from_millis(20);
        assert!(go_on(&shared, patience), "it does not wait for ever");
        assert!(Instant::now() >= patience, "it waited");
        let others = Arc::clone(&shared);
        let ends = std::thread::spawn(move || {
            others.lock().stop = true;
            others.changed.notify_one();
        });
        assert!(!go_on(&shared, Instant::now() + Duration::from_secs(3600)));
        ends.join().expect("ended");
        drop(flush);
    }
}
