//! B-trees (`access/nbtree/nbtxlog.c`).

mod dedup;
mod delete_page;
mod insert;
mod opaque;
mod root;
mod split;
mod tuple;
mod vacuum;

use super::fault::Fault;
use super::page::PageView;
use super::scratch::Scratch;
use super::target::{Outcome, Target};
use opaque::{INCOMPLETE_SPLIT, Opaque};

const INSERT_LEAF: u8 = 0x00;
const INSERT_UPPER: u8 = 0x10;
const INSERT_META: u8 = 0x20;
const SPLIT_L: u8 = 0x30;
const SPLIT_R: u8 = 0x40;
const INSERT_POST: u8 = 0x50;
const DEDUP: u8 = 0x60;
const DELETE: u8 = 0x70;
const UNLINK_PAGE: u8 = 0x80;
const UNLINK_PAGE_META: u8 = 0x90;
const NEWROOT: u8 = 0xA0;
const MARK_PAGE_HALFDEAD: u8 = 0xB0;
const VACUUM: u8 = 0xC0;
const META_CLEANUP: u8 = 0xE0;

/// The number of the first item, which is the high key where there is one (`P_HIKEY`).
const HIGH_KEY: u16 = 1;

/// `btree_redo`. `XLOG_BTREE_REUSE_PAGE` refers to no page.
pub(super) fn redo(target: &Target<'_, '_>, page: &mut PageView<'_>, scratch: &mut Scratch) -> Result<Outcome, Fault> {
    match (target.operation(), target.id()) {
        (INSERT_LEAF | INSERT_UPPER | INSERT_META, 0) => insert::insert(target, page),
        (INSERT_UPPER | INSERT_META, 1) => clear_incomplete_split(page),
        (INSERT_META, 2) => root::restore_meta(target, page),
        (INSERT_POST, 0) => insert::insert_into_posting(target, page),
        (SPLIT_L, 0) => split::left(target, page, scratch, true),
        (SPLIT_R, 0) => split::left(target, page, scratch, false),
        (SPLIT_L | SPLIT_R, 1) => split::right(target, page),
        (SPLIT_L | SPLIT_R, 2) => split::right_neighbour(target, page),
        (SPLIT_L | SPLIT_R, 3) => clear_incomplete_split(page),
        (DEDUP, 0) => dedup::dedup(target, page, scratch),
        (VACUUM, 0) => vacuum::vacuum(target, page, scratch),
        (DELETE, 0) => vacuum::delete(target, page, scratch),
        (MARK_PAGE_HALFDEAD, 0) => delete_page::half_dead_leaf(target, page),
        (MARK_PAGE_HALFDEAD, 1) => delete_page::parent(target, page),
        (UNLINK_PAGE | UNLINK_PAGE_META, 0) => delete_page::unlinked(target, page),
        (UNLINK_PAGE | UNLINK_PAGE_META, 1) => delete_page::left_neighbour(target, page),
        (UNLINK_PAGE | UNLINK_PAGE_META, 2) => delete_page::right_neighbour(target, page),
        (UNLINK_PAGE | UNLINK_PAGE_META, 3) => delete_page::leaf_of_branch(target, page),
        (UNLINK_PAGE_META, 4) => root::restore_meta(target, page),
        (NEWROOT, 0) => root::new_root(target, page),
        (NEWROOT, 1) => clear_incomplete_split(page),
        (NEWROOT, 2) => root::restore_meta(target, page),
        (META_CLEANUP, 0) => root::restore_meta(target, page),
        (
            INSERT_LEAF..=SPLIT_R
            | INSERT_POST
            | DEDUP
            | DELETE
            | UNLINK_PAGE
            | UNLINK_PAGE_META
            | NEWROOT
            | MARK_PAGE_HALFDEAD
            | VACUUM
            | META_CLEANUP,
            _,
        ) => target.unknown_block(),
        _ => target.unknown_operation(),
    }?;
    Ok(Outcome::Changed)
}

/// `_bt_clear_incomplete_split`: the downlink of the page's right sibling has been inserted.
fn clear_incomplete_split(page: &mut PageView<'_>) -> Result<(), Fault> {
    let mut opaque = Opaque::of(page)?;
    opaque.flags &= !INCOMPLETE_SPLIT;
    opaque.put(page)
}
