//! How often something took how long.

use std::array::from_fn;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The upper bounds of the buckets in nanoseconds: 1, 2, 5, 10, 20, 50 … microseconds up to 100 seconds.
pub const BOUNDS: [u64; 25] = bounds();

const fn bounds() -> [u64; 25] {
    let mut bounds = [0; 25];
    let (mut at, mut decade) = (0, 1_000);
    while at < bounds.len() {
        bounds[at] = decade * [1, 2, 5][at % 3];
        at += 1;
        if at.is_multiple_of(3) {
            decade *= 10;
        }
    }
    bounds
}

/// Durations, counted by size. Any number of threads may add to it: that takes two atomic additions.
#[derive(Debug)]
pub struct Histogram {
    /// One bucket for each bound and one for what is longer than all of them.
    counts: [AtomicU64; BOUNDS.len() + 1],
    nanos: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram { counts: from_fn(|_| AtomicU64::new(0)), nanos: AtomicU64::new(0) }
    }
}

impl Histogram {
    /// Counts one more.
    pub fn observe(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.partition_point(|bound| *bound < nanos);
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// What has been counted until now. Sum and counts need not be of exactly the same moment.
    pub fn read(&self) -> Durations {
        Durations {
            counts: from_fn(|bucket| self.counts[bucket].load(Ordering::Relaxed)),
            sum: Duration::from_nanos(self.nanos.load(Ordering::Relaxed)),
        }
    }
}

/// A histogram at a moment.
#[derive(Clone, Debug)]
pub struct Durations {
    counts: [u64; BOUNDS.len() + 1],
    /// All durations together.
    pub sum: Duration,
}

impl Durations {
    /// How many there are.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Each bucket's upper bound in seconds and what it holds itself, without those before it. The last bound is infinite.
    pub fn buckets(&self) -> [(f64, u64); BOUNDS.len() + 1] {
        from_fn(|bucket| (BOUNDS.get(bucket).map_or(f64::INFINITY, |nanos| *nanos as f64 / 1e9), self.counts[bucket]))
    }

    /// The duration that the share `q` of them (from 0 to 1) does not exceed; nothing if there are none. In its bucket they are taken to
    /// be evenly spread; of those above all bounds nothing is known but the highest bound.
    pub fn quantile(&self, q: f64) -> Option<Duration> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        let rank = q * count as f64;
        let mut below = 0;
        let mut lower = 0;
        for (&held, &upper) in self.counts.iter().zip(&BOUNDS) {
            if held > 0 && (below + held) as f64 >= rank {
                let share = ((rank - below as f64) / held as f64).clamp(0.0, 1.0);
                return Some(Duration::from_nanos(lower + ((upper - lower) as f64 * share) as u64));
            }
            below += held;
            lower = upper;
        }
        Some(Duration::from_nanos(lower))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(nanos: &[u64]) -> Durations {
        let histogram = Histogram::default();
        nanos.iter().for_each(|nanos| histogram.observe(Duration::from_nanos(*nanos)));
        histogram.read()
    }

    #[test]
    fn bounds_are_one_two_five_from_a_microsecond_to_a_hundred_seconds() {
        assert_eq!(BOUNDS[..4], [1_000, 2_000, 5_000, 10_000]);
        assert_eq!(BOUNDS[24], 100_000_000_000);
        assert!(BOUNDS.is_sorted());
    }

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        let buckets = of(&[0, 1_000, 1_001, 2_000, 100_000_000_000, 100_000_000_001, u64::MAX]).buckets();
        assert_eq!(buckets[0], (1e-6, 2));
        assert_eq!(buckets[1], (2e-6, 2));
        assert_eq!(buckets[24], (100.0, 1));
        assert_eq!(buckets[25], (f64::INFINITY, 2));
    }

    #[test]
    fn count_and_sum_are_of_all() {
        let durations = of(&[10, 20, 3_000_000_000]);
        assert_eq!((durations.count(), durations.sum), (3, Duration::from_nanos(3_000_000_030)));
    }

    #[test]
    fn quantiles_lie_in_their_bucket() {
        assert_eq!(of(&[]).quantile(0.5), None);
        // Ten between 5 and 10 µs, and one far away.
        let mut nanos = vec![7_000; 10];
        nanos.push(40_000_000);
        let durations = of(&nanos);
        let median = durations.quantile(0.5).expect("some");
        assert_eq!(median, Duration::from_nanos(7_750));
        let last = durations.quantile(0.99).expect("some");
        assert!((20_000_000..=50_000_000).contains(&last.as_nanos()), "{last:?}");
        assert_eq!(of(&[u64::MAX]).quantile(0.5), Some(Duration::from_secs(100)));
    }
}
