//! The channel between one waiter and whoever wakes it: carries one word, once.

use std::sync::PoisonError;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use crate::sync::{AtomicBool, Condvar, Mutex, Ordering, lock};

/// How a wait ends, if the waiter does not give it up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    Arrived,
    Shutdown,
}

enum State {
    /// Nothing yet. A future leaves its waker here; a blocked thread waits at the condition variable.
    Waiting(Option<Waker>),
    Done(Outcome),
}

/// Shared by a waiter and its entry in the queue.
pub(crate) struct Slot {
    state: Mutex<State>,
    done: Condvar,
    /// The waiter is gone. Read and written only under the lock of the queue.
    abandoned: AtomicBool,
}

impl Slot {
    pub fn new(waker: Option<Waker>) -> Self {
        let state = Mutex::new(State::Waiting(waker));
        Slot { state, done: Condvar::new(), abandoned: AtomicBool::new(false) }
    }

    /// Ends the wait. No lock but the slot's own is held, and not even that one while the waiter is woken.
    pub fn complete(&self, outcome: Outcome) {
        let before = std::mem::replace(&mut *lock(&self.state), State::Done(outcome));
        match before {
            State::Waiting(Some(waker)) => waker.wake(),
            State::Waiting(None) => self.done.notify_one(),
            State::Done(_) => unreachable!("a waiter is taken out of the queue once, so it is completed once"),
        }
    }

    /// Blocks until the wait has ended; `None` if that has not happened before the deadline.
    pub fn wait(&self, deadline: Option<Instant>) -> Option<Outcome> {
        let mut state = lock(&self.state);
        loop {
            if let State::Done(outcome) = *state {
                return Some(outcome);
            }
            state = match deadline {
                None => self.done.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
                    self.done.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
            }
        }
    }

    /// The outcome, or a promise to wake the task of `context` when there is one.
    pub fn poll(&self, context: &Context<'_>) -> Poll<Outcome> {
        let old = match &mut *lock(&self.state) {
            State::Done(outcome) => return Poll::Ready(*outcome),
            State::Waiting(Some(waker)) if waker.will_wake(context.waker()) => return Poll::Pending,
            State::Waiting(waker) => waker.replace(context.waker().clone()),
        };
        // Dropping a waker runs code of its runtime: not under the lock.
        drop(old);
        Poll::Pending
    }

    /// Lets go of the waker, whose task needs not be woken any more.
    pub fn forget_waker(&self) {
        let waker = match &mut *lock(&self.state) {
            State::Waiting(waker) => waker.take(),
            State::Done(_) => None,
        };
        drop(waker);
    }

    pub fn abandon(&self) {
        self.abandoned.store(true, Ordering::Relaxed);
    }

    pub fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Relaxed)
    }
}
