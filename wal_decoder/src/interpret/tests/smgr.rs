//! Creation and truncation.

use pgdata::{Change, Fork, Object, PageEffect, PageKey, PgVersion};

use crate::SmgrTruncate;
use crate::interpret::testing::*;
use crate::rmgr::RM_SMGR_ID;

fn truncate(blocks: u32, flags: u32) -> Vec<u8> {
    Bytes::default().u32s(&[blocks, REL.spc, REL.db, REL.rel, flags]).0
}

fn object(fork: Fork) -> Object {
    Object::Relation(REL.with_fork(fork))
}

#[test]
fn a_fork_comes_into_being() {
    for fork in Fork::ALL {
        let data = Bytes::default().u32s(&[REL.spc, REL.db, REL.rel, u32::from(fork.number())]).0;
        let created = changes_of(&record(PgVersion::V15, RM_SMGR_ID, 0x10, &data)).unwrap();
        assert_eq!(created, [Change::Create(object(fork))]);
    }
    let data = Bytes::default().u32s(&[REL.spc, REL.db, REL.rel, 4]).0;
    assert!(changes_of(&record(PgVersion::V15, RM_SMGR_ID, 0x10, &data)).is_err());
}

#[test]
fn truncation_cuts_all_forks_and_clears_the_end_of_the_visibility_map() {
    for version in PgVersion::ALL {
        let data = truncate(40_000, 7);
        let changes = changes_of(&record(version, RM_SMGR_ID, 0x20, &data)).unwrap();
        assert_eq!(
            changes,
            [
                Change::Create(object(Fork::Main)),
                page(PageKey::relation(REL.with_fork(Fork::Vm), 1), PageEffect::ModifyIfPresent),
                Change::Truncate { object: object(Fork::Main), blocks: 40_000 },
                Change::Truncate { object: object(Fork::Fsm), blocks: 12 },
                Change::Truncate { object: object(Fork::Vm), blocks: 2 },
            ]
        );
    }
}

#[test]
fn nothing_is_cleared_where_the_cut_is_between_two_map_pages() {
    for blocks in [0, 32_672] {
        let data = truncate(blocks, 7);
        let record = record(PgVersion::V18, RM_SMGR_ID, 0x20, &data);
        assert_eq!(SmgrTruncate::parse(&record).unwrap().unwrap().cleared_vm_page(), None);
        assert!(!changes_of(&record).unwrap().iter().any(|change| matches!(change, Change::Page { .. })));
    }
}

#[test]
fn only_the_named_forks_are_cut() {
    let data = truncate(10, 2);
    let changes = changes_of(&record(PgVersion::V16, RM_SMGR_ID, 0x20, &data)).unwrap();
    assert_eq!(changes.len(), 3);
    assert_eq!(changes[2], Change::Truncate { object: object(Fork::Vm), blocks: 1 });
    let data = truncate(10, 1);
    assert_eq!(changes_of(&record(PgVersion::V16, RM_SMGR_ID, 0x20, &data)).unwrap().len(), 2);
}

#[test]
fn unknown_operations_and_short_records_are_refused() {
    let data = truncate(10, 7);
    assert!(changes_of(&record(PgVersion::V16, RM_SMGR_ID, 0x30, &data)).is_err());
    assert!(changes_of(&record(PgVersion::V16, RM_SMGR_ID, 0x20, &data[..19])).is_err());
}
