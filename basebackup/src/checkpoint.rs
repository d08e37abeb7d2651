//! The shutdown checkpoint at the backup's LSN: what its record and `pg_control` say.

use pgdata::{CheckPoint, ClusterState, ControlFile, DbState, Lsn, PgVersion};

/// Where the counter of unlogged relations starts (`FirstNormalUnloggedLSN`): they all are as their init forks made them.
pub(crate) const FIRST_UNLOGGED_LSN: Lsn = Lsn(1000);

/// The body of a shutdown checkpoint record that starts at `start`.
///
/// Its time is that of the last checkpoint before it: the same LSN gives the same bytes, whenever it is asked for.
pub(crate) fn check_point(state: &ClusterState, start: Lsn) -> CheckPoint {
    let counters = &state.counters;
    let wal_level = if state.control.version >= PgVersion::V17 { state.control.wal_level } else { 0 };
    CheckPoint {
        redo: start,
        // No timeline begins with this record.
        prev_timeline: counters.timeline,
        wal_level,
        // "InvalidTransactionId if it's a shutdown checkpoint": nothing runs.
        oldest_active_xid: 0,
        ..counters.clone()
    }
}

/// The control file of a server that was shut down by this checkpoint.
pub(crate) fn control_file(state: &ClusterState, check_point: &CheckPoint) -> ControlFile {
    ControlFile {
        state: DbState::ShutDown,
        time: check_point.time,
        check_point: check_point.redo,
        check_point_copy: check_point.clone(),
        unlogged_lsn: FIRST_UNLOGGED_LSN,
        min_recovery_point: Lsn::INVALID,
        min_recovery_point_timeline: 0,
        backup_start_point: Lsn::INVALID,
        backup_end_point: Lsn::INVALID,
        backup_end_required: false,
        ..state.control.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The state at the end of an online backup from a standby, so that every field differs from what a clean stop leaves.
    fn state(version: PgVersion) -> ClusterState {
        let mut control = ControlFile::initial(version, 42);
        control.state = DbState::InArchiveRecovery;
        control.check_point = Lsn(0x100);
        control.unlogged_lsn = Lsn(77_777);
        control.min_recovery_point = Lsn(0x300);
        control.min_recovery_point_timeline = 3;
        control.backup_start_point = Lsn(0x400);
        control.backup_end_point = Lsn(0x500);
        control.backup_end_required = true;
        control.wal_level = 2;
        control.data_checksum_version = 1;
        control.max_prepared_xacts = 20;
        control.mock_authentication_nonce = [9; 32];
        control.check_point_copy.next_xid = 5;
        let mut state = ClusterState::new(control).with_next_xid(7 << 32 | 1000).with_next_multi(50, 70);
        state.counters.timeline = 4;
        state.counters.prev_timeline = 3;
        state.counters.oldest_active_xid = 990;
        state.counters.time = 1_700_000_000;
        state.counters.redo = Lsn(0x80);
        state
    }

    #[test]
    fn a_control_file_says_that_the_server_was_shut_down_here() {
        for version in PgVersion::ALL {
            let state = state(version);
            let start = Lsn(0x300_0028);
            let check_point = check_point(&state, start);
            let control = ControlFile::parse(&control_file(&state, &check_point).to_bytes()).unwrap();
            assert_eq!((control.state, control.check_point), (DbState::ShutDown, start));
            assert_eq!(control.check_point_copy, check_point);
            assert_eq!(control.unlogged_lsn, Lsn(1000));
            assert_eq!((control.min_recovery_point, control.min_recovery_point_timeline), (Lsn::INVALID, 0));
            assert_eq!((control.backup_start_point, control.backup_end_point), (Lsn::INVALID, Lsn::INVALID));
            assert!(!control.backup_end_required);
            assert_eq!(control.time, 1_700_000_000);
            let kept =
                ControlFile { data_checksum_version: 1, max_prepared_xacts: 20, wal_level: 2, ..control.clone() };
            assert_eq!((kept.system_identifier, kept.mock_authentication_nonce), (42, [9; 32]));
            assert_eq!(kept, control);
        }
    }

    #[test]
    fn a_shutdown_checkpoint_has_the_counters_and_its_own_place() {
        for version in PgVersion::ALL {
            let check_point = check_point(&state(version), Lsn(0x1000));
            assert_eq!(check_point.redo, Lsn(0x1000));
            assert_eq!((check_point.timeline, check_point.prev_timeline), (4, 4));
            assert_eq!(check_point.next_xid, 7 << 32 | 1000);
            assert_eq!((check_point.next_multi, check_point.next_multi_offset), (50, 70));
            assert_eq!(check_point.oldest_active_xid, 0);
            assert_eq!(check_point.wal_level, if version >= PgVersion::V17 { 2 } else { 0 });
            assert_eq!(CheckPoint::parse(version, &check_point.to_bytes(version)), Some(check_point));
        }
    }
}
