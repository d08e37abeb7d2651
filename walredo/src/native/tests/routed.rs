//! Which chains go where.

use pgdata::{Fork, Lsn, Page, PageKey, PgVersion, page_lsn, set_page_lsn};
use wal_decoder::rmgr::*;

use super::super::testing::*;
use crate::{Redo, RedoError, RedoRequest, Routed};

const KEY: PageKey = PageKey::relation(REL, 7);

fn filled(byte: u8) -> Page {
    [byte; 8192]
}

fn change(rmid: u8) -> Raw {
    Raw::new(rmid, 0x10, vec![0; 16]).block(0, REL, 7, None)
}

fn image(rmid: u8, page: &Page) -> Raw {
    Raw::new(rmid, 0xB0, vec![]).block(0, REL, 7, Some((page, true)))
}

/// What the engine behind was asked.
fn asked(base: Option<&Page>, records: &[Raw]) -> (Vec<(bool, Vec<Lsn>)>, Box<Page>) {
    let engine = Routed::new(Recorder::default());
    let page = apply_with(&engine, PgVersion::V16, KEY, base, records).unwrap();
    let asked = engine.inner().0.lock().unwrap().clone();
    (asked, page)
}

#[test]
fn a_chain_that_ends_with_an_image_needs_no_engine() {
    let (asked, page) = asked(None, &[change(RM_HEAP2_ID), image(RM_XLOG_ID, &filled(3))]);
    assert_eq!(asked, []);
    let mut expected = filled(3);
    set_page_lsn(&mut expected, Lsn(0x200));
    assert_eq!(*page, expected);
}

#[test]
fn what_follows_the_last_image_goes_behind() {
    let records =
        [image(RM_XLOG_ID, &filled(3)), change(RM_BTREE_ID), image(RM_BTREE_ID, &filled(4)), change(RM_BTREE_ID)];
    let (asked, page) = asked(Some(&filled(9)), &records);
    assert_eq!(asked, [(true, vec![Lsn(0x400)])]);
    assert_eq!(page_lsn(&page), Lsn(0x300));
    assert_eq!(page[8192 - 1], 4);
}

#[test]
fn a_chain_without_an_image_goes_behind_whole() {
    let (asked, page) = asked(Some(&filled(9)), &[change(RM_HEAP2_ID), change(RM_BTREE_ID)]);
    assert_eq!(asked, [(true, vec![Lsn(0x100), Lsn(0x200)])]);
    assert_eq!(*page, filled(9));
}

#[test]
fn an_image_to_compare_with_is_never_restored() {
    let compare = Raw::new(RM_BTREE_ID, 0x10, vec![0; 8]).block(0, REL, 7, Some((&filled(5), false)));
    let (asked, page) = asked(Some(&filled(9)), &[compare]);
    assert_eq!(asked, [(true, vec![Lsn(0x100)])]);
    assert_eq!(*page, filled(9));
}

#[test]
fn another_blocks_image_is_not_this_pages() {
    let other = Raw::new(RM_XLOG_ID, 0xB0, vec![]).block(0, REL, 8, Some((&filled(5), true)));
    let (asked, _) = asked(Some(&filled(9)), &[other]);
    assert_eq!(asked.len(), 1);
}

#[test]
fn redo_that_goes_on_with_a_restored_page_is_left_to_postgres() {
    for rmid in [RM_GIST_ID, RM_HASH_ID, 128] {
        let (asked, page) = asked(None, &[image(rmid, &filled(3))]);
        assert_eq!(asked, [(false, vec![Lsn(0x100)])]);
        assert_eq!(*page, filled(0xAA));
    }
}

#[test]
fn an_image_of_zeros_gets_no_lsn() {
    let (_, page) = asked(None, &[image(RM_XLOG_ID, &filled(0))]);
    assert_eq!(*page, filled(0));
}

#[test]
fn images_of_free_space_maps_are_restored() {
    let fsm = REL.with_fork(Fork::Fsm);
    let record = Raw::new(RM_XLOG_ID, 0xA0, vec![]).block(0, fsm, 2, Some((&filled(1), true)));
    let page = apply(PgVersion::V18, PageKey::relation(fsm, 2), None, &[record]).unwrap();
    assert_eq!(page_lsn(&page), Lsn(0x100));
}

#[test]
fn without_an_engine_the_error_names_the_record() {
    let error = apply(PgVersion::V16, KEY, Some(&filled(9)), &[change(RM_BTREE_ID)]).unwrap_err();
    assert!(matches!(error, RedoError::NoEngine { key: KEY, lsn: Lsn(0x100), rmid: RM_BTREE_ID, .. }));
    let text = error.to_string();
    assert!(text.contains("Btree") && text.contains("0/100") && text.contains("1663/5/16384 block 7"), "{text}");
}

#[test]
fn malformed_records_are_named() {
    let record = Raw::new(RM_CLOG_ID, 0, vec![1]);
    let key = PageKey::slru(pgdata::SlruKind::Clog, 0);
    let error = apply(PgVersion::V16, key, None, &[record]).unwrap_err();
    assert!(matches!(&error, RedoError::Record { key: k, .. } if *k == key), "{error}");
}

#[test]
fn no_records_leave_the_base_page() {
    let engine = Routed::new(Recorder::default());
    let mut page = filled(9);
    let mut request = RedoRequest { version: PgVersion::V16, key: KEY, has_base: true, records: &[] };
    engine.redo(&request, &mut page).unwrap();
    assert_eq!(page, filled(9));
    request.has_base = false;
    assert!(matches!(engine.redo(&request, &mut page), Err(RedoError::Nothing { .. })));
}
