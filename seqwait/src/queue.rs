//! The waiters in the order of their numbers. Everything here happens under one lock and wakes nobody.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use crate::slot::Slot;
use crate::sync::Arc;

/// A waiter's place. Several may wait for the same number.
struct Entry<T> {
    number: T,
    slot: Arc<Slot>,
}

impl<T: Ord> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.number.cmp(&other.number)
    }
}

impl<T: Ord> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T: Ord> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<T: Ord> Eq for Entry<T> {}

/// Waiters, the smallest number first.
///
/// A waiter that gives up cannot be taken out of the middle of a heap. It stays as an abandoned entry until its number arrives or until
/// more than half of the entries are abandoned; then all of these go at once, which costs a constant per abandoned one.
pub(crate) struct Queue<T> {
    heap: BinaryHeap<Reverse<Entry<T>>>,
    abandoned: usize,
}

impl<T: Ord + Copy> Queue<T> {
    pub fn new() -> Self {
        Queue { heap: BinaryHeap::new(), abandoned: 0 }
    }

    pub fn push(&mut self, number: T, slot: Arc<Slot>) {
        self.heap.push(Reverse(Entry { number, slot }));
    }

    /// How many are still waiting.
    pub fn waiting(&self) -> usize {
        self.heap.len() - self.abandoned
    }

    /// How many entries are kept, abandoned ones among them.
    #[cfg(all(test, not(loom)))]
    pub fn kept(&self) -> usize {
        self.heap.len()
    }

    /// Takes out those whose number is at most `reached`. Allocates nothing if there are none.
    pub fn take_reached(&mut self, reached: T) -> Vec<Arc<Slot>> {
        let mut slots = Vec::new();
        while let Some(Reverse(entry)) = self.heap.peek() {
            if entry.number > reached {
                break;
            }
            slots.extend(self.heap.pop().map(|Reverse(entry)| entry.slot));
        }
        let before = slots.len();
        slots.retain(|slot| !slot.is_abandoned());
        self.abandoned -= before - slots.len();
        slots
    }

    /// Takes out all.
    pub fn take_all(&mut self) -> Vec<Arc<Slot>> {
        self.abandoned = 0;
        let heap = std::mem::take(&mut self.heap);
        heap.into_iter().map(|Reverse(entry)| entry.slot).filter(|slot| !slot.is_abandoned()).collect()
    }

    /// Marks an entry that is in the queue as abandoned.
    pub fn abandon(&mut self, slot: &Slot) {
        slot.abandon();
        self.abandoned += 1;
        if self.abandoned > self.heap.len() / 2 {
            self.heap.retain(|Reverse(entry)| !entry.slot.is_abandoned());
            self.heap.shrink_to(2 * self.heap.len());
            self.abandoned = 0;
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn filled(numbers: &[u32]) -> (Queue<u32>, Vec<Arc<Slot>>) {
        let mut queue = Queue::new();
        let slots: Vec<_> = numbers.iter().map(|_| Arc::new(Slot::new(None))).collect();
        for (number, slot) in numbers.iter().zip(&slots) {
            queue.push(*number, Arc::clone(slot));
        }
        (queue, slots)
    }

    #[test]
    fn takes_the_reached_and_leaves_the_others() {
        let (mut queue, slots) = filled(&[5, 1, 3, 3, 9]);
        let taken = queue.take_reached(3);
        assert_eq!(taken.len(), 3);
        for index in [1, 2, 3] {
            assert!(taken.iter().any(|slot| Arc::ptr_eq(slot, &slots[index])));
        }
        assert_eq!((queue.waiting(), queue.take_reached(4).len(), queue.take_all().len()), (2, 0, 2));
    }

    #[test]
    fn abandoned_entries_are_never_more_than_half() {
        let (mut queue, slots) = filled(&(0..1000).collect::<Vec<_>>());
        for (gone, slot) in slots.iter().enumerate() {
            queue.abandon(slot);
            assert_eq!(queue.waiting(), 999 - gone);
            assert!(queue.kept() <= 2 * queue.waiting(), "{} kept for {}", queue.kept(), queue.waiting());
        }
        assert_eq!(queue.kept(), 0);
    }

    #[test]
    fn an_abandoned_entry_is_not_given_out() {
        let (mut queue, slots) = filled(&[1, 2, 3, 4, 5]);
        queue.abandon(&slots[0]);
        queue.abandon(&slots[4]);
        assert_eq!((queue.kept(), queue.waiting()), (5, 3));
        assert_eq!(queue.take_reached(2).len(), 1);
        assert_eq!((queue.kept(), queue.waiting()), (3, 2));
        assert_eq!(queue.take_all().len(), 2);
        assert_eq!((queue.kept(), queue.waiting()), (0, 0));
    }
}
