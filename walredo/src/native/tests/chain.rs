//! What the frame does with a chain, whatever its records do.

use pgdata::{Lsn, Page, PageKey, PgVersion, page_lsn, set_page_lsn};
use wal_decoder::rmgr::*;

use super::super::testing::*;
use crate::{NativeRedo, RedoError};

const KEY: PageKey = PageKey::relation(REL, 7);
/// A resource manager of an extension, which is never native.
const CUSTOM: u8 = 200;
const VERSION: PgVersion = PgVersion::V17;

/// An insert of a tuple without user data; the first one makes the page.
fn insert(number: u16) -> Raw {
    let info = if number == 1 { 0x80 } else { 0 };
    let main = [&number.to_le_bytes()[..], &[0]].concat();
    Raw::new(RM_HEAP_ID, info, main).block_with(0, REL, 7, number == 1, &[0, 0, 0, 8, 24, 0])
}

fn custom() -> Raw {
    Raw::new(CUSTOM, 0x10, vec![0; 16]).block(0, REL, 7, None)
}

fn native(base: Option<&Page>, records: &[Raw]) -> Result<Box<Page>, RedoError> {
    apply_with(&NativeRedo::new(false, None::<Recorder>), VERSION, KEY, base, records)
}

fn tuples(page: &Page) -> usize {
    (usize::from(u16::from_le_bytes([page[12], page[13]])) - 24) / 4
}

/// How many tuples there are after some records, which engine behind was asked for what, and the last LSN.
fn asked(records: &[Raw]) -> (usize, Vec<(bool, Vec<Lsn>)>, Lsn) {
    let engine = NativeRedo::new(false, Recorder::default());
    let page = apply_with(&engine, VERSION, KEY, None, records).unwrap();
    let asked = engine.behind().0.lock().unwrap().clone();
    (tuples(&page), asked, page_lsn(&page))
}

#[test]
fn a_chain_is_applied_whole() {
    let (tuples, asked, lsn) = asked(&[insert(1), insert(2), insert(3)]);
    assert_eq!((tuples, asked, lsn), (3, vec![], Lsn(0x300)));
}

#[test]
fn only_runs_of_unknown_records_go_behind() {
    let records = [custom(), insert(1), custom(), custom(), insert(2), custom()];
    let (tuples, asked, _) = asked(&records);
    assert_eq!(tuples, 2);
    assert_eq!(asked, [(false, vec![Lsn(0x100)]), (true, vec![Lsn(0x300), Lsn(0x400)]), (true, vec![Lsn(0x600)])]);
}

#[test]
fn a_record_that_the_page_has_already_is_passed_over() {
    let mut page = *native(None, &[insert(1), insert(2)]).unwrap();
    set_page_lsn(&mut page, Lsn(0x200));
    // LSNs 0x100 to 0x300: only the last one is new to the page.
    let again = native(Some(&page), &[insert(2), insert(2), insert(3)]).unwrap();
    assert_eq!((tuples(&again), page_lsn(&again)), (3, Lsn(0x300)));
}

#[test]
fn a_record_that_makes_the_page_is_applied_whatever_the_lsn() {
    let mut page = *native(None, &[insert(1), insert(2)]).unwrap();
    set_page_lsn(&mut page, Lsn(0x9000));
    let again = native(Some(&page), &[insert(1)]).unwrap();
    assert_eq!((tuples(&again), page_lsn(&again)), (1, Lsn(0x100)));
}

#[test]
fn a_page_of_zeros_is_passed_over() {
    assert_eq!(*native(Some(&[0; 8192]), &[insert(2)]).unwrap(), [0; 8192]);
}

#[test]
fn a_change_needs_a_page() {
    assert!(matches!(native(None, &[insert(2)]), Err(RedoError::NoBase { lsn: Lsn(0x100), .. })));
}

#[test]
fn a_record_about_another_page_is_refused() {
    let other = Raw::new(RM_HEAP_ID, 0, vec![1, 0, 0]).block_with(0, REL, 8, false, &[0; 8]);
    assert!(matches!(native(None, &[insert(1), other]), Err(RedoError::NotApplicable { lsn: Lsn(0x200), .. })));
}

#[test]
fn an_image_is_restored_and_gone_on_from() {
    let base = *native(None, &[insert(1), insert(2)]).unwrap();
    let image = Raw::new(RM_XLOG_ID, 0xB0, vec![]).block(0, REL, 7, Some((&base, true)));
    let page = native(None, &[image, insert(3)]).unwrap();
    assert_eq!((tuples(&page), page_lsn(&page)), (3, Lsn(0x200)));
}

#[test]
fn an_image_to_compare_with_is_never_restored() {
    let record = Raw::new(RM_XLOG_ID, 0xB0, vec![]).block(0, REL, 7, Some((&[5; 8192], false)));
    let base = native(None, &[insert(1)]).unwrap();
    let error = native(Some(&base), &[insert(1), record]).unwrap_err();
    assert!(error.to_string().contains("no image"), "{error}");
}

#[test]
fn an_error_names_page_record_and_reason() {
    let error = native(None, &[insert(1), insert(5)]).unwrap_err().to_string();
    for part in ["1663/5/16384 block 7", "0/200", "Heap INSERT", "line pointer 5", "has 1"] {
        assert!(error.contains(part), "{error}");
    }
}
