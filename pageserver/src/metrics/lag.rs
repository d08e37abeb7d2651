//! How long ago a primary's WAL ended where a timeline is now.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use pgdata::Lsn;

/// So many moments are remembered. When there are more, neighbours become one.
const MOMENTS: usize = 512;
/// Moments closer to each other than this are one. It grows with the time that they span, so that they stay evenly apart.
const GAP: Duration = Duration::from_millis(10);

/// Remembers when the primary's WAL was known to end where, as far as the timeline has not come there yet.
///
/// The lag is the time since the last moment at which the primary had no more WAL than the timeline has now: zero for one that is idle, however long it has
/// been, and for one that writes all the time the age of what has arrived last.
#[derive(Debug)]
pub struct LagClock {
    applied: Lsn,
    /// Ends beyond `applied`, both members rising, each with the moment at which it was heard of.
    ends: VecDeque<(Lsn, Instant)>,
    gap: Duration,
}

impl LagClock {
    /// For a timeline that has come to `applied`.
    pub fn new(applied: Lsn) -> Self {
        LagClock { applied, ends: VecDeque::new(), gap: GAP }
    }

    /// The primary's WAL ends at `end`.
    pub fn heard(&mut self, end: Lsn, now: Instant) {
        // A primary that lost the end of its WAL, or another one: what was beyond will not come.
        while self.ends.back().is_some_and(|(known, _)| *known > end) {
            self.ends.pop_back();
        }
        if end <= self.applied || self.ends.back().is_some_and(|(known, _)| *known == end) {
            return;
        }
        match self.ends.back_mut() {
            Some((known, heard)) if now.saturating_duration_since(*heard) < self.gap => *known = end,
            _ => self.ends.push_back((end, now)),
        }
        if self.ends.len() > MOMENTS {
            self.thin_out();
        }
    }

    /// Of two neighbours the later end stays, with the earlier moment: the lag is never made smaller.
    fn thin_out(&mut self) {
        let all: Vec<_> = self.ends.drain(..).collect();
        self.ends = all.chunks(2).map(|pair| (pair[pair.len() - 1].0, pair[0].1)).collect();
        self.gap *= 2;
    }

    /// The timeline has come to `lsn`.
    pub fn applied(&mut self, lsn: Lsn) {
        self.applied = self.applied.max(lsn);
        while self.ends.front().is_some_and(|(end, _)| *end <= self.applied) {
            self.ends.pop_front();
        }
        if self.ends.is_empty() {
            self.gap = GAP;
        }
    }

    /// The lag.
    pub fn lag(&self, now: Instant) -> Duration {
        self.ends.front().map_or(Duration::ZERO, |(_, heard)| now.saturating_duration_since(*heard))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn an_idle_primary_leaves_no_lag_however_long_ago_it_wrote() {
        let start = Instant::now();
        let mut clock = LagClock::new(Lsn(8));
        clock.heard(Lsn(16), start);
        clock.applied(Lsn(16));
        clock.heard(Lsn(16), start + seconds(1000));
        assert_eq!(clock.lag(start + seconds(1001)), Duration::ZERO);
        // What it writes then is as old as that, and no older.
        clock.heard(Lsn(24), start + seconds(2000));
        assert_eq!(clock.lag(start + seconds(2003)), seconds(3));
    }

    #[test]
    fn one_that_always_writes_is_as_far_behind_as_what_has_arrived_is_old() {
        let start = Instant::now();
        let mut clock = LagClock::new(Lsn(0));
        for second in 1..=100 {
            clock.heard(Lsn(second * 8), start + seconds(second));
            clock.applied(Lsn(second.saturating_sub(5) * 8));
        }
        // It has what the primary had after 95 seconds; the next thing was heard of at 96.
        assert_eq!(clock.lag(start + seconds(100)), seconds(4));
    }

    #[test]
    fn a_primary_that_goes_back_takes_what_it_lost_with_it() {
        let start = Instant::now();
        let mut clock = LagClock::new(Lsn(8));
        clock.heard(Lsn(16), start);
        clock.heard(Lsn(80), start + seconds(1));
        clock.heard(Lsn(24), start + seconds(5));
        clock.applied(Lsn(16));
        assert_eq!(clock.lag(start + seconds(7)), seconds(2));
        clock.applied(Lsn(24));
        assert_eq!(clock.lag(start + seconds(9)), Duration::ZERO);
    }

    #[test]
    fn memory_is_bounded_and_the_lag_not_made_smaller() {
        let start = Instant::now();
        let mut clock = LagClock::new(Lsn(0));
        for second in 1..=100_000 {
            clock.heard(Lsn(second * 8), start + seconds(second));
        }
        assert!(clock.ends.len() <= MOMENTS);
        let now = start + seconds(100_000);
        assert_eq!(clock.lag(now), seconds(99_999));
        clock.applied(Lsn(50_000 * 8));
        let lag = clock.lag(now);
        assert!(lag >= seconds(49_999) && lag <= seconds(51_000), "{lag:?}");
    }
}
