//! The number and those who wait for it.

use std::fmt;
use std::task::Context;
use std::time::{Duration, Instant};

use crate::queue::Queue;
use crate::slot::{Outcome, Slot};
use crate::sync::{Arc, Mutex, lock};
use crate::{Arrival, WaitError};

/// A number that only grows, and a queue of those who wait until it has reached theirs.
pub struct SeqWait<T> {
    inner: Mutex<Inner<T>>,
}

/// What the lock protects.
///
/// Before `shutdown`, a waiter that has not given up is in the queue exactly as long as its number is greater than `current`; after it,
/// the queue is empty. So a waiter that gives up learns from these two fields alone whether it still has a place in the queue.
struct Inner<T> {
    current: T,
    shutdown: bool,
    queue: Queue<T>,
}

/// What becomes of someone who comes to wait.
pub(crate) enum Entered<T> {
    /// There is nothing to wait for.
    Ended(Result<(), WaitError<T>>),
    /// The outcome will come through this.
    Queued(Arc<Slot>),
}

impl<T: Ord + Copy> Inner<T> {
    /// How a wait for `number` ends now, if it does.
    fn verdict(&self, number: T) -> Option<Result<(), WaitError<T>>> {
        if number <= self.current {
            Some(Ok(()))
        } else {
            self.shutdown.then_some(Err(WaitError::Shutdown { wanted: number, current: self.current }))
        }
    }
}

impl<T: Ord + fmt::Debug + Copy> SeqWait<T> {
    /// Starts at a number.
    #[must_use]
    pub fn new(start: T) -> Self {
        SeqWait { inner: Mutex::new(Inner { current: start, shutdown: false, queue: Queue::new() }) }
    }

    /// The number reached so far.
    #[must_use]
    pub fn load(&self) -> T {
        lock(&self.inner).current
    }

    /// Steps forward to `number` and wakes those whose number has thereby arrived. The old number comes back.
    ///
    /// A smaller number changes nothing: what that means is for the caller to decide, who knows by the number that comes back. Waiters
    /// are woken after the lock has been released, so that they do not wake up only to wait for it.
    pub fn advance(&self, number: T) -> T {
        let (old, reached) = {
            let mut inner = lock(&self.inner);
            let old = inner.current;
            if number <= old {
                return old;
            }
            inner.current = number;
            (old, inner.queue.take_reached(number))
        };
        reached.iter().for_each(|slot| slot.complete(Outcome::Arrived));
        old
    }

    /// Blocks until `number` has been reached.
    ///
    /// # Errors
    /// [`WaitError::Shutdown`] as soon as [`shutdown`](SeqWait::shutdown) has been called, unless the number is reached already.
    pub fn wait_for(&self, number: T) -> Result<(), WaitError<T>> {
        self.wait_until(number, None)
    }

    /// Blocks until `number` has been reached, for at most `timeout`. A timeout of zero only looks.
    ///
    /// # Errors
    /// [`WaitError::Timeout`] if it takes longer; [`WaitError::Shutdown`] as in [`wait_for`](SeqWait::wait_for).
    pub fn wait_for_timeout(&self, number: T, timeout: Duration) -> Result<(), WaitError<T>> {
        // A deadline beyond the clock's numbers is none.
        self.wait_until(number, Instant::now().checked_add(timeout))
    }

    /// A future that is ready when `number` has been reached, for any runtime. It takes its place among the waiters when it is first
    /// polled, and gives it up when it is dropped.
    pub fn arrival(&self, number: T) -> Arrival<'_, T> {
        Arrival::new(self, number)
    }

    /// Ends all waits, present and future ones, for numbers that have not been reached: they get [`WaitError::Shutdown`] at once. The
    /// number itself can still be read and advanced. Further calls change nothing.
    pub fn shutdown(&self) {
        let waiting = {
            let mut inner = lock(&self.inner);
            inner.shutdown = true;
            inner.queue.take_all()
        };
        waiting.iter().for_each(|slot| slot.complete(Outcome::Shutdown));
    }

    /// How many are waiting.
    #[must_use]
    pub fn waiters(&self) -> usize {
        lock(&self.inner).queue.waiting()
    }

    fn wait_until(&self, number: T, deadline: Option<Instant>) -> Result<(), WaitError<T>> {
        match self.enter(number, None) {
            Entered::Ended(result) => result,
            Entered::Queued(slot) => match slot.wait(deadline) {
                Some(outcome) => self.result(number, &slot, outcome),
                None => self.give_up(number, &slot),
            },
        }
    }

    /// Takes a place among the waiters, if there is something to wait for.
    pub(crate) fn enter(&self, number: T, context: Option<&Context<'_>>) -> Entered<T> {
        if let Some(result) = lock(&self.inner).verdict(number) {
            return Entered::Ended(result);
        }
        // Made outside of the lock, which is why it is looked again.
        let slot = Arc::new(Slot::new(context.map(|context| context.waker().clone())));
        let mut inner = lock(&self.inner);
        if let Some(result) = inner.verdict(number) {
            return Entered::Ended(result);
        }
        inner.queue.push(number, Arc::clone(&slot));
        Entered::Queued(slot)
    }

    /// What an outcome means for the waiter. Those whose number has arrived, perhaps thousands at once, do not need the lock for it.
    pub(crate) fn result(&self, number: T, slot: &Slot, outcome: Outcome) -> Result<(), WaitError<T>> {
        match outcome {
            Outcome::Arrived => Ok(()),
            Outcome::Shutdown => self.give_up(number, slot),
        }
    }

    /// Stops waiting, and leaves the queue if the wait has not ended in the very moment.
    pub(crate) fn give_up(&self, number: T, slot: &Slot) -> Result<(), WaitError<T>> {
        let mut inner = lock(&self.inner);
        inner.verdict(number).unwrap_or_else(|| {
            inner.queue.abandon(slot);
            Err(WaitError::Timeout { wanted: number, current: inner.current })
        })
    }
}

impl<T: Ord + fmt::Debug + Copy> fmt::Debug for SeqWait<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = lock(&self.inner);
        f.debug_struct("SeqWait")
            .field("current", &inner.current)
            .field("shutdown", &inner.shutdown)
            .field("waiters", &inner.queue.waiting())
            .finish()
    }
}
