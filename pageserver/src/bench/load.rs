//! Clients that ask as fast as they are answered.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use hdrhistogram::Histogram;

/// The longest time that is told apart from longer ones.
const LONGEST_NS: u64 = 60_000_000_000;

/// A connection that answers one thing for each question, in order.
pub trait Target: Send {
    /// Takes a question. It need not be sent before an answer is waited for.
    fn ask(&mut self) -> Result<()>;

    /// Waits for the next answer; sends what has not been sent.
    fn answer(&mut self) -> Result<()>;
}

/// What the clients saw, all together.
pub struct Seen {
    /// Times from question to answer, in nanoseconds.
    times: Histogram<u64>,
    per_second: f64,
}

impl Seen {
    /// How many were answered in a second.
    pub fn per_second(&self) -> f64 {
        self.per_second
    }

    /// How long the answer took in so many of a hundred cases at most, in microseconds.
    pub fn percentile_us(&self, percentile: f64) -> f64 {
        self.times.value_at_percentile(percentile) as f64 / 1000.0
    }
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST_NS, 3).expect("bounds that a histogram can have")
}

/// Lets each target be asked by a thread of its own for some time, with `depth` questions in flight.
pub fn run<T: Target>(targets: &mut [T], depth: usize, time: Duration) -> Result<Seen> {
    let barrier = Barrier::new(targets.len());
    let results: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = targets
            .iter_mut()
            .map(|target| {
                let barrier = &barrier;
                scope.spawn(move || {
                    barrier.wait();
                    client(target, depth, time)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().map_err(|_| anyhow!("a client panicked"))?).collect()
    });
    let mut seen = Seen { times: histogram(), per_second: 0.0 };
    for result in results {
        let (times, took): (Histogram<u64>, Duration) = result?;
        seen.per_second += times.len() as f64 / took.as_secs_f64();
        seen.times.add(times)?;
    }
    Ok(seen)
}

/// When there is room for half of what may be in flight, as much is asked as there is room for: one write serves many questions,
/// and the other side is never out of work.
fn client(target: &mut dyn Target, depth: usize, time: Duration) -> Result<(Histogram<u64>, Duration)> {
    let mut times = histogram();
    let start = Instant::now();
    let mut asked = std::collections::VecDeque::with_capacity(depth);
    loop {
        let over = start.elapsed() >= time;
        if over && asked.is_empty() {
            return Ok((times, start.elapsed()));
        }
        if !over && asked.len() <= depth / 2 {
            while asked.len() < depth {
                target.ask()?;
                asked.push_back(Instant::now());
            }
        }
        target.answer()?;
        let begun: Instant = asked.pop_front().expect("something is in flight");
        times.saturating_record(u64::try_from(begun.elapsed().as_nanos()).unwrap_or(LONGEST_NS));
    }
}
