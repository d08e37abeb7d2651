//! The state of a cluster beside its pages and files, as of some LSN.

use crate::{CheckPoint, ControlFile, ControlFileError};

/// First transaction id that a transaction can have (`FirstNormalTransactionId`).
pub const FIRST_NORMAL_XID: u32 = 3;

/// What `pg_control` describes, as of some LSN.
///
/// The state at an LSN is the last whole state (`Change::Cluster`) not after it, with the newest `Change::NextXid` and
/// `Change::NextMulti` between that and the LSN put in by [`ClusterState::with_next_xid`] and [`ClusterState::with_next_multi`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClusterState {
    /// The control file: identity, format and settings are those in force now (records of changed parameters change them).
    /// Its checkpoint and recovery fields are those of the control file that the history began with.
    pub control: ControlFile,
    /// The counters as a shutdown checkpoint here would carry them; `oldest_active_xid` is the last online checkpoint's.
    /// `redo` and `time` are those of the last checkpoint seen.
    pub counters: CheckPoint,
}

impl ClusterState {
    /// The state at which a history begins: what the control file's last checkpoint says.
    #[must_use]
    pub fn new(control: ControlFile) -> ClusterState {
        ClusterState { counters: control.check_point_copy.clone(), control }
    }

    /// Whether commits write `pg_commit_ts`. During recovery this follows the primary's setting alone.
    #[must_use]
    pub fn commit_ts_active(&self) -> bool {
        self.control.track_commit_timestamp
    }

    /// This state with another next transaction id, epoch in the high half.
    ///
    /// While commit timestamps are kept, `newest_commit_ts_xid` moves along to the last id before it. PostgreSQL's own value is the last
    /// one that *committed*; between the two lie only ids whose entries are zero, which mean "no timestamp" as well.
    #[must_use]
    pub fn with_next_xid(mut self, next_xid: u64) -> ClusterState {
        self.set_next_xid(next_xid);
        self
    }

    /// What [`ClusterState::with_next_xid`] does, in place.
    pub fn set_next_xid(&mut self, next_xid: u64) {
        self.counters.next_xid = next_xid;
        if self.commit_ts_active() && self.counters.oldest_commit_ts_xid != 0 {
            self.counters.newest_commit_ts_xid = previous_xid(next_xid as u32);
        }
    }

    /// This state with another next multixact and member offset, of which 32 bits are used.
    #[must_use]
    pub fn with_next_multi(mut self, multi: u32, offset: u64) -> ClusterState {
        self.counters.next_multi = multi;
        self.counters.next_multi_offset = offset as u32;
        self
    }

    /// The state as bytes, for storage.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.control.to_bytes();
        bytes.truncate(STORED_CONTROL_SIZE);
        bytes.extend_from_slice(&self.counters.to_bytes(self.control.version));
        bytes
    }

    /// The state from what [`ClusterState::to_bytes`] made.
    ///
    /// # Errors
    /// [`ControlFileError`] if the bytes are something else.
    pub fn parse(bytes: &[u8]) -> Result<ClusterState, ControlFileError> {
        let need = STORED_CONTROL_SIZE + CheckPoint::SIZE;
        let short = ControlFileError::TooShort { got: bytes.len(), need };
        let (control, counters) = bytes.split_at_checked(STORED_CONTROL_SIZE).ok_or(short)?;
        let control = ControlFile::parse(control)?;
        let counters = CheckPoint::parse(control.version, counters).ok_or(short)?;
        Ok(ClusterState { control, counters })
    }
}

/// How many bytes of a control file are kept: more than the structure of any version has.
const STORED_CONTROL_SIZE: usize = 304;

/// The transaction id before one (`TransactionIdRetreat`): ids below [`FIRST_NORMAL_XID`] are left out of the circle.
#[must_use]
pub fn previous_xid(xid: u32) -> u32 {
    match xid.wrapping_sub(1) {
        id if id < FIRST_NORMAL_XID => u32::MAX,
        id => id,
    }
}

/// The transaction id after one (`TransactionIdAdvance`): ids below [`FIRST_NORMAL_XID`] are left out of the circle.
#[must_use]
pub fn next_xid(xid: u32) -> u32 {
    xid.wrapping_add(1).max(FIRST_NORMAL_XID)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PgVersion;

    fn state(version: PgVersion) -> ClusterState {
        ClusterState::new(ControlFile::initial(version, 7))
    }

    #[test]
    fn states_are_stored_and_read_again() {
        for version in PgVersion::ALL {
            let mut state = state(version).with_next_xid(1 << 32 | 77).with_next_multi(5, 9);
            state.counters.full_page_writes = false;
            assert_eq!(ClusterState::parse(&state.to_bytes()), Ok(state.clone()));
            assert!(ClusterState::parse(&state.to_bytes()[1..]).is_err());
        }
    }

    #[test]
    fn the_newest_commit_timestamp_follows_only_while_they_are_kept() {
        let off = state(PgVersion::V15).with_next_xid(800);
        assert_eq!(off.counters.newest_commit_ts_xid, 0);
        let mut on = off;
        on.control.track_commit_timestamp = true;
        on.counters.oldest_commit_ts_xid = 800;
        on.counters.newest_commit_ts_xid = 800;
        let on = on.with_next_xid(900);
        assert_eq!(on.counters.newest_commit_ts_xid, 899);
        assert_eq!(on.with_next_xid(1 << 32 | 3).counters.newest_commit_ts_xid, u32::MAX);
    }
}
