//! The cluster state as it moves along with the records.

use pgdata::slru::{multi_precedes, xid_precedes};
use pgdata::{Change, CheckPoint, ClusterState, next_xid};

/// The state, and which parts of it the current record has changed.
#[derive(Clone, Debug)]
pub(super) struct Tracker {
    state: ClusterState,
    xid_changed: bool,
    multi_changed: bool,
    rest_changed: bool,
}

impl Tracker {
    pub(super) fn new(state: ClusterState) -> Tracker {
        Tracker { state, xid_changed: false, multi_changed: false, rest_changed: false }
    }

    pub(super) fn state(&self) -> &ClusterState {
        &self.state
    }

    pub(super) fn counters(&self) -> &CheckPoint {
        &self.state.counters
    }

    /// Changes anything but the next transaction id and multixact.
    pub(super) fn edit(&mut self, change: impl FnOnce(&mut ClusterState)) {
        change(&mut self.state);
        self.rest_changed = true;
    }

    /// `AdvanceNextFullTransactionIdPastXid`: the next id is at least the one after `xid`, in the epoch that is nearest.
    pub(super) fn advance_past(&mut self, xid: u32) {
        let next = self.state.counters.next_xid;
        if xid_precedes(xid, next as u32) {
            return;
        }
        let after = next_xid(xid);
        let epoch = (next >> 32) + u64::from(after < next as u32);
        self.set_next_xid(epoch << 32 | u64::from(after));
    }

    pub(super) fn set_next_xid(&mut self, next: u64) {
        self.state.set_next_xid(next);
        self.xid_changed = true;
    }

    /// `MultiXactAdvanceNextMXact`: each counter only moves forward in its circle.
    pub(super) fn advance_multi(&mut self, multi: u32, offset: u32) {
        let counters = &mut self.state.counters;
        if multi_precedes(counters.next_multi, multi) {
            counters.next_multi = multi;
            self.multi_changed = true;
        }
        if multi_precedes(counters.next_multi_offset, offset) {
            counters.next_multi_offset = offset;
            self.multi_changed = true;
        }
    }

    /// The full id of a transaction that may be running or prepared now: not after the next one, less than a whole circle
    /// before it (`FullTransactionIdFromAllowableAt`).
    pub(super) fn full_xid(&self, xid: u32) -> u64 {
        let next = self.state.counters.next_xid;
        let epoch = (next >> 32).saturating_sub(u64::from(xid > next as u32));
        epoch << 32 | u64::from(xid)
    }

    /// Appends what the record has changed of the state.
    pub(super) fn finish(&mut self, out: &mut Vec<Change>) {
        if self.rest_changed {
            out.push(Change::Cluster(Box::new(self.state.clone())));
        } else {
            let counters = &self.state.counters;
            if self.xid_changed {
                out.push(Change::NextXid(counters.next_xid));
            }
            if self.multi_changed {
                out.push(Change::NextMulti {
                    multi: counters.next_multi,
                    offset: u64::from(counters.next_multi_offset),
                });
            }
        }
        (self.xid_changed, self.multi_changed, self.rest_changed) = (false, false, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pgdata::{ControlFile, PgVersion};

    fn tracker(next: u64) -> Tracker {
        Tracker::new(ClusterState::new(ControlFile::initial(PgVersion::V17, 1)).with_next_xid(next))
    }

    #[test]
    fn the_next_transaction_id_moves_only_forward() {
        let mut tracker = tracker(100);
        for (xid, next) in [(50, 100), (0, 100), (2, 100), (100, 101), (200, 201), (150, 201)] {
            tracker.advance_past(xid);
            assert_eq!(tracker.counters().next_xid, next, "past {xid}");
        }
    }

    #[test]
    fn the_epoch_grows_at_the_wraparound() {
        let mut tracker = tracker(7 << 32 | 0xFFFF_FFF0);
        tracker.advance_past(0xFFFF_FFFF);
        assert_eq!(tracker.counters().next_xid, 8 << 32 | 3);
        tracker.advance_past(10);
        assert_eq!(tracker.counters().next_xid, 8 << 32 | 11);
        tracker.advance_past(0xFFFF_FFFA);
        assert_eq!(tracker.counters().next_xid, 8 << 32 | 11);
    }

    #[test]
    fn full_ids_lie_before_the_next_one() {
        assert_eq!(tracker(7 << 32 | 100).full_xid(99), 7 << 32 | 99);
        assert_eq!(tracker(7 << 32 | 100).full_xid(0xFFFF_FF00), 6 << 32 | 0xFFFF_FF00);
        assert_eq!(tracker(100).full_xid(200), 200);
    }

    #[test]
    fn small_changes_are_told_apart() {
        let mut tracker = tracker(100);
        let mut out = Vec::new();
        tracker.finish(&mut out);
        assert_eq!(out, []);
        tracker.advance_past(100);
        tracker.advance_multi(9, 20);
        tracker.finish(&mut out);
        assert_eq!(out, [Change::NextXid(101), Change::NextMulti { multi: 9, offset: 20 }]);
        out.clear();
        tracker.advance_past(101);
        tracker.edit(|state| state.counters.next_oid = 5);
        tracker.finish(&mut out);
        assert!(matches!(&out[..], [Change::Cluster(state)] if state.counters.next_xid == 102));
    }
}
