//! Tuples that go, and posting lists that get shorter: `btree_xlog_vacuum`, `btree_xlog_delete`.

use pgdata::PgVersion;

use super::opaque::{HAS_GARBAGE, Opaque};
use super::tuple::{Tids, finish, size_with, tids, tuple};
use crate::native::cursor::{Cursor, U16s};
use crate::native::fault::Fault;
use crate::native::page::PageView;
use crate::native::scratch::Scratch;
use crate::native::target::Target;

/// `xl_btree_vacuum` is two counts.
pub(super) fn vacuum(target: &Target<'_, '_>, page: &mut PageView<'_>, scratch: &mut Scratch) -> Result<(), Fault> {
    let mut main = target.main();
    let (deleted, updated) = (main.u16()?, main.u16()?);
    remove(target, page, scratch, deleted, updated)?;
    let mut opaque = Opaque::of(page)?;
    if target.version() >= PgVersion::V18 {
        // Before, redo left what the primary cleared; nothing reads it there.
        opaque.cycle_id = 0;
    }
    opaque.flags &= !HAS_GARBAGE;
    opaque.put(page)
}

/// `xl_btree_delete` is a transaction id and two counts. 16 adds a byte for logical decoding behind.
pub(super) fn delete(target: &Target<'_, '_>, page: &mut PageView<'_>, scratch: &mut Scratch) -> Result<(), Fault> {
    let mut main = target.main();
    main.skip(4)?;
    let (deleted, updated) = (main.u16()?, main.u16()?);
    remove(target, page, scratch, deleted, updated)?;
    let mut opaque = Opaque::of(page)?;
    opaque.flags &= !HAS_GARBAGE;
    opaque.put(page)
}

/// The block's data are the numbers of tuples to delete, those of tuples to update, and for each of these an `xl_btree_update`.
fn remove(
    target: &Target<'_, '_>,
    page: &mut PageView<'_>,
    scratch: &mut Scratch,
    deleted: u16,
    updated: u16,
) -> Result<(), Fault> {
    let mut data = target.data();
    let deleted = data.u16s(usize::from(deleted))?;
    let updated = data.u16s(usize::from(updated))?;
    for number in updated.iter() {
        let gone = updated_tids(&mut data)?;
        shorten(page.item(number)?, gone, &mut scratch.bytes)?;
        page.overwrite_item(number, &scratch.bytes)?;
    }
    match deleted.len() {
        0 => Ok(()),
        _ => page.delete_items(deleted.iter(), &mut scratch.compact),
    }
}

/// `xl_btree_update`: a count, and so many places in a posting list.
fn updated_tids<'a>(data: &mut Cursor<'a>) -> Result<U16s<'a>, Fault> {
    let count = usize::from(data.u16()?);
    data.u16s(count)
}

/// `_bt_update_posting`: the tuple without these of its TIDs.
fn shorten(item: &[u8], gone: U16s<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    let old = tuple(item)?;
    let all = Tids::of_posting(old)?;
    let in_order = gone.iter().zip(gone.iter().skip(1)).all(|(a, b)| a < b);
    let in_list = gone.iter().last().is_none_or(|last| usize::from(last) < all.count);
    if !in_order || !in_list || gone.len() >= all.count {
        return Err(Fault::Value { what: "list of deleted TIDs, its length", value: gone.len() as u64 });
    }
    let (key_size, count) = (all.from, all.count - gone.len());
    out.clear();
    out.extend_from_slice(&old[..key_size]);
    out.resize(size_with(key_size, count), 0);
    let mut gone = gone.iter().peekable();
    let kept = (0..).zip(tids(all.bytes(old))).filter(|(place, _)| gone.next_if_eq(place).is_none());
    finish(out, key_size, count, kept.map(|(_, tid)| tid))
}
