//! `btree_xlog_insert`: a tuple more on a page. `xl_btree_insert` is the tuple's number.

use super::tuple::{self, TID};
use crate::native::fault::Fault;
use crate::native::page::{PageView, Place};
use crate::native::target::Target;

pub(super) fn insert(target: &Target<'_, '_>, page: &mut PageView<'_>) -> Result<(), Fault> {
    let number = target.main().u16()?;
    page.add_item(target.data().rest(), Place::Insert(number))?;
    Ok(())
}

/// The new tuple's TID falls inside the posting list of the tuple before it. The block's data begin with its place there.
pub(super) fn insert_into_posting(target: &Target<'_, '_>, page: &mut PageView<'_>) -> Result<(), Fault> {
    let number = target.main().u16()?;
    let mut data = target.data();
    let position = usize::from(data.u16()?);
    let new = data.rest();
    let Some(new_tid) = new.first_chunk::<TID>() else {
        return Err(Fault::Short { what: "the new tuple", needed: TID, left: new.len() });
    };
    let old = page.item_mut(number.wrapping_sub(1))?;
    let last = tuple::swap_posting(old, position, *new_tid)?;
    let slot = page.reserve_item(new.len(), Place::Insert(number))?;
    let bytes = &mut page.bytes_mut()[slot.start..slot.start + new.len()];
    bytes.copy_from_slice(new);
    bytes[..TID].copy_from_slice(&last);
    Ok(())
}
