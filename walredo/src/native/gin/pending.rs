//! The metapage, and the list of pages with entries that are still to be put into the tree.

use super::opaque::{DELETED, LIST, LIST_FULLROW, META, NO_BLOCK, Opaque, init};
use crate::native::cursor::Cursor;
use crate::native::fault::Fault;
use crate::native::page::{HEADER, PageView, Place};
use crate::native::target::Target;

/// `sizeof(GinMetaPageData)`.
const META_DATA: usize = 56;
/// Where it is in `ginxlogUpdateMeta`: behind the relation, on a multiple of eight.
const META_IN_UPDATE: usize = 16;
/// What both records with meta data have behind their last field.
const PADDING: usize = 4;

/// `ginxlogUpdateMeta` after its meta data.
struct Update {
    /// The tail of the list until now.
    previous_tail: u32,
    /// The first page of a list that is put behind it.
    new_right: u32,
    /// How many tuples the tail gets; without any it gets the list, if it is there.
    tuples: u32,
}

/// `ginRedoUpdateMetapage` for the metapage.
pub(super) fn update_meta(target: &Target<'_, '_>, page: &mut PageView<'_>) -> Result<(), Fault> {
    let (meta, _) = read_update(target)?;
    put_meta(page, meta)
}

/// `ginRedoUpdateMetapage` for the tail of the list.
pub(super) fn update_tail(target: &Target<'_, '_>, page: &mut PageView<'_>) -> Result<(), Fault> {
    let (_, update) = read_update(target)?;
    let opaque = Opaque::of(page)?.expect(LIST, LIST)?;
    match update {
        Update { tuples: 0, previous_tail: NO_BLOCK, .. } => target.unknown_block(),
        Update { tuples: 0, new_right, .. } => Opaque { right: new_right, ..opaque }.put(page),
        Update { tuples, .. } => {
            append(page, target.data(), tuples)?;
            let count = opaque.count.checked_add(1);
            let count = count.ok_or(Fault::PageValue { what: "number of heap tuples", value: opaque.count.into() })?;
            Opaque { count, ..opaque }.put(page)
        }
    }
}

/// `ginRedoInsertListPage`: a new page of the list. The last of a row's pages says that rows are whole there.
pub(super) fn insert_list_page(target: &Target<'_, '_>, page: &mut PageView<'_>) -> Result<(), Fault> {
    let mut main = target.main();
    let (right, tuples) = (main.u32()?, main.u32()?);
    main.end()?;
    let is_tail = right == NO_BLOCK;
    init(page, if is_tail { LIST | LIST_FULLROW } else { LIST })?;
    let opaque = Opaque::of(page)?;
    Opaque { right, count: is_tail.into(), ..opaque }.put(page)?;
    append(page, target.data(), tuples)
}

/// `ginRedoDeleteListPages` for the metapage.
pub(super) fn delete_from_meta(target: &Target<'_, '_>, page: &mut PageView<'_>) -> Result<(), Fault> {
    let (meta, _) = read_delete(target)?;
    put_meta(page, meta)
}

/// `ginRedoDeleteListPages` for a page that goes.
pub(super) fn delete_list_page(target: &Target<'_, '_>, page: &mut PageView<'_>) -> Result<(), Fault> {
    let (_, deleted) = read_delete(target)?;
    match u32::from(target.id()) <= deleted {
        true => init(page, DELETED),
        false => target.unknown_block(),
    }
}

fn read_update(target: &Target<'_, '_>) -> Result<([u8; META_DATA], Update), Fault> {
    let mut main = target.main();
    main.skip(META_IN_UPDATE)?;
    let meta = main.array()?;
    let update = Update { previous_tail: main.u32()?, new_right: main.u32()?, tuples: main.u32()? };
    main.skip(PADDING)?;
    main.end()?;
    if update.tuples > i32::MAX as u32 {
        return Err(Fault::Value { what: "number of tuples", value: update.tuples.into() });
    }
    Ok((meta, update))
}

/// `ginxlogDeleteListPages`: the meta data and the number of pages.
fn read_delete(target: &Target<'_, '_>) -> Result<([u8; META_DATA], u32), Fault> {
    let mut main = target.main();
    let (meta, deleted) = (main.array()?, main.u32()?);
    main.skip(PADDING)?;
    main.end()?;
    Ok((meta, deleted))
}

/// `GinInitMetabuffer` and the record's meta data.
fn put_meta(page: &mut PageView<'_>, meta: [u8; META_DATA]) -> Result<(), Fault> {
    init(page, META)?;
    page.bytes_mut()[HEADER..HEADER + META_DATA].copy_from_slice(&meta);
    page.set_lower(HEADER + META_DATA);
    Ok(())
}

/// Adds `count` tuples behind the last one.
fn append(page: &mut PageView<'_>, mut data: Cursor<'_>, count: u32) -> Result<(), Fault> {
    for _ in 0..count {
        let tuple = data.index_tuple()?;
        page.add_item(tuple, Place::Insert(page.item_count() + 1))?;
    }
    data.end()
}
