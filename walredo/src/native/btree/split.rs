//! `btree_xlog_split`: a page is full, and its right part goes to a new page.

use super::HIGH_KEY;
use super::opaque::{INCOMPLETE_SPLIT, LEAF, Opaque};
use super::root::restore_items;
use super::tuple::{self, TID, tuple};
use crate::native::cursor::Cursor;
use crate::native::fault::Fault;
use crate::native::page::{PageView, Place, max_align};
use crate::native::scratch::Scratch;
use crate::native::target::Target;

/// Block ids: the page that is split, the new one, the one that was to the right of it.
const LEFT: u8 = 0;
const RIGHT: u8 = 1;
const NEIGHBOUR: u8 = 2;

/// `xl_btree_split`.
struct Split {
    level: u32,
    /// The first item that goes to the right.
    first_right: u16,
    /// The number that the new item would have on the page as it was.
    new_item: u16,
    /// If not 0, where the new item's TID falls in the posting list of the item before it.
    posting_position: u16,
}

impl Split {
    fn read(target: &Target<'_, '_>) -> Result<Split, Fault> {
        let mut main = target.main();
        Ok(Split { level: main.u32()?, first_right: main.u16()?, new_item: main.u16()?, posting_position: main.u16()? })
    }

    fn kind(&self) -> u16 {
        if self.level == 0 { LEAF } else { 0 }
    }

    /// The item whose posting list takes the new TID.
    fn posting_item(&self) -> Option<u16> {
        (self.posting_position != 0).then(|| self.new_item.wrapping_sub(1))
    }
}

/// The new page, made whole from the block's data.
pub(super) fn right(target: &Target<'_, '_>, page: &mut PageView<'_>) -> Result<(), Fault> {
    let split = Split::read(target)?;
    let prev = target.other_block(LEFT)?;
    let next = target.find_block(NEIGHBOUR).unwrap_or(0);
    Opaque { prev, next, level: split.level, flags: split.kind(), cycle_id: 0 }.init(page)?;
    restore_items(page, target.data().rest())
}

/// The link back of the page that was to the right.
pub(super) fn right_neighbour(target: &Target<'_, '_>, page: &mut PageView<'_>) -> Result<(), Fault> {
    let mut opaque = Opaque::of(page)?;
    opaque.prev = target.other_block(RIGHT)?;
    opaque.put(page)
}

/// What stays on the page, built anew in the order of items, as `_bt_split` does. The block's data are the new item, if it goes here or into
/// a posting list, and the new high key.
pub(super) fn left(
    target: &Target<'_, '_>,
    page: &mut PageView<'_>,
    scratch: &mut Scratch,
    new_on_left: bool,
) -> Result<(), Fault> {
    let split = Split::read(target)?;
    let mut data = target.data();
    let mut new = match new_on_left || split.posting_position != 0 {
        true => Some(NewItem { bytes: aligned_tuple(&mut data)?, tid: None }),
        false => None,
    };
    let high_key = aligned_tuple(&mut data)?;
    data.end()?;

    let mut built = PageView::new(&mut scratch.page);
    built.init_like(page)?;
    built.add_item(high_key, Place::Insert(HIGH_KEY))?;
    let mut next = HIGH_KEY + 1;
    for number in Opaque::of(page)?.first_data_item()..split.first_right {
        if Some(number) == split.posting_item() {
            let new = new.as_mut().ok_or(Fault::Value { what: "place in the posting list", value: 0 })?;
            add_split_posting(&mut built, next, page.item(number)?, split.posting_position, new)?;
            next += 1;
            continue;
        }
        if new_on_left && number == split.new_item {
            add_new(&mut built, next, new)?;
            next += 1;
        }
        built.add_item(page.item(number)?, Place::Insert(next))?;
        next += 1;
    }
    if new_on_left && split.new_item == split.first_right {
        add_new(&mut built, next, new)?;
    }

    let mut opaque = Opaque::of(&built)?;
    opaque.flags = INCOMPLETE_SPLIT | split.kind();
    opaque.next = target.other_block(RIGHT)?;
    opaque.cycle_id = 0;
    opaque.put(&mut built)?;
    page.become_copy_of(&built);
    Ok(())
}

/// The new item, which may have got another TID out of a posting list.
#[derive(Clone, Copy)]
struct NewItem<'a> {
    bytes: &'a [u8],
    tid: Option<[u8; TID]>,
}

fn add_new(built: &mut PageView<'_>, number: u16, new: Option<NewItem<'_>>) -> Result<(), Fault> {
    let NewItem { bytes, tid } = new.ok_or(Fault::Value { what: "new item's number", value: number.into() })?;
    built.add_item(bytes, Place::Insert(number))?;
    if let Some(tid) = tid {
        built.item_mut(number)?[..TID].copy_from_slice(&tid);
    }
    Ok(())
}

/// The item with the posting list, after the new TID has taken its place there.
fn add_split_posting(
    built: &mut PageView<'_>,
    number: u16,
    old: &[u8],
    position: u16,
    new: &mut NewItem<'_>,
) -> Result<(), Fault> {
    let old = tuple(old)?;
    let slot = built.reserve_item(max_align(old.len()), Place::Insert(number))?;
    let bytes = &mut built.bytes_mut()[slot.start..slot.start + max_align(old.len())];
    bytes[..old.len()].copy_from_slice(old);
    let new_tid = *new.bytes.first_chunk().expect("a tuple has a t_tid");
    new.tid = Some(tuple::swap_posting(&mut bytes[..old.len()], position.into(), new_tid)?);
    Ok(())
}

/// The next tuple of a block's data, with its padding.
fn aligned_tuple<'a>(data: &mut Cursor<'a>) -> Result<&'a [u8], Fault> {
    let size = tuple(data.peek())?.len();
    data.bytes(max_align(size))
}
