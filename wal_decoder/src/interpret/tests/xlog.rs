//! Checkpoints, settings, counters.

use pgdata::{Change, CheckPoint, ClusterState, Lsn, PageEffect, PgVersion, SlruKind};

use crate::Interpreter;
use crate::interpret::testing::*;
use crate::rmgr::RM_XLOG_ID;

const SHUTDOWN: u8 = 0x00;
const ONLINE: u8 = 0x10;

fn checkpoint(version: PgVersion) -> CheckPoint {
    CheckPoint {
        redo: Lsn(0x4FF0),
        timeline: 3,
        prev_timeline: 2,
        next_xid: 5000,
        next_oid: 24_576,
        next_multi: 50,
        next_multi_offset: 90,
        oldest_xid: 700,
        oldest_xid_db: 4,
        oldest_multi: 20,
        oldest_multi_db: 5,
        time: 1_700_000_000,
        oldest_active_xid: 4990,
        ..CheckPoint::initial(version)
    }
}

fn after(state: ClusterState, info: u8, data: &[u8]) -> (ClusterState, Vec<Change>) {
    let version = state.control.version;
    let mut interpreter = Interpreter::new(version, state);
    let mut out = Vec::new();
    interpreter.changes(&record(version, RM_XLOG_ID, info, data), &mut out).unwrap();
    (interpreter.state().clone(), out)
}

#[test]
fn a_shutdown_checkpoint_is_believed() {
    for version in PgVersion::ALL {
        let written = checkpoint(version);
        let before = state(version).with_next_xid(9000).with_next_multi(80, 200);
        let (state, out) = after(before, SHUTDOWN, &written.to_bytes(version));
        assert_eq!(state.counters, written);
        assert_eq!(out, [Change::Cluster(Box::new(state))]);
    }
}

#[test]
fn an_online_checkpoint_is_a_minimum() {
    for version in PgVersion::ALL {
        let written = checkpoint(version);
        let (risen, _) = after(state(version), ONLINE, &written.to_bytes(version));
        let expected = CheckPoint { next_oid: CheckPoint::initial(version).next_oid, ..written.clone() };
        assert_eq!(risen.counters, expected);
        let mut high = state(version).with_next_xid(9000).with_next_multi(80, 200);
        high.counters.oldest_xid = 800;
        high.counters.oldest_multi = 30;
        let (kept, _) = after(high.clone(), ONLINE, &written.to_bytes(version));
        assert_eq!(kept.counters.next_xid, 9000);
        assert_eq!((kept.counters.next_multi, kept.counters.next_multi_offset), (80, 200));
        assert_eq!((kept.counters.oldest_xid, kept.counters.oldest_multi), (800, 30));
        assert_eq!(kept.counters.redo, written.redo);
    }
}

#[test]
fn short_checkpoints_are_refused() {
    let bytes = checkpoint(PgVersion::V17).to_bytes(PgVersion::V17);
    for info in [SHUTDOWN, ONLINE] {
        assert!(changes_of(&record(PgVersion::V17, RM_XLOG_ID, info, &bytes[..87])).is_err());
    }
}

#[test]
fn the_next_oid_is_believed() {
    let data = Bytes::default().u32(5).0;
    assert_eq!(after(state(PgVersion::V15), 0x30, &data).0.counters.next_oid, 5);
}

#[test]
fn full_page_writes_are_followed() {
    assert!(!after(state(PgVersion::V15), 0x80, &[0]).0.counters.full_page_writes);
}

#[test]
fn a_new_timeline_is_followed() {
    let data = Bytes::default().i64(0).u32s(&[7, 6, 1]).0;
    let counters = after(state(PgVersion::V18), 0x90, &data).0.counters;
    assert_eq!((counters.timeline, counters.prev_timeline), (7, 6));
}

fn parameters(track: bool) -> Vec<u8> {
    Bytes::default().u32s(&[200, 9, 11, 12, 65, 2]).u8(1).u8(u8::from(track)).0
}

#[test]
fn settings_are_followed() {
    for version in PgVersion::ALL {
        let (state, _) = after(state(version), 0x60, &parameters(false));
        let control = &state.control;
        assert_eq!((control.max_connections, control.max_worker_processes), (200, 9));
        assert_eq!((control.max_wal_senders, control.max_prepared_xacts), (11, 12));
        assert_eq!((control.max_locks_per_xact, control.wal_level), (65, 2));
        assert!(control.wal_log_hints);
        assert_eq!(state.counters.wal_level, if version >= PgVersion::V17 { 2 } else { 0 });
    }
}

#[test]
fn commit_timestamps_begin_with_a_page_and_end_with_all_files_gone() {
    let (on, begun) = after(state(PgVersion::V16), 0x60, &parameters(true));
    assert_eq!(begun[0], slru(SlruKind::CommitTs, 1, PageEffect::ModifyOrExtend));
    assert_eq!((on.counters.oldest_commit_ts_xid, on.counters.newest_commit_ts_xid), (1000, 1000));
    let (_, again) = after(on.clone(), 0x60, &parameters(true));
    assert!(matches!(again[..], [Change::Cluster(_)]));
    let (off, ended) = after(on, 0x60, &parameters(false));
    assert_eq!(ended[0], Change::DropSlru(SlruKind::CommitTs));
    assert_eq!((off.counters.oldest_commit_ts_xid, off.counters.newest_commit_ts_xid), (0, 0));
}

#[test]
fn records_for_others_change_nothing() {
    for info in [0x20, 0x40, 0x50, 0x70, 0xD0] {
        assert_eq!(changes_of(&record(PgVersion::V15, RM_XLOG_ID, info, &[])).unwrap(), []);
    }
    assert_eq!(changes_of(&record(PgVersion::V17, RM_XLOG_ID, 0xE0, &[])).unwrap(), []);
    assert!(changes_of(&record(PgVersion::V16, RM_XLOG_ID, 0xE0, &[])).is_err());
    assert!(changes_of(&record(PgVersion::V18, RM_XLOG_ID, 0xC0, &[])).is_err());
}
