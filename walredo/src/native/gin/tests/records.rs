//! Records that few workloads write, and those that nobody should.

use pgdata::{PAGE_SIZE, Page, PageKey, PgVersion};
use wal_decoder::rmgr::RM_GIN_ID;

use super::super::data::DATA_START;
use super::super::opaque::*;
use super::super::*;
use crate::native::NativeRedo;
use crate::native::testing::*;

/// The page at hand; a record names others by other numbers.
const BLOCK: u32 = 3;

fn page(opaque: Opaque, content: &[u8]) -> Page {
    let mut page = [0; PAGE_SIZE];
    let mut view = PageView::new(&mut page);
    init(&mut view, opaque.flags).unwrap();
    opaque.put(&mut view).unwrap();
    view.set_lower(DATA_START + content.len());
    view.bytes_mut()[DATA_START..DATA_START + content.len()].copy_from_slice(content);
    page
}

fn redo_on(base: &Page, record: Raw) -> Result<Box<Page>, String> {
    let engine = NativeRedo::new(false, None::<Recorder>);
    let key = PageKey::relation(REL, BLOCK);
    apply_with(&engine, PgVersion::V18, key, Some(base), &[record]).map_err(|error| error.to_string())
}

fn posting_items(count: u8) -> Vec<u8> {
    (0..count).flat_map(|mark| [mark; 10]).collect()
}

fn inner(count: u8) -> Page {
    page(Opaque { right: NO_BLOCK, count: count.into(), flags: DATA }, &posting_items(count))
}

fn downlink(number: u16) -> Raw {
    let main = [&IS_DATA.to_le_bytes()[..], &block_id(0x0001_0002), &block_id(0x0003_0004)].concat();
    let data = [&number.to_le_bytes()[..], &[0xAB; 10]].concat();
    Raw::new(RM_GIN_ID, INSERT, main).block_data(0, BLOCK, false, &data)
}

#[test]
fn a_downlink_goes_before_the_one_that_gets_the_right_half() {
    let made = redo_on(&inner(3), downlink(2)).unwrap();
    let mut second = [1; 10];
    second[..4].copy_from_slice(&[3, 0, 4, 0]);
    let expected = [[0; 10], [0xAB; 10], second, [2; 10]].concat();
    let mut made = *made;
    let view = PageView::new(&mut made);
    assert_eq!(view.bytes()[DATA_START..view.lower()], expected);
    assert_eq!(Opaque::of(&view).unwrap().count, 4);
}

#[test]
fn a_downlink_needs_its_place_and_room() {
    for number in [0, 4] {
        let error = redo_on(&inner(3), downlink(number)).unwrap_err();
        assert!(error.contains(&format!("line pointer {number} is wanted, the page has 3")), "{error}");
    }
    let mut full = inner(0);
    Opaque { right: NO_BLOCK, count: 815, flags: DATA }.put(&mut PageView::new(&mut full)).unwrap();
    assert!(redo_on(&full, downlink(1)).unwrap_err().contains("do not fit"));
    Opaque { right: NO_BLOCK, count: 816, flags: DATA }.put(&mut PageView::new(&mut full)).unwrap();
    assert!(redo_on(&full, downlink(1)).unwrap_err().contains("number of posting items is 816"));
}

#[test]
fn a_page_that_goes_leaves_its_parent_and_its_neighbour() {
    let main = [&2_u16.to_le_bytes()[..], &[0, 0], &words(&[77, 1000])].concat();
    let record = |id| Raw::new(RM_GIN_ID, DELETE_PAGE, main.clone()).block(id, REL, BLOCK, None);

    let leaf = page(Opaque { right: 5, count: 0, flags: DATA | LEAF | COMPRESSED }, &[]);
    let mut gone = *redo_on(&leaf, record(0)).unwrap();
    let view = PageView::new(&mut gone);
    assert_eq!(view.prune_xid(), 1000);
    assert_eq!(Opaque::of(&view).unwrap().flags, DATA | LEAF | COMPRESSED | DELETED);

    let mut parent = *redo_on(&inner(3), record(1)).unwrap();
    let view = PageView::new(&mut parent);
    assert_eq!(view.bytes()[DATA_START..view.lower()], [[0; 10], [2; 10]].concat());
    assert_eq!(Opaque::of(&view).unwrap().count, 2);

    let mut neighbour = *redo_on(&leaf, record(2)).unwrap();
    assert_eq!(Opaque::of(&PageView::new(&mut neighbour)).unwrap().right, 77);
}

#[test]
fn pages_of_another_kind_are_refused() {
    let entries = page(Opaque { right: NO_BLOCK, count: 0, flags: LEAF }, &[]);
    assert!(redo_on(&entries, downlink(1)).unwrap_err().contains("word of flags is 2"));
    let mut heap = entries;
    heap[16..18].copy_from_slice(&8192_u16.to_le_bytes());
    assert!(redo_on(&heap, downlink(1)).unwrap_err().contains("special space begins at 8192"));
}

#[test]
fn a_split_and_a_vacuumed_page_come_as_images() {
    for operation in [SPLIT, VACUUM_PAGE] {
        let record = Raw::new(RM_GIN_ID, operation, vec![0; 28]).block(0, REL, BLOCK, None);
        assert!(redo_on(&inner(1), record).unwrap_err().contains("has no image to restore"));
    }
}

#[test]
fn operations_and_blocks_that_do_not_exist_are_refused() {
    for operation in [0x00, 0xA0, 0xF0] {
        let record = Raw::new(RM_GIN_ID, operation, Vec::new()).block(0, REL, BLOCK, None);
        let error = redo_on(&inner(1), record).unwrap_err();
        assert!(error.contains(&format!("no operation {operation:#04X}")), "{error}");
    }
    for (operation, id) in [(CREATE_PTREE, 1), (INSERT, 2), (SPLIT, 4), (DELETE_PAGE, 3), (VACUUM_DATA_LEAF_PAGE, 1)] {
        let record = Raw::new(RM_GIN_ID, operation, vec![0; 28]).block(id, REL, BLOCK, None);
        let error = redo_on(&inner(1), record).unwrap_err();
        assert!(error.contains(&format!("does nothing with its block {id}")), "{error}");
    }
}
