//! The cluster-wide state over time.

use pgdata::{ClusterState, Lsn};

/// Whole states, and between them the small changes that come with almost every transaction.
///
/// No small change has the LSN of a whole state: it is put into the state, or replaced by it, as the record has them in order.
#[derive(Debug, Default)]
pub(crate) struct ClusterHistory {
    initial: Option<ClusterState>,
    states: Vec<(Lsn, Box<ClusterState>)>,
    next_xids: Vec<(Lsn, u64)>,
    next_multis: Vec<(Lsn, u32, u64)>,
}

impl ClusterHistory {
    /// The state at the start of the timeline.
    pub fn set_initial(&mut self, state: ClusterState) {
        self.initial = Some(state);
    }

    pub fn set(&mut self, lsn: Lsn, state: Box<ClusterState>) {
        self.next_xids.pop_if(|last| last.0 == lsn);
        self.next_multis.pop_if(|last| last.0 == lsn);
        self.states.pop_if(|last| last.0 == lsn);
        self.states.push((lsn, state));
    }

    pub fn set_next_xid(&mut self, lsn: Lsn, next_xid: u64) {
        match self.states.last_mut() {
            Some((at, state)) if *at == lsn => state.set_next_xid(next_xid),
            _ => {
                self.next_xids.pop_if(|last| last.0 == lsn);
                self.next_xids.push((lsn, next_xid));
            }
        }
    }

    pub fn set_next_multi(&mut self, lsn: Lsn, multi: u32, offset: u64) {
        match self.states.last_mut() {
            Some((at, state)) if *at == lsn => **state = (**state).clone().with_next_multi(multi, offset),
            _ => {
                self.next_multis.pop_if(|last| last.0 == lsn);
                self.next_multis.push((lsn, multi, offset));
            }
        }
    }

    /// The state at an LSN; `None` if nobody said what it was at the start.
    pub fn at(&self, lsn: Lsn) -> Option<ClusterState> {
        let states = &self.states[..self.states.partition_point(|(at, _)| *at <= lsn)];
        let (since, mut state) = match states.last() {
            Some((at, state)) => (*at, (**state).clone()),
            None => (Lsn::INVALID, self.initial.clone()?),
        };
        let next_xids = &self.next_xids[..self.next_xids.partition_point(|(at, _)| *at <= lsn)];
        if let Some((_, next_xid)) = next_xids.last().filter(|(at, _)| *at > since) {
            state.set_next_xid(*next_xid);
        }
        let next_multis = &self.next_multis[..self.next_multis.partition_point(|(at, ..)| *at <= lsn)];
        if let Some((_, multi, offset)) = next_multis.last().filter(|(at, ..)| *at > since) {
            state = state.with_next_multi(*multi, *offset);
        }
        Some(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pgdata::{ControlFile, PgVersion};

    #[test]
    fn small_changes_lie_between_whole_states() {
        let base = ClusterState::new(ControlFile::initial(PgVersion::V15, 7));
        let state = |xid: u64, multi: u32| base.clone().with_next_xid(xid).with_next_multi(multi, 1);
        let mut history = ClusterHistory::default();
        assert_eq!(history.at(Lsn(100)), None);
        history.set_initial(state(3, 1));
        history.set_next_xid(Lsn(16), 10);
        history.set_next_multi(Lsn(24), 5, 1);
        history.set_next_xid(Lsn(32), 11);
        history.set(Lsn(32), Box::new(state(20, 6)));
        history.set_next_multi(Lsn(32), 7, 1);
        history.set_next_xid(Lsn(40), 21);
        let expected = [(8, 3, 1), (16, 10, 1), (24, 10, 5), (31, 10, 5), (32, 20, 7), (40, 21, 7), (99, 21, 7)];
        for (lsn, xid, multi) in expected {
            assert_eq!(history.at(Lsn(lsn)), Some(state(xid, multi)), "{lsn}");
        }
    }
}
