//! All interleavings of advance, wait, shutdown and drop, tried by loom.
//!
//! Run: `RUSTFLAGS="--cfg loom" cargo test -p seqwait --release --test loom`
//! (set `CARGO_TARGET_DIR` to a directory of its own: the flag rebuilds everything). Without the cfg this file is empty.
//!
//! loom has no clock, so timeouts cannot be modelled; giving up is modelled by dropping a future, which takes the same way.
#![cfg(loom)]

use loom::future::block_on;
use loom::model;
use loom::sync::Arc;
use loom::thread;
use seqwait::{SeqWait, WaitError};
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

fn number() -> Arc<SeqWait<u32>> {
    Arc::new(SeqWait::new(0))
}

#[test]
fn a_blocked_waiter_is_woken() {
    model(|| {
        let number = number();
        let waiter = thread::spawn({
            let number = Arc::clone(&number);
            move || number.wait_for(1)
        });
        assert_eq!(number.advance(1), 0);
        assert_eq!(waiter.join().unwrap(), Ok(()));
        assert_eq!(number.waiters(), 0);
    });
}

#[test]
fn a_future_is_woken() {
    model(|| {
        let number = number();
        let waiter = thread::spawn({
            let number = Arc::clone(&number);
            move || block_on(number.arrival(2))
        });
        number.advance(1);
        number.advance(2);
        assert_eq!(waiter.join().unwrap(), Ok(()));
        assert_eq!(number.waiters(), 0);
    });
}

#[test]
fn of_two_advances_one_wakes_the_waiter_and_the_greater_number_stays() {
    model(|| {
        let number = number();
        let others = [1, 2].map(|to| {
            let number = Arc::clone(&number);
            thread::spawn(move || number.advance(to))
        });
        assert_eq!(number.wait_for(1), Ok(()));
        let [first, second] = others.map(|other| other.join().unwrap());
        assert!((first, second) == (0, 1) || (first, second) == (2, 0));
        assert_eq!(number.load(), 2);
    });
}

#[test]
fn a_waiter_gets_the_number_or_the_shutdown_but_always_an_end() {
    model(|| {
        let number = number();
        let waiter = thread::spawn({
            let number = Arc::clone(&number);
            move || number.wait_for(1)
        });
        let stopper = thread::spawn({
            let number = Arc::clone(&number);
            move || number.shutdown()
        });
        number.advance(1);
        let result = waiter.join().unwrap();
        assert!(matches!(result, Ok(()) | Err(WaitError::Shutdown { wanted: 1, current: 0 })), "{result:?}");
        stopper.join().unwrap();
        assert_eq!((number.waiters(), number.wait_for(1)), (0, Ok(())));
        assert_eq!(number.wait_for(2), Err(WaitError::Shutdown { wanted: 2, current: 1 }));
    });
}

#[test]
fn a_future_is_told_of_the_shutdown() {
    model(|| {
        let number = number();
        let waiter = thread::spawn({
            let number = Arc::clone(&number);
            move || block_on(number.arrival(1))
        });
        number.shutdown();
        assert_eq!(waiter.join().unwrap(), Err(WaitError::Shutdown { wanted: 1, current: 0 }));
    });
}

#[test]
fn a_future_dropped_while_its_number_arrives_leaves_nothing_behind() {
    model(|| {
        let number = number();
        let dropper = thread::spawn({
            let number = Arc::clone(&number);
            move || {
                let mut arrival = pin!(number.arrival(1));
                let polled = arrival.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                assert!(matches!(polled, Poll::Pending | Poll::Ready(Ok(()))));
            }
        });
        number.advance(1);
        dropper.join().unwrap();
        assert_eq!(number.waiters(), 0);
    });
}

#[test]
fn a_drop_beside_a_waiter_does_not_lose_the_waiter() {
    model(|| {
        let number = number();
        let dropper = thread::spawn({
            let number = Arc::clone(&number);
            move || {
                let mut arrival = pin!(number.arrival(2));
                let _ = arrival.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            }
        });
        let waiter = thread::spawn({
            let number = Arc::clone(&number);
            move || number.wait_for(1)
        });
        number.advance(1);
        assert_eq!(waiter.join().unwrap(), Ok(()));
        dropper.join().unwrap();
        assert_eq!(number.waiters(), 0);
    });
}

#[test]
fn a_future_dropped_during_the_shutdown_leaves_nothing_behind() {
    model(|| {
        let number = number();
        let dropper = thread::spawn({
            let number = Arc::clone(&number);
            move || {
                let mut arrival = pin!(number.arrival(1));
                let _ = arrival.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            }
        });
        number.shutdown();
        dropper.join().unwrap();
        assert_eq!(number.waiters(), 0);
    });
}
