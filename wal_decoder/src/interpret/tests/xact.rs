//! Ends of transactions.

use pgdata::{Change, Fork, Object, PageEffect, PgVersion, RelTag, SlruKind};

use crate::interpret::testing::*;
use crate::rmgr::*;
use crate::{Interpreter, Record, XactEnd, XactStatus};

const COMMIT: u8 = 0x00;
const PREPARE: u8 = 0x10;
const ABORT: u8 = 0x20;
const COMMIT_PREPARED: u8 = 0x30;
const ABORT_PREPARED: u8 = 0x40;
const HAS_INFO: u8 = 0x80;
const TIME: i64 = 712_345_678_901_234;
const ORIGIN_TIME: i64 = 712_000_000_000_000;

fn end<'a>(version: PgVersion, info: u8, data: &'a [u8]) -> Record<'a> {
    let mut record = record(version, RM_XACT_ID, info, data);
    record.xid = 1000;
    record
}

fn clog(page: u32) -> Change {
    slru(SlruKind::Clog, page, PageEffect::Modify)
}

/// Every part there is, in its order, with the prepared transaction 990.
fn everything(version: PgVersion, commit: bool) -> Vec<u8> {
    let xinfo = 0x1FF & if commit { !0 } else { !(1 << 3) };
    let stats = if version >= PgVersion::V18 { 16 } else { 12 };
    let mut bytes = Bytes::default().i64(TIME).u32(xinfo).u32s(&[5, 1663]).u32s(&[2, 1001, 40_000]);
    bytes = bytes.u32s(&[1, 1663, 5, 16384]).u32(2).raw(&vec![9; 2 * stats]);
    if commit {
        bytes = bytes.u32(1).raw(&[8; 16]);
    }
    bytes.u32(990).raw(b"my gid\0").i64(0x1234).i64(ORIGIN_TIME).0
}

#[test]
fn a_plain_commit_sets_two_bits_and_moves_the_next_id() {
    let data = Bytes::default().i64(TIME).0;
    for version in PgVersion::ALL {
        for info in [COMMIT, ABORT] {
            assert_eq!(changes_of(&end(version, info, &data)).unwrap(), [clog(0), Change::NextXid(1001)]);
        }
    }
}

#[test]
fn all_parts_are_read_in_every_version() {
    for version in PgVersion::ALL {
        for (info, status, prepared) in [
            (COMMIT, XactStatus::Committed, false),
            (ABORT, XactStatus::Aborted, false),
            (COMMIT_PREPARED, XactStatus::Committed, true),
            (ABORT_PREPARED, XactStatus::Aborted, true),
        ] {
            let data = everything(version, status == XactStatus::Committed);
            let mut record = end(version, info | HAS_INFO, &data);
            record.origin = Some(3);
            let expected = XactEnd {
                status,
                xid: if prepared { 990 } else { 1000 },
                prepared,
                subxids: vec![1001, 40_000],
                dropped: vec![RelTag { spc: 1663, db: 5, rel: 16384, fork: Fork::Main }],
                timestamp: ORIGIN_TIME,
                origin: 3,
            };
            assert_eq!(XactEnd::parse(&record).unwrap(), Some(expected), "{version} {info:#x}");
        }
    }
}

#[test]
fn a_commit_with_everything_changes_everything_in_order() {
    for version in PgVersion::ALL {
        let data = everything(version, true);
        let changes = changes_of(&end(version, COMMIT_PREPARED | HAS_INFO, &data)).unwrap();
        let file = if version >= PgVersion::V17 { "pg_twophase/00000000000003DE" } else { "pg_twophase/000003DE" };
        let mut expected = vec![clog(0), clog(1)];
        expected.extend(Fork::ALL.map(|fork| Change::Drop(Object::Relation(REL.with_fork(fork)))));
        expected.push(Change::RemoveBlob { name: file.to_owned() });
        expected.push(Change::NextXid(40_001));
        assert_eq!(changes, expected);
    }
}

#[test]
fn commits_write_timestamps_only_while_they_are_kept() {
    let mut state = state(PgVersion::V16);
    state.control.track_commit_timestamp = true;
    let data = Bytes::default().i64(TIME).u32(1 << 1).u32s(&[1, 1639]).0;
    for (info, expected) in [(COMMIT, vec![(SlruKind::CommitTs, 1), (SlruKind::CommitTs, 2)]), (ABORT, vec![])] {
        let mut interpreter = Interpreter::new(PgVersion::V16, state.clone());
        let mut out = Vec::new();
        interpreter.changes(&end(PgVersion::V16, info | HAS_INFO, &data), &mut out).unwrap();
        let mut pages: Vec<Change> =
            expected.into_iter().map(|(kind, number)| slru(kind, number, PageEffect::Modify)).collect();
        pages.push(clog(0));
        assert_eq!(out[..pages.len()], pages[..]);
    }
}

#[test]
fn a_record_cut_short_anywhere_is_refused() {
    for version in PgVersion::ALL {
        let data = everything(version, true);
        for length in 0..data.len() {
            assert!(changes_of(&end(version, COMMIT_PREPARED | HAS_INFO, &data[..length])).is_err(), "{length}");
        }
    }
}

#[test]
fn counts_beyond_the_record_are_refused() {
    for count in [u32::MAX, 0x7FFF_FFFF, 2] {
        let data = Bytes::default().i64(TIME).u32(1 << 1).u32s(&[count, 1001]).0;
        assert!(changes_of(&end(PgVersion::V15, COMMIT | HAS_INFO, &data)).is_err());
    }
}

#[test]
fn an_end_without_a_transaction_is_refused() {
    let data = Bytes::default().i64(TIME).0;
    let mut none = end(PgVersion::V15, COMMIT, &data);
    none.xid = 0;
    assert!(changes_of(&none).is_err());
    assert!(changes_of(&end(PgVersion::V15, COMMIT_PREPARED, &data)).is_err());
}

fn state_file(xid: u32) -> Vec<u8> {
    Bytes::default().u32s(&[0x57F9_4534, 24, xid, 5]).u32(0).0
}

#[test]
fn a_prepared_transaction_has_a_state_file() {
    for (version, name) in [(PgVersion::V16, "pg_twophase/000003E8"), (PgVersion::V17, "pg_twophase/00000002000003E8")]
    {
        let data = state_file(1000);
        let mut interpreter = Interpreter::new(version, state(version).with_next_xid(2 << 32 | 1000));
        let mut out = Vec::new();
        interpreter.changes(&end(version, PREPARE, &data), &mut out).unwrap();
        let mut content = data.clone();
        content.extend(crc32c::crc32c(&data).to_le_bytes());
        let file = Change::Blob { name: name.to_owned(), content };
        assert_eq!(out, [file, Change::NextXid(2 << 32 | 1001)]);
    }
}

#[test]
fn a_state_file_of_another_length_is_refused() {
    let mut data = state_file(1000);
    data.push(0);
    assert!(changes_of(&end(PgVersion::V16, PREPARE, &data)).is_err());
    assert!(changes_of(&end(PgVersion::V16, PREPARE, &data[..9])).is_err());
}

#[test]
fn assignments_and_invalidations_change_nothing() {
    for info in [0x50, 0x60] {
        let mut record = record(PgVersion::V18, RM_XACT_ID, info, &[]);
        record.xid = 5;
        assert_eq!(changes_of(&record).unwrap(), []);
    }
    assert!(changes_of(&end(PgVersion::V18, 0x70, &[])).is_err());
}

#[test]
fn running_transactions_tell_the_next_id() {
    let data = Bytes::default().u32s(&[0, 0, 0, 2000, 1990, 1999]).0;
    let running = record(PgVersion::V15, RM_STANDBY_ID, 0x10, &data);
    assert_eq!(changes_of(&running).unwrap(), [Change::NextXid(2000)]);
    let none = Bytes::default().u32s(&[0; 6]).0;
    assert!(changes_of(&record(PgVersion::V15, RM_STANDBY_ID, 0x10, &none)).is_err());
    for info in [0x00, 0x20] {
        assert_eq!(changes_of(&record(PgVersion::V15, RM_STANDBY_ID, info, &[])).unwrap(), []);
    }
}
