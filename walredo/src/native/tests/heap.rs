//! What heap records do that a workload seldom makes them do.

use pgdata::{Page, PageKey, PgVersion, page_lsn};
use wal_decoder::rmgr::*;

use super::super::testing::*;
use crate::{NativeRedo, RedoError};

const KEY: PageKey = PageKey::relation(REL, 0x1_0002);
const XID: u32 = 0x500;

fn record(rmid: u8, info: u8, main: &[u8], data: &[u8]) -> Raw {
    let mut raw = Raw::new(rmid, info, main.to_vec());
    raw.xid = XID;
    raw.block_with(0, REL, KEY.block, info & 0x80 != 0, data)
}

/// A page with one tuple of this user data, in tuple 1.
fn page_with(user_data: &[u8]) -> Raw {
    record(RM_HEAP_ID, 0x80, &[1, 0, 0], &[&[1, 0x40, 0x00, 0x09, 24, 0], user_data].concat())
}

fn native(version: PgVersion, records: &[Raw]) -> Result<Box<Page>, RedoError> {
    apply_with(&NativeRedo::new(false, None::<Recorder>), version, KEY, None, records)
}

/// A tuple, by its line pointer.
fn tuple(page: &Page, number: usize) -> &[u8] {
    let at = 20 + 4 * number;
    let id = u32::from_le_bytes(page[at..at + 4].try_into().unwrap());
    let (offset, length) = ((id & 0x7FFF) as usize, (id >> 17) as usize);
    &page[offset..offset + length]
}

/// `xl_heap_delete` of tuple 1.
fn delete(infobits: u8, flags: u8) -> Raw {
    record(RM_HEAP_ID, 0x10, &[&words(&[0x777])[..], &[1, 0, infobits, flags]].concat(), &[])
}

#[test]
fn a_new_tuple_has_its_own_address() {
    let page = native(PgVersion::V15, &[page_with(b"abc")]).unwrap();
    let tuple = tuple(&page, 1);
    assert_eq!(tuple[..4], XID.to_le_bytes());
    // t_ctid: the block's high half first.
    assert_eq!(tuple[12..18], [1, 0, 2, 0, 1, 0]);
    assert_eq!(tuple[24..], *b"abc");
}

#[test]
fn a_deletion_by_an_update_of_the_partition_key_says_so() {
    let page = native(PgVersion::V16, &[page_with(b"abc"), delete(0, 1 << 4)]).unwrap();
    assert_eq!(tuple(&page, 1)[12..18], [0xFF, 0xFF, 0xFF, 0xFF, 0xFD, 0xFF]);
}

#[test]
fn an_insertion_taken_back_leaves_no_inserter() {
    let page = native(PgVersion::V16, &[page_with(b"abc"), delete(0, 1 << 3)]).unwrap();
    assert_eq!(tuple(&page, 1)[..8], [0; 8]);
}

#[test]
fn a_deletion_makes_the_page_prunable_and_forgets_what_was_of_xmax() {
    let page = native(PgVersion::V15, &[page_with(b"abc"), delete(0x10, 0)]).unwrap();
    assert_eq!(page[20..24], XID.to_le_bytes());
    let tuple = tuple(&page, 1);
    assert_eq!(tuple[4..8], 0x777_u32.to_le_bytes());
    // HEAP_KEYS_UPDATED set, HEAP_HOT_UPDATED cleared; XMIN_COMMITTED stays, XMAX_INVALID goes.
    assert_eq!(tuple[18..22], [1, 0x20, 0, 1]);
}

#[test]
fn an_update_takes_the_ends_of_the_old_tuple() {
    let flags = 1 << 5 | 1 << 6;
    let main = [&words(&[0x777])[..], &[1, 0, 0, flags], &words(&[0]), &[2, 0]].concat();
    // Prefix 3, suffix 2, header, a byte of null bitmap, and the middle.
    let data = [3, 0, 2, 0, 1, 0, 0, 0x09, 24, 0xEE, b'-'];
    let page = native(PgVersion::V18, &[page_with(b"abcdefg"), record(RM_HEAP_ID, 0x40, &main, &data)]).unwrap();
    let new = tuple(&page, 2);
    assert_eq!((new[23], &new[24..]), (0xEE, &b"abc-fg"[..]));
    assert_eq!(tuple(&page, 1)[12..18], [1, 0, 2, 0, 2, 0], "the old version points at the new one");
}

#[test]
fn ends_longer_than_the_old_tuple_are_refused() {
    for (prefix, suffix) in [(8, 1), (1, 100)] {
        let main = [&words(&[0x777])[..], &[1, 0, 0, 1 << 5 | 1 << 6], &words(&[0]), &[2, 0]].concat();
        let data = [prefix, 0, suffix, 0, 1, 0, 0, 0x09, 24, 0xEE, b'-'];
        let error = native(PgVersion::V18, &[page_with(b"abcdefg"), record(RM_HEAP_ID, 0x40, &main, &data)]);
        let error = error.unwrap_err().to_string();
        assert!(error.contains("HOT_UPDATE") && error.contains("fix length"), "{error}");
    }
}

#[test]
fn freezing_knows_the_old_vacuum() {
    // 15: each tuple by itself. Its flags say that xvac becomes frozen.
    let data = [&words(&[0])[..], &[1, 0, 1, 0, 0, 0x0B, 0x02, 0]].concat();
    let freeze = record(RM_HEAP2_ID, 0x30, &[&words(&[9])[..], &[1, 0]].concat(), &data);
    let page = native(PgVersion::V15, &[page_with(b"abc"), freeze]).unwrap();
    assert_eq!(tuple(&page, 1)[8..12], [2, 0, 0, 0]);
    assert_eq!(tuple(&page, 1)[18..22], [1, 0, 0, 0x0B]);
}

#[test]
fn the_same_freeze_is_laid_out_as_each_version_does() {
    let plan = [&words(&[0])[..], &[1, 0, 0, 0x0B, 0, 0, 1, 0]].concat();
    let of_16 = record(RM_HEAP2_ID, 0x30, &[&words(&[9])[..], &[1, 0, 0]].concat(), &[&plan[..], &[1, 0]].concat());
    let since_17 = record(RM_HEAP2_ID, 0x20, &[0, 1 << 4], &[&[1, 0, 0, 0][..], &plan, &[1, 0]].concat());
    let page_16 = native(PgVersion::V16, &[page_with(b"abc"), of_16]).unwrap();
    let page_17 = native(PgVersion::V17, &[page_with(b"abc"), since_17]).unwrap();
    assert_eq!(tuple(&page_16, 1)[18..22], [1, 0, 0, 0x0B]);
    assert_eq!(page_16, page_17);
}

#[test]
fn a_page_that_becomes_all_visible_gets_the_lsn_only_if_hints_are_logged() {
    let main = [&words(&[9])[..], &[1]].concat();
    let visible = Raw::new(RM_HEAP2_ID, 0x40, main).block(0, VM, 2, None).block(1, REL, KEY.block, None);
    for (logged, lsn) in [(false, 0x100), (true, 0x200)] {
        let engine = NativeRedo::new(logged, None::<Recorder>);
        let records = [page_with(b"abc"), visible.clone()];
        let page = apply_with(&engine, PgVersion::V15, KEY, None, &records).unwrap();
        assert_eq!((page[10], page_lsn(&page).0), (4, lsn));
    }
}

#[test]
fn a_tuple_number_beyond_what_a_heap_page_holds_is_refused() {
    let insert = record(RM_HEAP_ID, 0, &[0x24, 0x01, 0], &[1, 0, 0, 9, 24, 0]);
    assert!(native(PgVersion::V15, &[page_with(b"abc"), insert]).is_err());
}
