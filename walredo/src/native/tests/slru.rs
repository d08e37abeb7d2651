//! SLRU pages.

use std::collections::HashMap;

use pgdata::{PageKey, PgVersion, SlruKind};
use proptest::prelude::*;
use wal_decoder::rmgr::*;

use super::super::testing::*;
use crate::RedoError;

const V: PgVersion = PgVersion::V16;
const COMMIT: u8 = 0x00;
const ABORT: u8 = 0x20;
const TIME: i64 = 0x0102_0304_0506_0708;

fn end(info: u8, xid: u32, subxids: &[u32]) -> Raw {
    let mut data = TIME.to_le_bytes().to_vec();
    let mut record = Raw::new(RM_XACT_ID, info, vec![]);
    if !subxids.is_empty() {
        record.info |= 0x80;
        data.extend(words(&[1 << 1, subxids.len() as u32]));
        data.extend(words(subxids));
    }
    record.main_data = data;
    record.xid = xid;
    record
}

fn zero(rmid: u8, info: u8, page: u32) -> Raw {
    Raw::new(rmid, info, words(&[page]))
}

fn create(multi: u32, offset: u32, members: &[(u32, u32)]) -> Raw {
    let mut data = words(&[multi, offset, members.len() as u32]);
    for (xid, status) in members {
        data.extend(words(&[*xid, *status]));
    }
    Raw::new(RM_MULTIXACT_ID, 0x20, data)
}

fn key(kind: SlruKind, page: u32) -> PageKey {
    PageKey::slru(kind, page)
}

#[test]
fn a_zero_page_is_zero() {
    for (rmid, info, kind) in [
        (RM_CLOG_ID, 0, SlruKind::Clog),
        (RM_COMMIT_TS_ID, 0, SlruKind::CommitTs),
        (RM_MULTIXACT_ID, 0, SlruKind::MultiXactOffsets),
        (RM_MULTIXACT_ID, 0x10, SlruKind::MultiXactMembers),
    ] {
        assert_eq!(*apply(V, key(kind, 40), None, &[zero(rmid, info, 40)]).unwrap(), [0; 8192]);
        let wide = Raw::new(rmid, info, words(&[40, 0]));
        assert_eq!(*apply(PgVersion::V17, key(kind, 40), Some(&[1; 8192]), &[wide]).unwrap(), [0; 8192]);
    }
}

#[test]
fn records_need_a_page_that_is_there() {
    for (kind, record) in [
        (SlruKind::Clog, end(COMMIT, 1000, &[])),
        (SlruKind::CommitTs, end(COMMIT, 800, &[])),
        (SlruKind::MultiXactOffsets, create(5, 1, &[(9, 0)])),
        (SlruKind::MultiXactMembers, create(5, 1, &[(9, 0)])),
    ] {
        let error = apply(V, key(kind, 0), None, &[record]).unwrap_err();
        assert!(matches!(error, RedoError::NoBase { .. }), "{error}");
    }
}

#[test]
fn records_about_other_pages_are_refused() {
    for (kind, record) in [
        (SlruKind::Clog, end(COMMIT, 1000, &[])),
        (SlruKind::Clog, zero(RM_CLOG_ID, 0, 8)),
        (SlruKind::CommitTs, end(COMMIT, 1, &[])),
        (SlruKind::CommitTs, end(ABORT, 9 * 819, &[])),
        (SlruKind::MultiXactOffsets, create(5, 1, &[(9, 0)])),
        (SlruKind::MultiXactMembers, create(5, 1, &[(9, 0)])),
        (SlruKind::MultiXactMembers, Raw::new(RM_BTREE_ID, 0, vec![0; 40])),
    ] {
        assert!(apply(V, key(kind, 9), Some(&[0; 8192]), &[record]).is_err());
    }
}

#[test]
fn commits_and_aborts_set_two_bits_each() {
    let page = key(SlruKind::Clog, 1);
    let records = [end(COMMIT, 32_768, &[32_770, 70_000]), end(ABORT, 32_771, &[])];
    let made = apply(V, page, Some(&[0; 8192]), &records).unwrap();
    assert_eq!(made[0], 0b10_01_00_01);
    assert!(made[1..].iter().all(|byte| *byte == 0));
}

#[test]
fn subtransactions_on_another_page_are_set_there() {
    let made = apply(V, key(SlruKind::Clog, 2), Some(&[0; 8192]), &[end(COMMIT, 1000, &[1001, 65_537])]).unwrap();
    assert_eq!(made[0], 0b01_00);
}

#[test]
fn commit_timestamps_have_time_and_origin() {
    let mut record = end(COMMIT, 819, &[820, 1639]);
    record.origin = Some(0x0A0B);
    let made = apply(V, key(SlruKind::CommitTs, 1), Some(&[0; 8192]), &[record]).unwrap();
    let entry = [8, 7, 6, 5, 4, 3, 2, 1, 0x0B, 0x0A];
    assert_eq!(made[..10], entry);
    assert_eq!(made[10..20], entry);
    assert_eq!(made[8180..8190], [0; 10]);
    // The last subtransaction is the first of page 2.
    let next = apply(V, key(SlruKind::CommitTs, 2), Some(&[0; 8192]), &[end(COMMIT, 819, &[820, 1639])]).unwrap();
    assert_eq!(next[10..18], TIME.to_le_bytes());
}

#[test]
fn the_first_page_of_commit_timestamps_may_come_with_the_setting() {
    let setting = Raw::new(RM_XLOG_ID, 0x60, words(&[1, 2, 3, 4, 5, 6, 0x101]));
    let page = key(SlruKind::CommitTs, 1);
    assert_eq!(*apply(V, page, None, std::slice::from_ref(&setting)).unwrap(), [0; 8192]);
    assert_eq!(*apply(V, page, Some(&[3; 8192]), &[setting]).unwrap(), [3; 8192]);
}

#[test]
fn a_multixact_writes_its_own_and_the_next_ones_offset() {
    let page = key(SlruKind::MultiXactOffsets, 0);
    let made = apply(V, page, Some(&[0; 8192]), &[create(5, 100, &[(9, 0), (10, 1), (11, 2)])]).unwrap();
    assert_eq!(made[20..28], words(&[100, 103]));
}

#[test]
fn the_next_offset_may_make_its_page() {
    let record = create(2047, 100, &[(9, 0)]);
    let next = apply(V, key(SlruKind::MultiXactOffsets, 1), None, std::slice::from_ref(&record)).unwrap();
    assert_eq!(next[..8], words(&[101, 0]));
    let own = apply(V, key(SlruKind::MultiXactOffsets, 0), Some(&[0; 8192]), &[record]).unwrap();
    assert_eq!(own[8184..], words(&[0, 100]));
}

#[test]
fn ids_and_offsets_go_around_their_circles() {
    let record = create(u32::MAX, u32::MAX, &[(9, 5)]);
    let first = apply(V, key(SlruKind::MultiXactOffsets, 0), Some(&[0; 8192]), std::slice::from_ref(&record)).unwrap();
    assert_eq!(first[..12], words(&[0, 1, 0]));
    let last_page = u32::MAX / 1636;
    let members = apply(V, key(SlruKind::MultiXactMembers, last_page), Some(&[0; 8192]), &[record]).unwrap();
    assert_eq!(members.iter().filter(|byte| **byte != 0).count(), 2);
}

#[test]
fn members_lie_in_groups() {
    let record = create(5, 1634, &[(0x0101, 1), (0x0202, 2), (0x0303, 3)]);
    let first = apply(V, key(SlruKind::MultiXactMembers, 0), Some(&[0; 8192]), std::slice::from_ref(&record)).unwrap();
    assert_eq!(first[8160..8164], [0, 0, 1, 2]);
    assert_eq!(first[8172..8180], words(&[0x0101, 0x0202]));
    let second = apply(V, key(SlruKind::MultiXactMembers, 1), Some(&[0; 8192]), &[record]).unwrap();
    assert_eq!(second[..8], [3, 0, 0, 0, 3, 3, 0, 0]);
}

proptest! {
    #[test]
    fn any_ends_agree_with_a_map(ends in prop::collection::vec((3_u32..60_000, any::<bool>(), prop::collection::vec(3_u32..60_000, 0..4)), 1..40)) {
        let mut model: HashMap<u32, u8> = HashMap::new();
        let mut records = vec![zero(RM_CLOG_ID, 0, 0)];
        for (xid, commit, subxids) in &ends {
            let xids: Vec<u32> = std::iter::once(*xid).chain(subxids.iter().copied()).collect();
            if xids.iter().all(|xid| xid / 32_768 != 0) {
                continue;
            }
            records.push(end(if *commit { COMMIT } else { ABORT }, *xid, subxids));
            for xid in xids {
                model.insert(xid, if *commit { 1 } else { 2 });
            }
        }
        let page = apply(V, key(SlruKind::Clog, 0), None, &records).unwrap();
        for xid in 0..32_768_u32 {
            let status = page[xid as usize / 4] >> (xid % 4 * 2) & 3;
            prop_assert_eq!(status, model.get(&xid).copied().unwrap_or(0), "transaction {}", xid);
        }
    }

    #[test]
    fn any_multixacts_agree_with_arrays(sizes in prop::collection::vec(1_u32..20, 1..60)) {
        let (mut multi, mut offset, mut xid) = (1_u32, 1_u32, 100_u32);
        let mut offsets = vec![0_u32; 2048];
        let mut members: Vec<(u32, u8)> = vec![(0, 0); 1636];
        let mut records = Vec::new();
        for size in sizes {
            let of: Vec<(u32, u32)> = (0..size).map(|i| (xid + i, i % 6)).collect();
            records.push(create(multi, offset, &of));
            offsets[multi as usize] = offset;
            for (i, (xid, status)) in of.iter().enumerate() {
                members[offset as usize + i] = (*xid, *status as u8);
            }
            (multi, offset, xid) = (multi + 1, offset + size, xid + size);
            offsets[multi as usize] = offset;
        }
        let zeros = [0; 8192];
        let page = apply(V, key(SlruKind::MultiXactOffsets, 0), Some(&zeros), &records).unwrap();
        prop_assert_eq!(page.to_vec(), words(&offsets));
        let page = apply(V, key(SlruKind::MultiXactMembers, 0), Some(&zeros), &records).unwrap();
        let mut expected = Vec::new();
        for group in members.chunks(4) {
            expected.extend(group.iter().map(|member| member.1));
            expected.extend(group.iter().flat_map(|member| member.0.to_le_bytes()));
        }
        expected.resize(8192, 0);
        prop_assert_eq!(page.to_vec(), expected);
    }
}
