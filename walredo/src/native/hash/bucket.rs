//! Tuples in the pages of a bucket.

use pgdata::PgVersion;

use super::meta;
use super::opaque::{BUCKET, HAS_DEAD_TUPLES, OVERFLOW, Opaque};
use crate::native::cursor::{Cursor, U16s};
use crate::native::fault::Fault;
use crate::native::index_tuple::index_tuple_size;
use crate::native::page::{PageView, Place, max_align};
use crate::native::scratch::Scratch;
use crate::native::target::Target;

/// `hash_xlog_insert`: `xl_hash_insert` is the tuple's number, the block's data are the tuple.
pub(super) fn insert(target: &Target<'_, '_>, page: &mut PageView<'_>) -> Result<(), Fault> {
    let mut main = target.main();
    let number = main.u16()?;
    main.end()?;
    Opaque::of(page, BUCKET | OVERFLOW)?;
    page.add_item(target.data().rest(), Place::Insert(number))?;
    Ok(())
}

/// `hash_xlog_move_page_contents` for the page that gets tuples. `xl_hash_move_page_contents` is how many, and whether this is the bucket's
/// first page.
pub(super) fn take_moved(target: &Target<'_, '_>, page: &mut PageView<'_>) -> Result<(), Fault> {
    let mut main = target.main();
    let count = main.u16()?;
    main.skip(1)?;
    main.end()?;
    add_tuples(page, target.data(), count)
}

/// `hash_xlog_move_page_contents` for the page that gave tuples: the block's data are their numbers.
pub(super) fn delete_moved(
    target: &Target<'_, '_>,
    page: &mut PageView<'_>,
    scratch: &mut Scratch,
) -> Result<(), Fault> {
    delete_tuples(page, target.data().rest_u16s()?, scratch)
}

/// `hash_xlog_delete`: `xl_hash_delete` is whether dead tuples are gone now, and whether this is the bucket's first page; the block's data are
/// the tuples' numbers.
pub(super) fn delete(target: &Target<'_, '_>, page: &mut PageView<'_>, scratch: &mut Scratch) -> Result<(), Fault> {
    let mut main = target.main();
    let clear_dead = main.u8()? != 0;
    main.skip(1)?;
    main.end()?;
    delete_tuples(page, target.data().rest_u16s()?, scratch)?;
    match clear_dead {
        true => Opaque::change_flags(page, |flags| flags & !HAS_DEAD_TUPLES),
        false => Ok(()),
    }
}

/// `hash_xlog_vacuum_one_page` for the page with the tuples.
pub(super) fn vacuum(target: &Target<'_, '_>, page: &mut PageView<'_>, scratch: &mut Scratch) -> Result<(), Fault> {
    delete_tuples(page, vacuumed(target)?, scratch)?;
    Opaque::change_flags(page, |flags| flags & !HAS_DEAD_TUPLES)
}

/// `hash_xlog_vacuum_one_page` for the metapage.
pub(super) fn vacuum_meta(target: &Target<'_, '_>, page: &mut PageView<'_>) -> Result<(), Fault> {
    meta::count_tuples(page, -(vacuumed(target)?.len() as f64))
}

/// `xl_hash_vacuum_one_page`: a transaction, how many tuples, their numbers. Since 16 the count is shorter, and it is said whether the table is a
/// catalog.
fn vacuumed<'a>(target: &Target<'_, 'a>) -> Result<U16s<'a>, Fault> {
    let mut main = target.main();
    main.skip(4)?;
    let count = match target.version() {
        PgVersion::V15 => main.u32()?,
        _ => {
            let count = main.u16()?;
            main.skip(2)?;
            count.into()
        }
    };
    let numbers = main.rest_u16s()?;
    match numbers.len() == count as usize {
        true => Ok(numbers),
        false => Err(Fault::Value { what: "number of tuples", value: count.into() }),
    }
}

fn delete_tuples(page: &mut PageView<'_>, numbers: U16s<'_>, scratch: &mut Scratch) -> Result<(), Fault> {
    Opaque::of(page, BUCKET | OVERFLOW)?;
    page.delete_items(numbers.iter(), &mut scratch.compact)
}

/// Adds `count` tuples: the data are their numbers, each being the number when those before it are there, and the tuples with their padding.
pub(super) fn add_tuples(page: &mut PageView<'_>, mut data: Cursor<'_>, count: u16) -> Result<(), Fault> {
    Opaque::of(page, BUCKET | OVERFLOW)?;
    for number in data.u16s(usize::from(count))?.iter() {
        let size = max_align(index_tuple_size(&data.ahead()?));
        page.add_item(data.bytes(size)?, Place::Insert(number))?;
    }
    data.end()
}
