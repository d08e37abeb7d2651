//! How long to wait between attempts.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

/// Doubling waits with a random part, so that many receivers do not come back to a server at the same moment.
#[derive(Debug)]
pub(crate) struct Backoff {
    initial: Duration,
    max: Duration,
    failures: u32,
}

impl Backoff {
    pub(crate) fn new(initial: Duration, max: Duration) -> Self {
        Backoff { initial, max, failures: 0 }
    }

    /// An attempt succeeded.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// How many attempts failed in a row.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    /// An attempt failed: how long to wait now. `random` is any number.
    pub(crate) fn fail(&mut self, random: u64) -> Duration {
        // 31 doublings of a millisecond are a month.
        let factor = 1u32 << self.failures.min(31);
        self.failures = self.failures.saturating_add(1);
        let longest = self.initial.saturating_mul(factor).min(self.max);
        // Between a half and the whole.
        let part = (random % 1024) as u32;
        longest / 2 + longest / 2048 * part
    }
}

/// A number that differs from call to call: the seeds of a hash map.
pub(crate) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn doubles_up_to_the_longest(random: u64, attempts in 1u32..80) {
            let (initial, max) = (Duration::from_millis(100), Duration::from_secs(10));
            let mut backoff = Backoff::new(initial, max);
            for attempt in 0..attempts {
                let wait = backoff.fail(random);
                let whole = initial.saturating_mul(1 << attempt.min(20)).min(max);
                prop_assert!(wait >= whole / 2 && wait <= whole);
            }
            prop_assert_eq!(backoff.failures(), attempts);
            backoff.reset();
            prop_assert!(backoff.fail(random) <= initial);
        }
    }
}
