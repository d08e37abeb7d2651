//! Changes to a tuple that is there: delete, lock, confirmation of a speculative insertion, update in place.

use super::tuple::{Tuple, set_prunable};
use crate::native::fault::Fault;
use crate::native::page::PageView;
use crate::native::target::Target;

const DELETE_ALL_VISIBLE_CLEARED: u8 = 1 << 0;
/// The tuple was inserted speculatively and is taken back.
const DELETE_IS_SUPER: u8 = 1 << 3;
const DELETE_IS_PARTITION_MOVE: u8 = 1 << 4;

/// What records about one tuple begin with (`xl_heap_delete`, `xl_heap_lock`, `xl_heap_lock_updated`).
struct OneTuple {
    xmax: u32,
    number: u16,
    infobits: u8,
    flags: u8,
}

impl OneTuple {
    fn read(target: &Target<'_, '_>) -> Result<OneTuple, Fault> {
        let mut main = target.main();
        Ok(OneTuple { xmax: main.u32()?, number: main.u16()?, infobits: main.u8()?, flags: main.u8()? })
    }
}

pub(super) fn delete(target: &Target<'_, '_>, page: &mut PageView<'_>) -> Result<(), Fault> {
    let OneTuple { xmax, number, infobits, flags } = OneTuple::read(target)?;
    let mut tuple = Tuple::at(page, number)?;
    tuple.set_infobits(infobits);
    tuple.set_hot_updated(false);
    if flags & DELETE_IS_SUPER == 0 {
        tuple.set_xmax(xmax);
    } else {
        tuple.set_xmin(0);
    }
    tuple.set_first_command();
    if flags & DELETE_IS_PARTITION_MOVE != 0 {
        tuple.set_moved_partitions();
    } else {
        tuple.set_ctid((target.block_number(), number));
    }
    set_prunable(page, target.record.xid);
    if flags & DELETE_ALL_VISIBLE_CLEARED != 0 {
        page.set_all_visible(false);
    }
    Ok(())
}

pub(super) fn lock(target: &Target<'_, '_>, page: &mut PageView<'_>) -> Result<(), Fault> {
    let OneTuple { xmax, number, infobits, .. } = OneTuple::read(target)?;
    let mut tuple = Tuple::at(page, number)?;
    tuple.set_infobits(infobits);
    if tuple.is_only_locked() {
        tuple.set_hot_updated(false);
        tuple.set_ctid((target.block_number(), number));
    }
    tuple.set_xmax(xmax);
    tuple.set_first_command();
    Ok(())
}

pub(super) fn lock_updated(target: &Target<'_, '_>, page: &mut PageView<'_>) -> Result<(), Fault> {
    let OneTuple { xmax, number, infobits, .. } = OneTuple::read(target)?;
    let mut tuple = Tuple::at(page, number)?;
    tuple.set_infobits(infobits);
    tuple.set_xmax(xmax);
    Ok(())
}

pub(super) fn confirm(target: &Target<'_, '_>, page: &mut PageView<'_>) -> Result<(), Fault> {
    let number = target.main().u16()?;
    Tuple::at(page, number)?.set_ctid((target.block_number(), number));
    Ok(())
}

/// The whole user data of a catalog's tuple. 18 adds invalidation messages behind the number, which concern no page.
pub(super) fn inplace(target: &Target<'_, '_>, page: &mut PageView<'_>) -> Result<(), Fault> {
    let number = target.main().u16()?;
    let new = target.data().rest();
    let mut tuple = Tuple::at(page, number)?;
    let old = tuple.data_mut()?;
    if old.len() != new.len() {
        return Err(Fault::Value { what: "length of the tuple's data", value: new.len() as u64 });
    }
    old.copy_from_slice(new);
    Ok(())
}
