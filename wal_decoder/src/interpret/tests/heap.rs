//! The visibility map behind heap records.

use pgdata::maps::{VM_ALL_FROZEN, VM_VALID_BITS};
use pgdata::{Change, Fork, PageEffect, PageKey, PgVersion};

use crate::interpret::testing::*;
use crate::rmgr::*;
use crate::{BlockRef, Record, VmEdit, VmOp};

const PER_PAGE: u32 = 32_672;

/// The main data of each kind of record up to its flags, with the record's resource manager and operation.
const RECORDS: [(&str, u8, u8, usize, u8); 5] = [
    ("insert", RM_HEAP_ID, 0x00, 2, VM_VALID_BITS),
    ("delete", RM_HEAP_ID, 0x10, 7, VM_VALID_BITS),
    ("lock", RM_HEAP_ID, 0x60, 7, VM_ALL_FROZEN),
    ("multi-insert", RM_HEAP2_ID, 0x50, 0, VM_VALID_BITS),
    ("lock-updated", RM_HEAP2_ID, 0x60, 7, VM_ALL_FROZEN),
];

fn data(flags_at: usize, flags: u8) -> Vec<u8> {
    let mut data = vec![0xEE; flags_at];
    data.extend([flags, 0, 0, 0, 0, 0, 0]);
    data
}

fn vm_block(id: u8, page: u32) -> BlockRef<'static> {
    block(id, REL.with_fork(Fork::Vm), page)
}

fn vm_page(page: u32) -> PageKey {
    PageKey::relation(REL.with_fork(Fork::Vm), page)
}

fn heap_page(number: u32) -> Change {
    page(PageKey::relation(REL, number), PageEffect::Modify)
}

fn edit(heap_block: u32, bits: u8, registered: bool) -> VmEdit {
    VmEdit { map: REL.with_fork(Fork::Vm), heap_block, op: VmOp::Clear, bits, registered }
}

#[test]
fn a_flag_clears_bits_on_a_page_that_is_made_if_need_be() {
    for version in PgVersion::ALL {
        for (name, rmid, info, flags_at, bits) in RECORDS {
            let data = data(flags_at, 1);
            for info in [info, info | 0x80] {
                let record = with_blocks(record(version, rmid, info, &data), &[block(0, REL, PER_PAGE + 1)]);
                let expected = [heap_page(PER_PAGE + 1), page(vm_page(1), PageEffect::ModifyOrExtend)];
                assert_eq!(changes_of(&record).unwrap(), expected, "{name}");
                assert_eq!(VmEdit::of(&record).unwrap()[..], [edit(PER_PAGE + 1, bits, false)], "{name}");
            }
        }
    }
}

#[test]
fn without_the_flag_the_map_is_left_alone() {
    for (name, rmid, info, flags_at, _) in RECORDS {
        let data = data(flags_at, 0xFE);
        let record = with_blocks(record(PgVersion::V17, rmid, info, &data), &[block(0, REL, 9)]);
        assert_eq!(changes_of(&record).unwrap(), [heap_page(9)], "{name}");
    }
}

#[test]
fn a_registered_map_page_is_an_ordinary_block() {
    for (name, rmid, info, flags_at, bits) in RECORDS {
        let data = data(flags_at, 1);
        let record = with_blocks(record(PgVersion::V18, rmid, info, &data), &[block(0, REL, 9), vm_block(1, 0)]);
        assert_eq!(changes_of(&record).unwrap(), [heap_page(9), page(vm_page(0), PageEffect::Modify)], "{name}");
        assert_eq!(VmEdit::of(&record).unwrap()[..], [edit(9, bits, true)], "{name}");
    }
}

#[test]
fn short_records_are_refused() {
    for (name, rmid, info, flags_at, _) in RECORDS {
        let data = vec![0; flags_at];
        let record = with_blocks(record(PgVersion::V15, rmid, info, &data), &[block(0, REL, 9)]);
        let error = changes_of(&record).unwrap_err().to_string();
        assert!(error.contains("0/5000") && error.contains("flags"), "{name}: {error}");
    }
}

#[test]
fn a_flag_without_its_heap_block_is_refused() {
    for (name, rmid, info, flags_at, _) in RECORDS {
        let data = data(flags_at, 1);
        assert!(changes_of(&record(PgVersion::V15, rmid, info, &data)).is_err(), "{name}");
    }
}

fn update<'a>(info: u8, data: &'a [u8], blocks: &[BlockRef<'a>]) -> Record<'a> {
    with_blocks(record(PgVersion::V18, RM_HEAP_ID, info, data), blocks)
}

const UPDATE: u8 = 0x20;
const HOT_UPDATE: u8 = 0x40;
const OLD: u8 = 1;
const NEW: u8 = 2;

#[test]
fn an_update_clears_the_old_and_the_new_blocks_bits() {
    let (near, far) = (5, PER_PAGE + 5);
    for (flags, old, pages) in [
        (OLD | NEW, far, vec![1, 0]),
        (OLD, far, vec![1]),
        (NEW, far, vec![0]),
        (OLD | NEW, near + 1, vec![0]),
        (0, far, vec![]),
    ] {
        let data = data(7, flags);
        let record = update(UPDATE, &data, &[block(0, REL, near), block(1, REL, old)]);
        let mut expected = vec![heap_page(near), heap_page(old)];
        expected.extend(pages.into_iter().map(|number| page(vm_page(number), PageEffect::ModifyOrExtend)));
        assert_eq!(changes_of(&record).unwrap(), expected, "flags {flags}");
    }
}

#[test]
fn a_hot_update_has_one_block_for_both() {
    let data = data(7, OLD | NEW);
    let record = update(HOT_UPDATE, &data, &[block(0, REL, 5)]);
    assert_eq!(VmEdit::of(&record).unwrap()[..], [edit(5, VM_VALID_BITS, false), edit(5, VM_VALID_BITS, false)]);
    assert_eq!(changes_of(&record).unwrap(), [heap_page(5), page(vm_page(0), PageEffect::ModifyOrExtend)]);
}

#[test]
fn an_update_with_registered_map_pages_touches_no_other() {
    let (near, far) = (5, PER_PAGE + 5);
    let heap = [block(0, REL, near), block(1, REL, far)];
    for (flags, registered, edits) in [
        (OLD | NEW, vec![vm_block(2, 0), vm_block(3, 1)], vec![far, near]),
        // The old block's bits were clear already: its page is not registered.
        (OLD | NEW, vec![vm_block(2, 0)], vec![near]),
        (OLD, vec![vm_block(3, 1)], vec![far]),
        (OLD | NEW, vec![vm_block(3, 1)], vec![far]),
    ] {
        let data = data(7, flags);
        let record = update(UPDATE, &data, &[&heap[..], &registered[..]].concat());
        let expected: Vec<VmEdit> = edits.into_iter().map(|number| edit(number, VM_VALID_BITS, true)).collect();
        assert_eq!(VmEdit::of(&record).unwrap()[..], expected[..]);
        assert_eq!(changes_of(&record).unwrap().len(), 2 + registered.len());
    }
}

#[test]
fn one_registered_map_page_serves_both_blocks() {
    let data = data(7, OLD | NEW);
    let record = update(UPDATE, &data, &[block(0, REL, 5), block(1, REL, 6), vm_block(2, 0)]);
    assert_eq!(VmEdit::of(&record).unwrap()[..], [edit(6, VM_VALID_BITS, true), edit(5, VM_VALID_BITS, true)]);
}

#[test]
fn visible_sets_bits_on_a_page_that_is_made_if_need_be() {
    for version in PgVersion::ALL {
        // 4 is VISIBILITYMAP_XLOG_CATALOG_REL, no bit of the map.
        let data = Bytes::default().u32(700).u8(3 | 4).0;
        let record = with_blocks(record(version, RM_HEAP2_ID, 0x40, &data), &[vm_block(0, 1), block(1, REL, PER_PAGE)]);
        assert_eq!(changes_of(&record).unwrap(), [page(vm_page(1), PageEffect::ModifyOrExtend), heap_page(PER_PAGE)]);
        let expected = VmEdit { op: VmOp::Set, ..edit(PER_PAGE, VM_VALID_BITS, true) };
        assert_eq!(VmEdit::of(&record).unwrap()[..], [expected]);
    }
}

#[test]
fn visible_with_an_image_of_the_map_replaces_it() {
    let data = Bytes::default().u32(700).u8(1).0;
    let mut map = vm_block(0, 0);
    map.image = Some(image(true));
    let record = with_blocks(record(PgVersion::V16, RM_HEAP2_ID, 0x40, &data), &[map, block(1, REL, 3)]);
    assert_eq!(changes_of(&record).unwrap()[0], page(vm_page(0), PageEffect::Replace));
}

#[test]
fn visible_with_a_page_that_has_not_the_bits_is_refused() {
    let data = Bytes::default().u32(700).u8(1).0;
    let record = with_blocks(record(PgVersion::V16, RM_HEAP2_ID, 0x40, &data), &[vm_block(0, 1), block(1, REL, 3)]);
    assert!(changes_of(&record).is_err());
}
