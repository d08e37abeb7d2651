//! Visibility map pages.

use std::collections::HashMap;

use pgdata::{Lsn, Page, PageKey, PgVersion, page_lsn, set_page_lsn};
use proptest::prelude::*;
use wal_decoder::rmgr::*;

use super::super::testing::*;
use crate::RedoError;

const PER_PAGE: u32 = 32_672;
const KEY: PageKey = PageKey::relation(VM, 1);

fn visible(heap_block: u32, bits: u8) -> Raw {
    let data = [&words(&[700])[..], &[bits]].concat();
    Raw::new(RM_HEAP2_ID, 0x40, data).block(0, VM, heap_block / PER_PAGE, None).block(1, REL, heap_block, None)
}

/// A delete, its map page registered or not.
fn delete(heap_block: u32, registered: bool) -> Raw {
    let record = Raw::new(RM_HEAP_ID, 0x10, [&[0; 7][..], &[1]].concat()).block(0, REL, heap_block, None);
    if registered { record.block(1, VM, heap_block / PER_PAGE, None) } else { record }
}

fn lock(heap_block: u32) -> Raw {
    Raw::new(RM_HEAP_ID, 0x60, [&[0; 7][..], &[1]].concat()).block(0, REL, heap_block, None)
}

fn truncate(blocks: u32) -> Raw {
    Raw::new(RM_SMGR_ID, 0x20, words(&[blocks, REL.spc, REL.db, REL.rel, 7]))
}

/// `PageInit` as a list of bytes.
fn fresh() -> Page {
    let mut page = [0; 8192];
    page[10..20].copy_from_slice(&[0, 0, 24, 0, 0, 0x20, 0, 0x20, 4, 0x20]);
    page
}

fn bits(page: &Page, heap_block: u32) -> u8 {
    let index = (heap_block % PER_PAGE) as usize;
    page[24 + index / 4] >> (index % 4 * 2) & 3
}

#[test]
fn the_first_bit_makes_the_page() {
    for version in PgVersion::ALL {
        let page = apply(version, KEY, None, &[visible(PER_PAGE + 5, 3)]).unwrap();
        let mut expected = fresh();
        expected[25] = 3 << 2;
        set_page_lsn(&mut expected, Lsn(0x100));
        assert_eq!(*page, expected);
    }
}

#[test]
fn a_clear_without_reference_makes_the_page_and_leaves_no_lsn() {
    for version in PgVersion::ALL {
        assert_eq!(*apply(version, KEY, None, &[delete(PER_PAGE, false)]).unwrap(), fresh());
    }
}

#[test]
fn a_clear_without_reference_is_done_whatever_the_lsn() {
    let mut base = fresh();
    base[24] = 0xFF;
    set_page_lsn(&mut base, Lsn(0x9999));
    let page = apply(PgVersion::V15, KEY, Some(&base), &[delete(PER_PAGE + 1, false)]).unwrap();
    assert_eq!(page[24], 0xF3);
    assert_eq!(page_lsn(&page), Lsn(0x9999));
}

#[test]
fn a_registered_clear_follows_the_lsn() {
    let mut base = fresh();
    base[24] = 0xFF;
    let page = apply(PgVersion::V18, KEY, Some(&base), &[delete(PER_PAGE + 1, true)]).unwrap();
    assert_eq!((page[24], page_lsn(&page)), (0xF3, Lsn(0x100)));
    set_page_lsn(&mut base, Lsn(0x100));
    let page = apply(PgVersion::V18, KEY, Some(&base), &[delete(PER_PAGE + 1, true)]).unwrap();
    assert_eq!((page[24], page_lsn(&page)), (0xFF, Lsn(0x100)));
}

#[test]
fn a_registered_clear_of_clear_bits_leaves_the_lsn() {
    assert_eq!(*apply(PgVersion::V18, KEY, Some(&fresh()), &[delete(PER_PAGE, true)]).unwrap(), fresh());
}

#[test]
fn a_registered_clear_needs_a_page_and_passes_over_zeros() {
    let error = apply(PgVersion::V18, KEY, None, &[delete(PER_PAGE, true)]).unwrap_err();
    assert!(matches!(error, RedoError::NoBase { .. }));
    assert_eq!(*apply(PgVersion::V18, KEY, Some(&[0; 8192]), &[delete(PER_PAGE, true)]).unwrap(), [0; 8192]);
}

#[test]
fn bits_that_are_set_already_leave_the_lsn() {
    let records = [visible(PER_PAGE, 1), visible(PER_PAGE, 1), visible(PER_PAGE, 3), visible(PER_PAGE, 3)];
    let page = apply(PgVersion::V16, KEY, None, &records).unwrap();
    assert_eq!((page[24], page_lsn(&page)), (3, Lsn(0x300)));
}

#[test]
fn setting_fewer_bits_clears_none_but_counts_as_a_change() {
    let page = apply(PgVersion::V16, KEY, None, &[visible(PER_PAGE, 3), visible(PER_PAGE, 1)]).unwrap();
    assert_eq!((page[24], page_lsn(&page)), (3, Lsn(0x200)));
}

#[test]
fn a_lock_clears_only_the_frozen_bit() {
    let page = apply(PgVersion::V15, KEY, None, &[visible(PER_PAGE, 3), lock(PER_PAGE)]).unwrap();
    assert_eq!(page[24], 1);
}

#[test]
fn truncation_clears_the_tail_and_leaves_the_lsn() {
    let mut base = fresh();
    base[24..].fill(0xFF);
    set_page_lsn(&mut base, Lsn(0x9999));
    for (cut, first_byte) in [(PER_PAGE + 1, 0x03), (PER_PAGE + 2, 0x0F), (PER_PAGE + 3, 0x3F)] {
        let page = apply(PgVersion::V17, KEY, Some(&base), &[truncate(cut)]).unwrap();
        assert_eq!(page[24], first_byte);
        assert!(page[25..].iter().all(|byte| *byte == 0));
        assert_eq!(page[..24], base[..24]);
    }
    let last = apply(PgVersion::V17, KEY, Some(&base), &[truncate(2 * PER_PAGE - 1)]).unwrap();
    assert_eq!(last[8190..], [0xFF, 0x3F]);
}

#[test]
fn an_image_replaces_the_page() {
    let image = [7; 8192];
    let record = Raw::new(RM_HEAP2_ID, 0x40, [&words(&[700])[..], &[3]].concat())
        .block(0, VM, 1, Some((&image, true)))
        .block(1, REL, PER_PAGE, None);
    let page = apply(PgVersion::V16, KEY, None, &[record, delete(PER_PAGE + 4, false)]).unwrap();
    let mut expected = image;
    set_page_lsn(&mut expected, Lsn(0x100));
    expected[25] = 4;
    assert_eq!(*page, expected);
}

#[test]
fn one_registered_page_has_both_blocks_of_an_update_cleared() {
    let mut base = fresh();
    base[24] = 0xFF;
    let data = [&[0; 7][..], &[3, 0, 0, 0, 0, 0, 0]].concat();
    let update = Raw::new(RM_HEAP_ID, 0x20, data)
        .block(0, REL, PER_PAGE, None)
        .block(1, REL, PER_PAGE + 3, None)
        .block(2, VM, 1, None);
    let page = apply(PgVersion::V18, KEY, Some(&base), &[update]).unwrap();
    assert_eq!((page[24], page_lsn(&page)), (0x3C, Lsn(0x100)));
}

#[test]
fn a_record_about_another_page_is_refused() {
    for record in [visible(5, 3), delete(5, false), truncate(PER_PAGE), Raw::new(RM_BTREE_ID, 0, vec![0; 8])] {
        let error = apply(PgVersion::V15, KEY, Some(&fresh()), &[record]).unwrap_err();
        assert!(matches!(error, RedoError::NotApplicable { key: KEY, lsn: Lsn(0x100), .. }), "{error}");
    }
}

proptest! {
    #[test]
    fn any_history_agrees_with_a_map_of_bits(
        steps in prop::collection::vec((0_u32..PER_PAGE, 0_u8..5, 1_u8..4), 1..60),
    ) {
        let mut model: HashMap<u32, u8> = HashMap::new();
        let mut records = vec![visible(PER_PAGE, 1)];
        model.insert(PER_PAGE, 1);
        for (index, kind, value) in steps {
            let heap_block = PER_PAGE + index;
            let entry = model.entry(heap_block).or_default();
            match kind {
                0 => { *entry |= value; records.push(visible(heap_block, value)); }
                1 => { *entry = 0; records.push(delete(heap_block, false)); }
                2 => { *entry = 0; records.push(delete(heap_block, true)); }
                3 => { *entry &= 1; records.push(lock(heap_block)); }
                _ if index > 0 => {
                    model.retain(|block, _| *block < heap_block);
                    records.push(truncate(heap_block));
                }
                _ => {}
            }
        }
        let page = apply(PgVersion::V18, KEY, None, &records).unwrap();
        for index in 0..PER_PAGE {
            let expected = model.get(&(PER_PAGE + index)).copied().unwrap_or(0);
            prop_assert_eq!(bits(&page, PER_PAGE + index), expected, "block {}", PER_PAGE + index);
        }
    }
}
