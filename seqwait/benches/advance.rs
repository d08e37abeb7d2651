//! What an advance costs when nobody waits, and when many wake up; beside it the same with one Mutex and one Condvar.
//!
//! Run: `cargo bench -p seqwait`.
//! Method: criterion's mean. "no waiter": a million advances by one, no other thread. "woken at once": 10,000 threads wait for the same
//! number, started and asleep before the clock runs; it runs from the advance until the last of them has returned. "woken one by
//! one": 100 threads wait for 100 different numbers, and the clock runs while each number is advanced to and its waiter has returned.
//!
//! Reference, 2026-11-23, two virtual cores, `-- --warm-up-time 1 --measurement-time 2`, SeqWait / Mutex and Condvar:
//! no waiter 11.9 ms / 250 ms (12 ns / 250 ns an advance); 10,000 woken at once 471 ms / 113 ms; 100 woken one by one 3.4 ms / 17.4 ms.
//! Waking everybody at once is what one Condvar is best at: each waiter here has a channel of its own.
#![allow(missing_docs, reason = "the macros of criterion make public functions without documentation")]

use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use seqwait::SeqWait;

const ADVANCES: u64 = 1_000_000;
const MANY: u64 = 10_000;
const SOME: u64 = 100;

/// What both sides of the comparison can do.
trait Number: Sync {
    fn start() -> Self;
    fn advance(&self, to: u64) -> u64;
    fn wait_for(&self, number: u64);
    fn waiters(&self) -> usize;
}

impl Number for SeqWait<u64> {
    fn start() -> Self {
        SeqWait::new(0)
    }
    fn advance(&self, to: u64) -> u64 {
        SeqWait::advance(self, to)
    }
    fn wait_for(&self, number: u64) {
        SeqWait::wait_for(self, number).expect("nobody shuts down");
    }
    fn waiters(&self) -> usize {
        SeqWait::waiters(self)
    }
}

#[derive(Default)]
struct OneCondvar {
    /// The number and how many wait.
    state: Mutex<(u64, usize)>,
    changed: Condvar,
}

impl Number for OneCondvar {
    fn start() -> Self {
        Self::default()
    }
    fn advance(&self, to: u64) -> u64 {
        let old = std::mem::replace(&mut self.state.lock().unwrap().0, to);
        self.changed.notify_all();
        old
    }
    fn wait_for(&self, number: u64) {
        let mut state = self.state.lock().unwrap();
        state.1 += 1;
        let mut state = self.changed.wait_while(state, |(current, _)| *current < number).unwrap();
        state.1 -= 1;
    }
    fn waiters(&self) -> usize {
        self.state.lock().unwrap().1
    }
}

fn no_waiter<N: Number>() {
    let number = N::start();
    for to in 1..=ADVANCES {
        black_box(number.advance(to));
    }
}

/// Waiters for these numbers are started; then the clock runs while the number steps through `steps` and, after each step, as many have
/// returned as the step concerns.
fn woken<N: Number>(wanted: impl Iterator<Item = u64>, steps: impl Iterator<Item = (u64, usize)>) -> Duration {
    let number = N::start();
    let returned = AtomicUsize::new(0);
    thread::scope(|scope| {
        let mut started = 0;
        for wanted in wanted {
            let (number, returned) = (&number, &returned);
            let waiter = move || {
                number.wait_for(wanted);
                returned.fetch_add(1, Ordering::Release);
            };
            thread::Builder::new().stack_size(64 << 10).spawn_scoped(scope, waiter).expect("a thread");
            started += 1;
        }
        while number.waiters() != started {
            thread::sleep(Duration::from_millis(1));
        }
        let clock = Instant::now();
        for (to, due) in steps {
            number.advance(to);
            while returned.load(Ordering::Acquire) < due {
                thread::yield_now();
            }
        }
        clock.elapsed()
    })
}

fn woken_at_once<N: Number>(rounds: u64) -> Duration {
    (0..rounds).map(|_| woken::<N>((0..MANY).map(|_| 1), std::iter::once((1, MANY as usize)))).sum()
}

fn woken_one_by_one<N: Number>(rounds: u64) -> Duration {
    (0..rounds).map(|_| woken::<N>(1..=SOME, (1..=SOME).map(|to| (to, to as usize)))).sum()
}

fn benches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("a million advances, no waiter");
    group.sample_size(10);
    group.bench_function("SeqWait", |bench| bench.iter(no_waiter::<SeqWait<u64>>));
    group.bench_function("Mutex and Condvar", |bench| bench.iter(no_waiter::<OneCondvar>));
    group.finish();

    let mut group = criterion.benchmark_group("10,000 woken at once");
    group.sample_size(10);
    group.bench_function("SeqWait", |bench| bench.iter_custom(woken_at_once::<SeqWait<u64>>));
    group.bench_function("Mutex and Condvar", |bench| bench.iter_custom(woken_at_once::<OneCondvar>));
    group.finish();

    let mut group = criterion.benchmark_group("100 woken one by one");
    group.sample_size(10);
    group.bench_function("SeqWait", |bench| bench.iter_custom(woken_one_by_one::<SeqWait<u64>>));
    group.bench_function("Mutex and Condvar", |bench| bench.iter_custom(woken_one_by_one::<OneCondvar>));
    group.finish();
}

criterion_group!(all, benches);
criterion_main!(all);
