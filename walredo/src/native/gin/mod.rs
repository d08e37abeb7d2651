//! GIN indexes (`access/gin/ginxlog.c`): a tree of entries, each with its heap tuples or a tree of them, and a list of what is pending.
//!
//! - [`entry`]: pages of the entry tree, which are arrays of index tuples;
//! - [`data`]: pages of posting trees; their leaves hold compressed posting lists ([`posting`]), changed segment by segment ([`leaf`]);
//! - [`pending`]: the metapage and the pages of the pending list;
//! - [`opaque`]: the special space of all of them.
//!
//! The records are the same in PostgreSQL 15 to 18.

mod data;
mod entry;
mod leaf;
mod opaque;
mod pending;
mod posting;
#[cfg(test)]
mod tests;

use super::cursor::Cursor;
use super::fault::Fault;
use super::page::PageView;
use super::scratch::Scratch;
use super::target::{Outcome, Target};
use opaque::{INCOMPLETE_SPLIT, NO_BLOCK, Opaque};

const CREATE_PTREE: u8 = 0x10;
const INSERT: u8 = 0x20;
const SPLIT: u8 = 0x30;
const VACUUM_PAGE: u8 = 0x40;
const DELETE_PAGE: u8 = 0x50;
const UPDATE_META_PAGE: u8 = 0x60;
const INSERT_LISTPAGE: u8 = 0x70;
const DELETE_LISTPAGE: u8 = 0x80;
const VACUUM_DATA_LEAF_PAGE: u8 = 0x90;

/// `GIN_INSERT_ISDATA`: the page belongs to a posting tree.
const IS_DATA: u16 = 0x01;
/// `GIN_INSERT_ISLEAF`.
const IS_LEAF: u16 = 0x02;

/// Where the special space begins.
const SPECIAL: usize = pgdata::PAGE_SIZE - opaque::SIZE;

/// `gin_redo`.
pub(super) fn redo(target: &Target<'_, '_>, page: &mut PageView<'_>, scratch: &mut Scratch) -> Result<Outcome, Fault> {
    match (target.operation(), target.id()) {
        (CREATE_PTREE, 0) => data::create_tree(target, page),
        (INSERT, 0) => insert(target, page, scratch),
        (INSERT, 1) => finish_split(page, target.main().u16()?),
        // The pages of a split, and a page after vacuum, come as images and in no other way.
        (SPLIT, 0..=2) | (VACUUM_PAGE, 0) => Err(Fault::NoImage),
        (SPLIT, 3) => finish_split(page, split_flags(target)?),
        (VACUUM_DATA_LEAF_PAGE, 0) => leaf::recompress(page, target.data(), &mut scratch.page),
        (DELETE_PAGE, 0..=2) => data::delete_page(target, page),
        (UPDATE_META_PAGE, 0) => pending::update_meta(target, page),
        (UPDATE_META_PAGE, 1) => pending::update_tail(target, page),
        (INSERT_LISTPAGE, 0) => pending::insert_list_page(target, page),
        (DELETE_LISTPAGE, 0) => pending::delete_from_meta(target, page),
        (DELETE_LISTPAGE, _) => pending::delete_list_page(target, page),
        (CREATE_PTREE | INSERT | SPLIT | VACUUM_PAGE | VACUUM_DATA_LEAF_PAGE, _)
        | (DELETE_PAGE | UPDATE_META_PAGE | INSERT_LISTPAGE, _) => target.unknown_block(),
        _ => target.unknown_operation(),
    }?;
    Ok(Outcome::Changed)
}

/// `ginRedoInsert` for the page that gets something: an entry or a downlink, heap tuples, or a downlink to a page of heap tuples.
fn insert(target: &Target<'_, '_>, page: &mut PageView<'_>, scratch: &mut Scratch) -> Result<(), Fault> {
    let mut main = target.main();
    let flags = main.u16()?;
    let right_child = match flags & IS_LEAF {
        0 => {
            // The left child, whose split is finished.
            block_number(&mut main)?;
            match block_number(&mut main)? {
                NO_BLOCK => return Err(Fault::Value { what: "right child", value: NO_BLOCK.into() }),
                right => Some(right),
            }
        }
        _ => None,
    };
    main.end()?;
    let data = target.data();
    match (flags & IS_DATA != 0, right_child) {
        (false, right_child) => entry::insert(page, data, right_child),
        (true, None) => leaf::recompress(page, data, &mut scratch.page),
        (true, Some(right_child)) => data::insert_downlink(page, data, right_child),
    }
}

/// `ginRedoClearIncompleteSplit` of the left child, where there is a level below.
fn finish_split(page: &mut PageView<'_>, flags: u16) -> Result<(), Fault> {
    if flags & IS_LEAF != 0 {
        return Err(Fault::Value { what: "flags, for one that finishes a split,", value: flags.into() });
    }
    let mut opaque = Opaque::of(page)?;
    opaque.flags &= !INCOMPLETE_SPLIT;
    opaque.put(page)
}

/// `ginxlogSplit`: the relation and three block numbers before the flags.
fn split_flags(target: &Target<'_, '_>) -> Result<u16, Fault> {
    let mut main = target.main();
    main.skip(24)?;
    let flags = main.u16()?;
    // Padding.
    main.skip(2)?;
    main.end()?;
    Ok(flags)
}

/// `BlockIdData`: the high half comes first.
fn block_number(cursor: &mut Cursor<'_>) -> Result<u32, Fault> {
    Ok(u32::from(cursor.u16()?) << 16 | u32::from(cursor.u16()?))
}

/// [`block_number`] the other way round.
fn block_id(block: u32) -> [u8; 4] {
    let ([a, b], [c, d]) = (((block >> 16) as u16).to_le_bytes(), (block as u16).to_le_bytes());
    [a, b, c, d]
}
