//! Waiting as a future.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::seqwait::Entered;
use crate::slot::Slot;
use crate::sync::Arc;
use crate::{SeqWait, WaitError};

/// The future of a number's arrival: see [`SeqWait::arrival`].
///
/// # Panics
/// If it is polled again after it was ready.
#[must_use = "a future does nothing until it is awaited"]
pub struct Arrival<'a, T: Ord + fmt::Debug + Copy> {
    seqwait: &'a SeqWait<T>,
    number: T,
    state: State,
}

enum State {
    /// Not polled yet.
    New,
    /// Has a place among the waiters.
    Queued(Arc<Slot>),
    /// Was ready.
    Ended,
}

impl<'a, T: Ord + fmt::Debug + Copy> Arrival<'a, T> {
    pub(crate) fn new(seqwait: &'a SeqWait<T>, number: T) -> Self {
        Arrival { seqwait, number, state: State::New }
    }
}

// Nothing in it is ever pinned.
impl<T: Ord + fmt::Debug + Copy> Unpin for Arrival<'_, T> {}

impl<T: Ord + fmt::Debug + Copy> Future for Arrival<'_, T> {
    type Output = Result<(), WaitError<T>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let result = match &self.state {
            State::New => match self.seqwait.enter(self.number, Some(context)) {
                Entered::Ended(result) => result,
                Entered::Queued(slot) => {
                    self.state = State::Queued(slot);
                    return Poll::Pending;
                }
            },
            State::Queued(slot) => match slot.poll(context) {
                Poll::Ready(outcome) => self.seqwait.result(self.number, slot, outcome),
                Poll::Pending => return Poll::Pending,
            },
            State::Ended => panic!("an arrival was polled after it was ready"),
        };
        self.state = State::Ended;
        Poll::Ready(result)
    }
}

impl<T: Ord + fmt::Debug + Copy> Drop for Arrival<'_, T> {
    fn drop(&mut self) {
        if let State::Queued(slot) = &self.state {
            slot.forget_waker();
            // Nobody is left to tell how the wait ended.
            let _ = self.seqwait.give_up(self.number, slot);
        }
    }
}

impl<T: Ord + fmt::Debug + Copy> fmt::Debug for Arrival<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arrival").field("number", &self.number).finish_non_exhaustive()
    }
}
