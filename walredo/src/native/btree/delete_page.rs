//! Pages that leave the tree: first half dead (`btree_xlog_mark_page_halfdead`), then unlinked from their siblings (`btree_xlog_unlink_page`).

use super::HIGH_KEY;
use super::opaque::{DELETED, HALF_DEAD, HAS_FULLXID, LEAF, Opaque};
use super::tuple::{block, set_block, top_parent};
use crate::native::fault::Fault;
use crate::native::page::{HEADER, PageView, Place};
use crate::native::target::Target;

/// `xl_btree_mark_page_halfdead`.
struct HalfDead {
    /// The number of the downlink in the parent.
    downlink: u16,
    left: u32,
    right: u32,
    top_parent: u32,
}

impl HalfDead {
    fn read(target: &Target<'_, '_>) -> Result<HalfDead, Fault> {
        let mut main = target.main();
        let downlink = main.u16()?;
        // Padding, and the leaf's own block.
        main.skip(2 + 4)?;
        Ok(HalfDead { downlink, left: main.u32()?, right: main.u32()?, top_parent: main.u32()? })
    }
}

/// The leaf, made anew without its tuples.
pub(super) fn half_dead_leaf(target: &Target<'_, '_>, page: &mut PageView<'_>) -> Result<(), Fault> {
    let HalfDead { left, right, top_parent, .. } = HalfDead::read(target)?;
    make_half_dead(page, left, right, top_parent)
}

/// The parent: the downlink to the page gets the block of the next one, whose own downlink goes.
pub(super) fn parent(target: &Target<'_, '_>, page: &mut PageView<'_>) -> Result<(), Fault> {
    let number = HalfDead::read(target)?.downlink;
    let next = number.checked_add(1).ok_or(Fault::Value { what: "downlink's number", value: number.into() })?;
    let right = block(page.item(next)?)?;
    set_block(page.item_mut(number)?, right)?;
    page.delete_item(next)
}

/// `xl_btree_unlink_page`.
struct Unlink {
    left: u32,
    right: u32,
    level: u32,
    /// From when on the page may be used again.
    safe_xid: [u8; 8],
    leaf_left: u32,
    leaf_right: u32,
    leaf_top_parent: u32,
}

impl Unlink {
    fn read(target: &Target<'_, '_>) -> Result<Unlink, Fault> {
        let mut main = target.main();
        let (left, right, level) = (main.u32()?, main.u32()?, main.u32()?);
        main.skip(4)?;
        Ok(Unlink {
            left,
            right,
            level,
            safe_xid: main.array()?,
            leaf_left: main.u32()?,
            leaf_right: main.u32()?,
            leaf_top_parent: main.u32()?,
        })
    }
}

/// The page itself, made anew as a deleted one (`BTPageSetDeleted`).
pub(super) fn unlinked(target: &Target<'_, '_>, page: &mut PageView<'_>) -> Result<(), Fault> {
    let unlink = Unlink::read(target)?;
    let kind = if unlink.level == 0 { LEAF } else { 0 };
    let flags = DELETED | HAS_FULLXID | kind;
    Opaque { prev: unlink.left, next: unlink.right, level: unlink.level, flags, cycle_id: 0 }.init(page)?;
    let end = HEADER + unlink.safe_xid.len();
    page.bytes_mut()[HEADER..end].copy_from_slice(&unlink.safe_xid);
    page.set_lower(end);
    Ok(())
}

pub(super) fn left_neighbour(target: &Target<'_, '_>, page: &mut PageView<'_>) -> Result<(), Fault> {
    let mut opaque = Opaque::of(page)?;
    opaque.next = Unlink::read(target)?.right;
    opaque.put(page)
}

pub(super) fn right_neighbour(target: &Target<'_, '_>, page: &mut PageView<'_>) -> Result<(), Fault> {
    let mut opaque = Opaque::of(page)?;
    opaque.prev = Unlink::read(target)?.left;
    opaque.put(page)
}

/// The half-dead leaf below an inner page that goes, made anew with a link to the next page of the branch.
pub(super) fn leaf_of_branch(target: &Target<'_, '_>, page: &mut PageView<'_>) -> Result<(), Fault> {
    let unlink = Unlink::read(target)?;
    make_half_dead(page, unlink.leaf_left, unlink.leaf_right, unlink.leaf_top_parent)
}

fn make_half_dead(page: &mut PageView<'_>, prev: u32, next: u32, top: u32) -> Result<(), Fault> {
    Opaque { prev, next, level: 0, flags: HALF_DEAD | LEAF, cycle_id: 0 }.init(page)?;
    page.add_item(&top_parent(top), Place::Insert(HIGH_KEY))?;
    Ok(())
}
