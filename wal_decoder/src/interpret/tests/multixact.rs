//! Multixacts.

use pgdata::{Change, Object, PageEffect, PgVersion, SlruKind, SlruSegment};

use crate::interpret::testing::*;
use crate::rmgr::RM_MULTIXACT_ID;
use crate::{Interpreter, MultiXactCreate, MultiXactMember};

fn create(multi: u32, offset: u32, xids: &[u32]) -> Vec<u8> {
    let header = Bytes::default().u32s(&[multi, offset, xids.len() as u32]);
    xids.iter().fold(header, |bytes, xid| bytes.u32(*xid).u32(4)).0
}

fn run(interpreter: &mut Interpreter, version: PgVersion, info: u8, data: &[u8]) -> Vec<Change> {
    let mut out = Vec::new();
    interpreter.changes(&record(version, RM_MULTIXACT_ID, info, data), &mut out).unwrap();
    out
}

fn offsets(page: u32, effect: PageEffect) -> Change {
    slru(SlruKind::MultiXactOffsets, page, effect)
}

fn members(page: u32) -> Change {
    slru(SlruKind::MultiXactMembers, page, PageEffect::Modify)
}

#[test]
fn a_multixact_writes_offsets_and_members_and_moves_the_counters() {
    for version in PgVersion::ALL {
        let data = create(10, 1635, &[998, 1200]);
        let changes = changes_of(&record(version, RM_MULTIXACT_ID, 0x20, &data)).unwrap();
        let counters = [Change::NextXid(1201), Change::NextMulti { multi: 11, offset: 1637 }];
        assert_eq!(changes[..3], [offsets(0, PageEffect::Modify), members(0), members(1)]);
        assert_eq!(changes[3..], counters);
    }
}

#[test]
fn the_next_multixacts_page_is_made_if_need_be() {
    let data = create(2047, 1, &[998]);
    let changes = changes_of(&record(PgVersion::V15, RM_MULTIXACT_ID, 0x20, &data)).unwrap();
    assert_eq!(changes[..2], [offsets(0, PageEffect::Modify), offsets(1, PageEffect::ModifyOrExtend)]);
}

#[test]
fn after_the_last_multixact_comes_the_first() {
    let data = create(u32::MAX, u32::MAX, &[998, 999]);
    let record = record(PgVersion::V15, RM_MULTIXACT_ID, 0x20, &data);
    let create = MultiXactCreate::parse(&record).unwrap().unwrap();
    assert_eq!((create.next_multi(), create.next_offset()), (1, 1));
    let numbers: Vec<_> = create.numbered().collect();
    assert_eq!(
        numbers,
        [(u32::MAX, MultiXactMember { xid: 998, status: 4 }), (0, MultiXactMember { xid: 999, status: 4 })]
    );
}

#[test]
fn offset_zero_is_left_out() {
    let data = create(5, u32::MAX, &[998]);
    let create = MultiXactCreate::parse(&record(PgVersion::V18, RM_MULTIXACT_ID, 0x20, &data)).unwrap().unwrap();
    assert_eq!(create.next_offset(), 1);
}

#[test]
fn an_older_primarys_zero_page_comes_too_late_and_is_passed_over() {
    let version = PgVersion::V15;
    let mut interpreter = interpreter(version);
    let zero = |page| Bytes::default().page(version, page).0;
    run(&mut interpreter, version, 0x20, &create(2047, 1, &[998]));
    assert_eq!(run(&mut interpreter, version, 0x00, &zero(1)), []);
    run(&mut interpreter, version, 0x20, &create(2048, 2, &[998]));
    run(&mut interpreter, version, 0x20, &create(4095, 3, &[998]));
    assert_eq!(run(&mut interpreter, version, 0x00, &zero(2)), []);
    assert_eq!(run(&mut interpreter, version, 0x00, &zero(2)), [offsets(2, PageEffect::Replace)]);
}

#[test]
fn a_newer_primarys_zero_page_comes_first_and_counts() {
    let version = PgVersion::V18;
    let mut interpreter = interpreter(version);
    let zero = |page| Bytes::default().page(version, page).0;
    assert_eq!(run(&mut interpreter, version, 0x00, &zero(1)), [offsets(1, PageEffect::Replace)]);
    run(&mut interpreter, version, 0x20, &create(2047, 1, &[998]));
    assert_eq!(run(&mut interpreter, version, 0x00, &zero(2)), [offsets(2, PageEffect::Replace)]);
    run(&mut interpreter, version, 0x20, &create(4095, 2, &[998]));
    assert_eq!(run(&mut interpreter, version, 0x00, &zero(3)), [offsets(3, PageEffect::Replace)]);
}

#[test]
fn malformed_multixacts_are_refused() {
    let good = create(10, 1, &[998, 999]);
    for data in [&good[..8], &good[..good.len() - 1]] {
        assert!(changes_of(&record(PgVersion::V16, RM_MULTIXACT_ID, 0x20, data)).is_err());
    }
    for (at, value) in [(8, u32::MAX), (8, 0x4000_0000), (16, 6)] {
        let mut data = good.clone();
        data[at..at + 4].copy_from_slice(&value.to_le_bytes());
        assert!(changes_of(&record(PgVersion::V16, RM_MULTIXACT_ID, 0x20, &data)).is_err());
    }
}

fn truncate(oldest: u32, members: [u32; 2]) -> Vec<u8> {
    Bytes::default().u32s(&[16384, 1, oldest]).u32s(&members).0
}

fn dropped(segno: u32) -> Change {
    Change::Drop(Object::Slru(SlruSegment { kind: SlruKind::MultiXactMembers, segno }))
}

#[test]
fn truncation_drops_members_and_moves_the_oldest_multixact() {
    const PER_SEGMENT: u32 = 1636 * 32;
    for version in PgVersion::ALL {
        let mut interpreter = Interpreter::new(version, state(version).with_next_multi(100_000, 9));
        let changes = run(&mut interpreter, version, 0x30, &truncate(70_000, [PER_SEGMENT + 1, 3 * PER_SEGMENT]));
        let offsets = Change::TruncateSlru { kind: SlruKind::MultiXactOffsets, cutoff_page: 69_999 / 2048 };
        assert_eq!(changes[..3], [dropped(1), dropped(2), offsets]);
        assert_eq!(interpreter.state().counters.oldest_multi, 70_000);
        assert_eq!(interpreter.state().counters.oldest_multi_db, 16384);
    }
}

#[test]
fn members_are_dropped_around_the_end() {
    let last = u32::MAX / 1636 / 32;
    let data = truncate(1, [u32::MAX, 0]);
    let changes = changes_of(&record(PgVersion::V17, RM_MULTIXACT_ID, 0x30, &data)).unwrap();
    assert_eq!(changes[0], dropped(last));
    assert!(!changes[1..].iter().any(|change| matches!(change, Change::Drop(_))));
}

#[test]
fn offsets_are_not_truncated_beyond_the_page_in_use() {
    let data = truncate(70_000, [0, 0]);
    let changes = changes_of(&record(PgVersion::V15, RM_MULTIXACT_ID, 0x30, &data)).unwrap();
    assert!(matches!(changes[..], [Change::Cluster(_)]));
}
