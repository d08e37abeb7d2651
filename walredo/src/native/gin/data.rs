//! Pages of posting trees. On an inner page there are, behind its right bound, posting items: a child and the greatest heap tuple below it.

use super::opaque::{COMPRESSED, DATA, DELETED, LEAF, Opaque, init};
use super::{SPECIAL, block_id};
use crate::native::cursor::Cursor;
use crate::native::fault::Fault;
use crate::native::page::{HEADER, PageView, max_align};
use crate::native::target::Target;

/// Where posting items, or a leaf's posting lists, begin: behind the right bound.
pub(super) const DATA_START: usize = HEADER + max_align(6);
/// `sizeof(PostingItem)`.
const ITEM: usize = 10;
/// The most posting items on a page.
const MAX_ITEMS: u16 = ((SPECIAL - DATA_START) / ITEM) as u16;

/// `ginRedoCreatePTree`: a leaf, with the posting lists that the record carries behind their length.
pub(super) fn create_tree(target: &Target<'_, '_>, page: &mut PageView<'_>) -> Result<(), Fault> {
    let mut main = target.main();
    let size = main.u32()? as usize;
    let lists = main.bytes(size)?;
    main.end()?;
    init(page, DATA | LEAF | COMPRESSED)?;
    let Some(room) = page.bytes_mut()[DATA_START..SPECIAL].get_mut(..size) else {
        return Err(Fault::NoRoom { needed: size, lower: DATA_START, upper: SPECIAL });
    };
    room.copy_from_slice(lists);
    page.set_lower(DATA_START + size);
    Ok(())
}

/// `ginRedoInsertData` on an inner page. The data are `ginxlogInsertDataInternal`: the new item's number and the item, which leads to
/// the left half of a page that was split; the item that it pushes on gets the right half.
pub(super) fn insert_downlink(page: &mut PageView<'_>, mut data: Cursor<'_>, right_child: u32) -> Result<(), Fault> {
    let number = data.u16()?;
    let item = data.array::<ITEM>()?;
    data.end()?;
    let opaque = inner(page)?;
    let at = item_at(number, opaque.count)?;
    if opaque.count == MAX_ITEMS {
        return Err(Fault::NoRoom { needed: ITEM, lower: DATA_START + ITEM * usize::from(MAX_ITEMS), upper: SPECIAL });
    }
    let end = DATA_START + ITEM * usize::from(opaque.count);
    let bytes = page.bytes_mut();
    bytes[at..at + 4].copy_from_slice(&block_id(right_child));
    bytes.copy_within(at..end, at + ITEM);
    bytes[at..at + ITEM].copy_from_slice(&item);
    set_count(page, opaque, opaque.count + 1)
}

/// `ginRedoDeletePage` for the page that goes, its parent, and its neighbour on the left. `ginxlogDeletePage` is the item's number in the
/// parent, the page to the right, and the last transaction that could be on its way to the page.
pub(super) fn delete_page(target: &Target<'_, '_>, page: &mut PageView<'_>) -> Result<(), Fault> {
    let mut main = target.main();
    let number = main.u16()?;
    main.skip(2)?;
    let (right, delete_xid) = (main.u32()?, main.u32()?);
    main.end()?;
    let opaque = Opaque::of(page)?.expect(DATA, DATA)?;
    match target.id() {
        0 => {
            page.set_prune_xid(delete_xid);
            Opaque { flags: opaque.flags | DELETED, ..opaque }.put(page)
        }
        1 => delete_item(page, number),
        2 => Opaque { right, ..opaque }.put(page),
        _ => target.unknown_block(),
    }
}

/// `GinPageDeletePostingItem`.
fn delete_item(page: &mut PageView<'_>, number: u16) -> Result<(), Fault> {
    let opaque = inner(page)?;
    let at = item_at(number, opaque.count)?;
    let end = DATA_START + ITEM * usize::from(opaque.count);
    page.bytes_mut().copy_within(at + ITEM..end, at);
    set_count(page, opaque, opaque.count - 1)
}

/// An inner page, with a count that it has room for.
fn inner(page: &PageView<'_>) -> Result<Opaque, Fault> {
    let opaque = Opaque::of(page)?.expect(DATA | LEAF, DATA)?;
    match opaque.count <= MAX_ITEMS {
        true => Ok(opaque),
        false => Err(Fault::PageValue { what: "number of posting items", value: opaque.count.into() }),
    }
}

/// Where a posting item is, counted from 1.
fn item_at(number: u16, count: u16) -> Result<usize, Fault> {
    match number != 0 && number <= count {
        true => Ok(DATA_START + ITEM * usize::from(number - 1)),
        false => Err(Fault::NoItem { number, count }),
    }
}

fn set_count(page: &mut PageView<'_>, opaque: Opaque, count: u16) -> Result<(), Fault> {
    page.set_lower(DATA_START + ITEM * usize::from(count));
    Opaque { count, ..opaque }.put(page)
}
