//! Hash indexes (`access/hash/hash_xlog.c`): buckets, each a chain of pages with tuples in the order of their hash codes; bitmaps that tell which
//! overflow pages are free; a metapage.
//!
//! - [`bucket`]: tuples come and go;
//! - [`overflow`]: pages are put into a chain and taken out of it;
//! - [`split`]: a bucket is divided;
//! - [`meta`] and [`bitmap`]: the pages that are no arrays of tuples;
//! - [`opaque`]: the special space of all of them.
//!
//! Many records refer to the first page of a bucket as block 0 only to lock it.

mod bitmap;
mod bucket;
mod meta;
mod opaque;
mod overflow;
mod split;
#[cfg(test)]
mod tests;

use super::fault::Fault;
use super::page::PageView;
use super::scratch::Scratch;
use super::target::{Outcome, Target};
use opaque::{NEEDS_SPLIT_CLEANUP, Opaque};

const INIT_META_PAGE: u8 = 0x00;
const INIT_BITMAP_PAGE: u8 = 0x10;
const INSERT: u8 = 0x20;
const ADD_OVFL_PAGE: u8 = 0x30;
const SPLIT_ALLOCATE_PAGE: u8 = 0x40;
const SPLIT_PAGE: u8 = 0x50;
const SPLIT_COMPLETE: u8 = 0x60;
const MOVE_PAGE_CONTENTS: u8 = 0x70;
const SQUEEZE_PAGE: u8 = 0x80;
const DELETE: u8 = 0x90;
const SPLIT_CLEANUP: u8 = 0xA0;
const UPDATE_META_PAGE: u8 = 0xB0;
const VACUUM_ONE_PAGE: u8 = 0xC0;

/// `hash_redo`.
pub(super) fn redo(target: &Target<'_, '_>, page: &mut PageView<'_>, scratch: &mut Scratch) -> Result<Outcome, Fault> {
    match (target.operation(), target.id()) {
        (MOVE_PAGE_CONTENTS | SQUEEZE_PAGE | DELETE, 0) => return Ok(Outcome::LsnKept),
        (SQUEEZE_PAGE, 1) => return overflow::squeeze_into(target, page),
        (INIT_META_PAGE, 0) => meta::init(target, page),
        (INIT_BITMAP_PAGE, 0) => bitmap::init(page, target.main()),
        (INIT_BITMAP_PAGE, 1) => meta::add_first_bitmap(page),
        (INSERT, 0) => bucket::insert(target, page),
        (INSERT, 1) => meta::count_tuples(page, 1.0),
        (ADD_OVFL_PAGE, 0) => overflow::new_page(target, page),
        (ADD_OVFL_PAGE, 1) => overflow::link_to_new(target, page),
        (ADD_OVFL_PAGE, 2) => bitmap::set(page, target.data(), true),
        (ADD_OVFL_PAGE, 3) => overflow::new_bitmap(target, page),
        (ADD_OVFL_PAGE, 4) => overflow::add_to_meta(target, page),
        (SPLIT_ALLOCATE_PAGE, 0) => split::old_bucket(target, page),
        (SPLIT_ALLOCATE_PAGE, 1) => split::new_bucket(target, page),
        (SPLIT_ALLOCATE_PAGE, 2) => split::meta(target, page),
        // A page of the new bucket comes as an image and in no other way.
        (SPLIT_PAGE, 0) => Err(Fault::NoImage),
        (SPLIT_COMPLETE, 0 | 1) => split::complete(target, page),
        (MOVE_PAGE_CONTENTS, 1) => bucket::take_moved(target, page),
        (MOVE_PAGE_CONTENTS, 2) => bucket::delete_moved(target, page, scratch),
        (SQUEEZE_PAGE, 2) => overflow::free(page),
        (SQUEEZE_PAGE, 3) => overflow::link_to_next(target, page),
        (SQUEEZE_PAGE, 4) => overflow::link_to_previous(target, page),
        (SQUEEZE_PAGE, 5) => bitmap::set(page, target.data(), false),
        (SQUEEZE_PAGE, 6) => meta::set_first_free(page, target.data()),
        (DELETE, 1) => bucket::delete(target, page, scratch),
        (SPLIT_CLEANUP, 0) => Opaque::change_flags(page, |flags| flags & !NEEDS_SPLIT_CLEANUP),
        (UPDATE_META_PAGE, 0) => meta::set_tuples(page, target.main()),
        (VACUUM_ONE_PAGE, 0) => bucket::vacuum(target, page, scratch),
        (VACUUM_ONE_PAGE, 1) => bucket::vacuum_meta(target, page),
        (..=VACUUM_ONE_PAGE, _) => target.unknown_block(),
        _ => target.unknown_operation(),
    }?;
    Ok(Outcome::Changed)
}

/// What redo does to a page that it has restored from the record's image: the special space of an image is from before the change.
pub(super) fn after_image(
    target: &Target<'_, '_>,
    page: &mut PageView<'_>,
    scratch: &mut Scratch,
) -> Result<Outcome, Fault> {
    match (target.operation(), target.id()) {
        (SPLIT_ALLOCATE_PAGE | SPLIT_COMPLETE, 0 | 1) => redo(target, page, scratch),
        _ => Ok(Outcome::LsnKept),
    }
}
