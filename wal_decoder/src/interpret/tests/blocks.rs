//! Block references.

use pgdata::{Fork, PageEffect, PageKey, PgVersion};

use crate::interpret::testing::*;
use crate::rmgr::*;

fn effect_of(change: &mut crate::BlockRef<'static>) -> PageEffect {
    let record = with_blocks(record(PgVersion::V16, RM_BTREE_ID, 0, &[]), &[*change]);
    match changes_of(&record).unwrap()[..] {
        [pgdata::Change::Page { key, effect }] => {
            assert_eq!(key, PageKey::relation(REL, 3));
            effect
        }
        ref other => panic!("{other:?}"),
    }
}

#[test]
fn a_block_is_changed_where_it_is() {
    assert_eq!(effect_of(&mut block(0, REL, 3)), PageEffect::Modify);
}

#[test]
fn an_image_to_apply_replaces_the_page() {
    let mut block = block(0, REL, 3);
    block.image = Some(image(true));
    assert_eq!(effect_of(&mut block), PageEffect::Replace);
}

#[test]
fn an_image_to_compare_with_replaces_nothing() {
    let mut block = block(0, REL, 3);
    block.image = Some(image(false));
    assert_eq!(effect_of(&mut block), PageEffect::Modify);
}

#[test]
fn an_initialised_page_is_replaced_even_with_an_image_to_compare_with() {
    let mut block = block(0, REL, 3);
    block.will_init = true;
    block.image = Some(image(false));
    assert_eq!(effect_of(&mut block), PageEffect::Replace);
}

#[test]
fn extensions_records_have_their_blocks() {
    let record = with_blocks(record(PgVersion::V15, 128, 0xF0, &[1]), &[block(0, REL, 3), block(1, REL, 4)]);
    assert_eq!(
        changes_of(&record).unwrap(),
        [3, 4].map(|number| page(PageKey::relation(REL, number), PageEffect::Modify))
    );
}

#[test]
fn image_records_need_images_to_apply() {
    const FPI: u8 = 0xB0;
    const FPI_FOR_HINT: u8 = 0xA0;
    let vm = REL.with_fork(Fork::Vm);
    for info in [FPI, FPI_FOR_HINT] {
        let mut with = block(0, vm, 0);
        with.image = Some(image(true));
        let good = with_blocks(record(PgVersion::V18, RM_XLOG_ID, info, &[]), &[with]);
        assert_eq!(changes_of(&good).unwrap(), [page(PageKey::relation(vm, 0), PageEffect::Replace)]);
        with.image = Some(image(false));
        let bad = with_blocks(record(PgVersion::V18, RM_XLOG_ID, info, &[]), &[with]);
        assert!(changes_of(&bad).is_err());
    }
    let without = |info| with_blocks(record(PgVersion::V18, RM_XLOG_ID, info, &[]), &[block(0, vm, 0)]);
    assert!(changes_of(&without(FPI)).is_err());
    assert_eq!(changes_of(&without(FPI_FOR_HINT)).unwrap(), []);
}

#[test]
fn a_record_of_another_version_is_refused() {
    let mut interpreter = interpreter(PgVersion::V15);
    let mut out = Vec::new();
    let error = interpreter.changes(&record(PgVersion::V16, RM_BTREE_ID, 0, &[]), &mut out).unwrap_err();
    assert!(error.to_string().contains("PostgreSQL 16"), "{error}");
}
