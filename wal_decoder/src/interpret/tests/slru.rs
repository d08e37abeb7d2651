//! Pages of `pg_xact` and `pg_commit_ts`.

use pgdata::{Change, PageEffect, PgVersion, SlruKind};

use crate::interpret::testing::*;
use crate::rmgr::*;
use crate::slru_zero_page;

#[test]
fn zero_pages_are_made_anew() {
    for version in PgVersion::ALL {
        for (rmid, info, kind) in [
            (RM_CLOG_ID, 0x00, SlruKind::Clog),
            (RM_COMMIT_TS_ID, 0x00, SlruKind::CommitTs),
            (RM_MULTIXACT_ID, 0x00, SlruKind::MultiXactOffsets),
            (RM_MULTIXACT_ID, 0x10, SlruKind::MultiXactMembers),
        ] {
            let data = Bytes::default().page(version, 100).0;
            let changes = changes_of(&record(version, rmid, info, &data)).unwrap();
            assert_eq!(changes, [slru(kind, 100, PageEffect::Replace)]);
        }
    }
}

#[test]
fn pages_beyond_the_end_are_refused() {
    for (page, good) in [(131_071, true), (131_072, false), (u32::MAX, false)] {
        let data = Bytes::default().page(PgVersion::V17, page).0;
        assert_eq!(slru_zero_page(&record(PgVersion::V17, RM_CLOG_ID, 0, &data)).is_ok(), good);
    }
    let negative = Bytes::default().page(PgVersion::V15, u32::MAX).0;
    assert!(slru_zero_page(&record(PgVersion::V15, RM_CLOG_ID, 0, &negative)).is_err());
    assert!(slru_zero_page(&record(PgVersion::V17, RM_CLOG_ID, 0, &negative)).is_err(), "four bytes only");
}

#[test]
fn clog_truncation_moves_the_oldest_transaction() {
    for version in PgVersion::ALL {
        let data = Bytes::default().page(version, 5).u32s(&[5 * 32_768 + 7, 16384]).0;
        let mut interpreter = crate::Interpreter::new(version, state(version).with_next_xid(10 << 15));
        let mut out = Vec::new();
        interpreter.changes(&record(version, RM_CLOG_ID, 0x10, &data), &mut out).unwrap();
        assert_eq!(out[0], Change::TruncateSlru { kind: SlruKind::Clog, cutoff_page: 5 });
        assert!(matches!(out[1], Change::Cluster(_)));
        assert_eq!(interpreter.state().counters.oldest_xid, 5 * 32_768 + 7);
        assert_eq!(interpreter.state().counters.oldest_xid_db, 16384);
    }
}

#[test]
fn clog_is_not_truncated_beyond_the_page_in_use() {
    let data = Bytes::default().page(PgVersion::V15, 5).u32s(&[3, 1]).0;
    assert_eq!(changes_of(&record(PgVersion::V15, RM_CLOG_ID, 0x10, &data)).unwrap(), []);
}

#[test]
fn commit_ts_truncation_has_no_such_guard() {
    for version in PgVersion::ALL {
        let data = Bytes::default().page(version, 5).u32(819 * 5).0;
        let changes = changes_of(&record(version, RM_COMMIT_TS_ID, 0x10, &data)).unwrap();
        assert_eq!(changes, [Change::TruncateSlru { kind: SlruKind::CommitTs, cutoff_page: 5 }]);
    }
}

#[test]
fn unknown_operations_are_refused() {
    for (rmid, info) in [(RM_CLOG_ID, 0x20), (RM_COMMIT_TS_ID, 0x20), (RM_MULTIXACT_ID, 0x40)] {
        assert!(changes_of(&record(PgVersion::V18, rmid, info, &[0; 64])).is_err());
    }
}
