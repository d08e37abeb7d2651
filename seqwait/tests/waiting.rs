//! What waiters see, with real threads. The interleavings are tried one by one in `loom.rs`.
#![cfg(not(loom))]

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use proptest::prelude::*;
use seqwait::{SeqWait, WaitError};

const LONG: Duration = Duration::from_secs(600);

/// Blocks, without sleeping, until so many wait.
fn await_waiters<T: Ord + Copy + std::fmt::Debug>(number: &SeqWait<T>, count: usize) {
    while number.waiters() != count {
        thread::yield_now();
    }
}

#[derive(Default)]
struct Counter(AtomicUsize);

impl Wake for Counter {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Counter {
    fn waker() -> (Arc<Counter>, Waker) {
        let counter = Arc::new(Counter::default());
        (Arc::clone(&counter), Waker::from(counter))
    }

    fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

#[test]
fn a_number_that_has_arrived_is_not_waited_for() {
    let number = SeqWait::new(5);
    for reached in [0, 5] {
        assert_eq!(number.wait_for(reached), Ok(()));
        assert_eq!(number.wait_for_timeout(reached, Duration::ZERO), Ok(()));
    }
    assert_eq!(number.waiters(), 0);
}

#[test]
fn only_those_whose_number_has_arrived_wake_up() {
    let number = SeqWait::new(0);
    thread::scope(|scope| {
        let early = [3, 3, 1].map(|wanted| {
            scope.spawn({
                let number = &number;
                move || number.wait_for(wanted)
            })
        });
        let late = scope.spawn(|| number.wait_for_timeout(4, LONG));
        await_waiters(&number, 4);
        assert_eq!(number.advance(3), 0);
        for waiter in early {
            assert_eq!(waiter.join().unwrap(), Ok(()));
        }
        assert_eq!(number.waiters(), 1);
        assert!(!late.is_finished());
        assert_eq!(number.advance(100), 3);
        assert_eq!(late.join().unwrap(), Ok(()));
    });
}

#[test]
fn a_step_backwards_changes_nothing() {
    let number = SeqWait::new(7);
    assert_eq!((number.advance(3), number.load()), (7, 7));
    assert_eq!((number.advance(7), number.load()), (7, 7));
}

#[test]
fn a_timeout_names_both_numbers() {
    let number = SeqWait::new(1);
    let result = number.wait_for_timeout(2, Duration::from_millis(1));
    assert_eq!(result, Err(WaitError::Timeout { wanted: 2, current: 1 }));
    assert_eq!(result.unwrap_err().to_string(), "2 did not arrive in time: 1 is reached");
    assert_eq!(number.waiters(), 0);
}

#[test]
fn an_endless_timeout_is_none() {
    let number = SeqWait::new(0);
    thread::scope(|scope| {
        let waiter = scope.spawn(|| number.wait_for_timeout(1, Duration::MAX));
        await_waiters(&number, 1);
        number.advance(1);
        assert_eq!(waiter.join().unwrap(), Ok(()));
    });
}

#[test]
fn shutdown_ends_present_and_future_waits() {
    let number = SeqWait::new(1);
    let shutdown = Err(WaitError::Shutdown { wanted: 2, current: 1 });
    thread::scope(|scope| {
        let waiters = [None, Some(LONG)].map(|timeout| {
            let number = &number;
            scope.spawn(move || {
                timeout.map_or_else(|| number.wait_for(2), |timeout| number.wait_for_timeout(2, timeout))
            })
        });
        let (wakes, waker) = Counter::waker();
        let mut future = pin!(number.arrival(2));
        let mut context = Context::from_waker(&waker);
        assert_eq!(future.as_mut().poll(&mut context), Poll::Pending);
        await_waiters(&number, 3);
        number.shutdown();
        for waiter in waiters {
            assert_eq!(waiter.join().unwrap(), shutdown);
        }
        assert_eq!((wakes.count(), future.as_mut().poll(&mut context)), (1, Poll::Ready(shutdown)));
    });
    number.shutdown();
    assert_eq!((number.wait_for(2), number.wait_for(1)), (shutdown, Ok(())));
    assert_eq!((number.advance(2), number.wait_for(2)), (1, Ok(())));
}

#[test]
fn a_future_is_woken_once_and_by_its_latest_waker() {
    let number = SeqWait::new(0);
    let (first, first_waker) = Counter::waker();
    let (second, second_waker) = Counter::waker();
    let mut future = pin!(number.arrival(2));
    assert_eq!(future.as_mut().poll(&mut Context::from_waker(&first_waker)), Poll::Pending);
    number.advance(1);
    assert_eq!(future.as_mut().poll(&mut Context::from_waker(&second_waker)), Poll::Pending);
    assert_eq!((number.waiters(), first.count(), second.count()), (1, 0, 0));
    number.advance(2);
    assert_eq!((number.waiters(), first.count(), second.count()), (0, 0, 1));
    assert_eq!(future.as_mut().poll(&mut Context::from_waker(&second_waker)), Poll::Ready(Ok(())));
}

#[test]
fn a_dropped_future_lets_go_of_its_waker_at_once() {
    let number = SeqWait::new(0);
    let (counter, waker) = Counter::waker();
    // Others wait for more, so that the abandoned entry itself stays in the queue for the time being.
    let mut others = [(); 4].map(|()| Box::pin(number.arrival(9)));
    for other in &mut others {
        assert_eq!(other.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Pending);
    }
    let mut future = Box::pin(number.arrival(1));
    assert_eq!(future.as_mut().poll(&mut Context::from_waker(&waker)), Poll::Pending);
    assert_eq!((number.waiters(), Arc::strong_count(&counter)), (5, 3));
    drop(future);
    assert_eq!((number.waiters(), Arc::strong_count(&counter)), (4, 2));
    number.advance(1);
    assert_eq!(counter.count(), 0);
}

#[test]
#[should_panic(expected = "polled after it was ready")]
fn a_future_that_was_ready_must_not_be_polled() {
    let number = SeqWait::new(0);
    let mut future = pin!(number.arrival(0));
    let mut context = Context::from_waker(Waker::noop());
    assert_eq!(future.as_mut().poll(&mut context), Poll::Ready(Ok(())));
    let _ = future.as_mut().poll(&mut context);
}

#[test]
fn many_waiters_and_many_advancers() {
    const WAITERS: u64 = 16;
    const STEPS: u64 = 3_000;
    let number = SeqWait::new(0);
    let start = Barrier::new(WAITERS as usize + 2);
    thread::scope(|scope| {
        for waiter in 0..WAITERS {
            let (number, start) = (&number, &start);
            scope.spawn(move || {
                start.wait();
                for wanted in (waiter..STEPS).step_by(WAITERS as usize / 4) {
                    // Some give up and come back, so that abandoned entries and purges are part of it.
                    while let Err(error) = number.wait_for_timeout(wanted, Duration::from_micros(50 * (waiter + 1))) {
                        assert!(matches!(error, WaitError::Timeout { current, .. } if current < wanted), "{error}");
                    }
                    assert!(number.load() >= wanted);
                }
                assert_eq!(number.wait_for(STEPS), Ok(()));
            });
        }
        for parity in 0..2 {
            let (number, start) = (&number, &start);
            scope.spawn(move || {
                start.wait();
                for step in (parity..=STEPS).step_by(2) {
                    let old = number.advance(step);
                    assert!(number.load() >= old.max(step));
                }
            });
        }
    });
    assert_eq!((number.load(), number.waiters()), (STEPS, 0));
}

/// A thing to do with the futures of the model test.
#[derive(Clone, Debug)]
enum Step {
    Advance(u8),
    Wait(u8),
    Drop(prop::sample::Index),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => any::<u8>().prop_map(Step::Advance),
        4 => any::<u8>().prop_map(Step::Wait),
        3 => any::<prop::sample::Index>().prop_map(Step::Drop),
    ]
}

proptest! {
    /// Futures beside the simplest model of them: a list of numbers.
    #[test]
    fn futures_behave_like_a_list_of_numbers(steps in prop::collection::vec(step(), 0..200)) {
        let number = SeqWait::new(0_u8);
        let mut context = Context::from_waker(Waker::noop());
        let mut current = 0;
        let mut waiting = Vec::new();
        for step in steps {
            match step {
                Step::Advance(to) => {
                    prop_assert_eq!(number.advance(to), current);
                    current = current.max(to);
                }
                Step::Wait(wanted) => waiting.push((wanted, Box::pin(number.arrival(wanted)))),
                Step::Drop(index) => {
                    if !waiting.is_empty() {
                        drop(waiting.swap_remove(index.index(waiting.len())));
                    }
                }
            }
            let mut pending = Vec::new();
            for (wanted, mut future) in waiting {
                match future.as_mut().poll(&mut context) {
                    Poll::Ready(result) => prop_assert!(result.is_ok() && wanted <= current),
                    Poll::Pending => {
                        prop_assert!(wanted > current);
                        pending.push((wanted, future));
                    }
                }
            }
            waiting = pending;
            prop_assert_eq!(number.waiters(), waiting.len());
        }
    }
}
