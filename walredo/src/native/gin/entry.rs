//! Pages of the entry tree: arrays of index tuples.

use super::block_id;
use super::opaque::{DATA, LEAF, Opaque};
use crate::native::cursor::Cursor;
use crate::native::fault::Fault;
use crate::native::page::{PageView, Place};

/// `ginRedoInsertEntry`. The data are `ginxlogInsertEntry`: the tuple's number, whether it takes the place of the one there, the tuple.
/// On an inner page the tuple leads to the left half of a page that was split, and the one that it pushes on gets the right half.
pub(super) fn insert(page: &mut PageView<'_>, mut data: Cursor<'_>, right_child: Option<u32>) -> Result<(), Fault> {
    let (number, is_delete) = (data.u16()?, data.u8()? != 0);
    data.skip(1)?;
    let tuple = data.index_tuple()?;
    data.end()?;
    Opaque::of(page)?.expect(DATA | LEAF, if right_child.is_some() { 0 } else { LEAF })?;
    if let Some(right_child) = right_child {
        let tuple = page.item_mut(number)?;
        let length = tuple.len() as u64;
        set_downlink(tuple, right_child).ok_or(Fault::PageValue { what: "tuple's length", value: length })?;
    }
    match (is_delete, right_child) {
        (false, _) => {}
        (true, None) => page.delete_item(number)?,
        (true, Some(_)) => return Err(Fault::Value { what: "mark of a replaced tuple on an inner page", value: 1 }),
    }
    page.add_item(tuple, Place::Insert(number))?;
    Ok(())
}

/// `GinSetDownlink`: the tuple's place in the heap is a page of the index, and tuple 0.
fn set_downlink(tuple: &mut [u8], block: u32) -> Option<()> {
    let place = tuple.first_chunk_mut::<6>()?;
    place[..4].copy_from_slice(&block_id(block));
    place[4..].fill(0);
    Some(())
}
