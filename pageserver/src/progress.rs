//! How far a copy is: a bar on a terminal, a line now and then elsewhere.

use std::cell::Cell;
use std::io::{self, IsTerminal, Read, Write};
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, HumanDuration, ProgressBar, ProgressStyle};

use crate::tell::tell;

/// A line is printed each time that another tenth has come.
const STEPS: u64 = 10;

/// Bytes that come in, with their rate and the time that the rest will take.
pub struct CopyProgress {
    bar: Option<ProgressBar>,
    start: Instant,
    total: Cell<Option<u64>>,
    done: Cell<u64>,
    step: Cell<u64>,
}

impl CopyProgress {
    /// Nothing has come yet, and nobody knows how much will.
    pub fn new() -> CopyProgress {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            set_style(&bar, "{spinner} received {bytes} {bytes_per_sec}");
            bar
        });
        CopyProgress {
            bar,
            start: Instant::now(),
            total: Cell::default(),
            done: Cell::default(),
            step: Cell::default(),
        }
    }

    /// About so many bytes will come.
    pub fn set_total(&self, total: u64) {
        self.total.set(Some(total));
        match &self.bar {
            None => tell(format_args!("receiving about {}", HumanBytes(total))),
            Some(bar) => {
                bar.set_length(total);
                set_style(bar, "receiving {bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta} left");
            }
        }
    }

    /// More bytes have come.
    pub fn add(&self, count: u64) {
        let done = self.done.get() + count;
        self.done.set(done);
        if let Some(bar) = &self.bar {
            bar.inc(count);
        } else if let Some(total) = self.total.get()
            && step(done, total) > self.step.replace(step(done, total))
        {
            tell(line(done, total, self.start.elapsed()));
        }
    }

    /// All has come, or no more will.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        let (done, elapsed) = (self.done.get(), self.start.elapsed());
        if done > 0 {
            let (bytes, rate) = (HumanBytes(done), HumanBytes(rate(done, elapsed)));
            tell(format_args!("received {bytes} in {elapsed:.1?}, {rate}/s"));
        }
    }
}

/// Counts what is read through it, or written.
pub struct Counted<'a, T> {
    /// From where, or where to.
    pub inner: T,
    /// Where it is counted.
    pub progress: &'a CopyProgress,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.progress.add(count as u64);
        Ok(count)
    }
}

impl<W: Write> Write for Counted<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.progress.add(count as u64);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

fn set_style(bar: &ProgressBar, template: &str) {
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
}

fn rate(done: u64, elapsed: Duration) -> u64 {
    (done as f64 / elapsed.as_secs_f64().max(0.001)) as u64
}

/// Tenths that have come. The total is an estimate: the last tenth is not there before the end.
fn step(done: u64, total: u64) -> u64 {
    (done * STEPS / total.max(1)).min(STEPS - 1)
}

fn line(done: u64, total: u64, elapsed: Duration) -> String {
    let rate = rate(done, elapsed);
    let left = Duration::from_secs(total.saturating_sub(done) / rate.max(1));
    let percent = done * 100 / total.max(1);
    format!("{percent} % of about {}, {}/s, {} left", HumanBytes(total), HumanBytes(rate), HumanDuration(left))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_the_rate_and_the_time_left() {
        let text = line(250 << 20, 1000 << 20, Duration::from_secs(5));
        assert_eq!(text, "25 % of about 1000.00 MiB, 50.00 MiB/s, 15 seconds left");
        assert_eq!(line(7, 0, Duration::ZERO).split(' ').next(), Some("700"));
    }

    #[test]
    fn an_estimate_that_was_too_small_gives_no_more_lines() {
        assert_eq!([step(0, 100), step(10, 100), step(99, 100), step(5000, 100)], [0, 1, 9, 9]);
    }
}
