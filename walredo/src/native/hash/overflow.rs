//! Overflow pages: put behind the last page of a bucket, and freed when what they hold fits into the pages before.

use pgdata::PgVersion;

use super::opaque::{BUCKET, NO_BLOCK, OVERFLOW, Opaque, UNUSED, init, init_alone};
use super::{bitmap, bucket, meta};
use crate::native::fault::Fault;
use crate::native::page::PageView;
use crate::native::target::{Outcome, Target};

/// `xl_hash_add_ovfl_page`.
struct Added {
    /// Of a bitmap.
    bitmap_size: u16,
    /// The page had been in use before.
    is_reused: bool,
}

impl Added {
    fn read(target: &Target<'_, '_>) -> Result<Added, Fault> {
        let mut main = target.main();
        let added = Added { bitmap_size: main.u16()?, is_reused: main.u8()? != 0 };
        main.end()?;
        Ok(added)
    }
}

/// `hash_xlog_add_ovfl_page` for the new page: the block's data are its bucket.
pub(super) fn new_page(target: &Target<'_, '_>, page: &mut PageView<'_>) -> Result<(), Fault> {
    let mut data = target.data();
    let bucket = data.u32()?;
    data.end()?;
    let previous = target.other_block(1)?;
    init(page, Opaque { previous, next: NO_BLOCK, bucket, flags: OVERFLOW })
}

/// `hash_xlog_add_ovfl_page` for the page before the new one.
pub(super) fn link_to_new(target: &Target<'_, '_>, page: &mut PageView<'_>) -> Result<(), Fault> {
    set_next(page, target.other_block(0)?)
}

/// `hash_xlog_add_ovfl_page` for a bitmap that is needed for more pages.
pub(super) fn new_bitmap(target: &Target<'_, '_>, page: &mut PageView<'_>) -> Result<(), Fault> {
    bitmap::init_with(page, Added::read(target)?.bitmap_size)
}

/// `hash_xlog_add_ovfl_page` for the metapage: the block's data are the first overflow page that may be free.
pub(super) fn add_to_meta(target: &Target<'_, '_>, page: &mut PageView<'_>) -> Result<(), Fault> {
    let added = Added::read(target)?;
    meta::set_first_free(page, target.data())?;
    if added.is_reused {
        return Ok(());
    }
    meta::add_spares(page, 1)?;
    match target.find_block(3) {
        None => Ok(()),
        Some(bitmap) => {
            meta::add_bitmap(page, bitmap)?;
            meta::add_spares(page, 1)
        }
    }
}

/// `xl_hash_squeeze_page`.
struct Squeezed {
    /// The freed page's neighbours.
    previous: u32,
    next: u32,
    /// How many tuples are moved.
    tuples: u16,
    /// They are moved to the page before the freed one.
    into_previous: bool,
}

impl Squeezed {
    fn read(target: &Target<'_, '_>) -> Result<Squeezed, Fault> {
        let mut main = target.main();
        let (previous, next, tuples) = (main.u32()?, main.u32()?, main.u16()?);
        // Whether they are moved to the bucket's first page.
        main.skip(1)?;
        let into_previous = main.u8()? != 0;
        main.end()?;
        Ok(Squeezed { previous, next, tuples, into_previous })
    }
}

/// `hash_xlog_squeeze_page` for the page that gets tuples. Since 17 a page that gets none, and is not the one before the freed page, is only
/// locked.
pub(super) fn squeeze_into(target: &Target<'_, '_>, page: &mut PageView<'_>) -> Result<Outcome, Fault> {
    let squeezed = Squeezed::read(target)?;
    bucket::add_tuples(page, target.data(), squeezed.tuples)?;
    if squeezed.into_previous {
        set_next(page, squeezed.next)?;
    } else if squeezed.tuples == 0 && target.version() >= PgVersion::V17 {
        return Ok(Outcome::LsnKept);
    }
    Ok(Outcome::Changed)
}

/// `hash_xlog_squeeze_page` for the freed page.
pub(super) fn free(page: &mut PageView<'_>) -> Result<(), Fault> {
    init_alone(page, UNUSED)
}

/// `hash_xlog_squeeze_page` for the page before the freed one.
pub(super) fn link_to_next(target: &Target<'_, '_>, page: &mut PageView<'_>) -> Result<(), Fault> {
    match Squeezed::read(target)? {
        Squeezed { into_previous: true, .. } => target.unknown_block(),
        Squeezed { next, .. } => set_next(page, next),
    }
}

/// `hash_xlog_squeeze_page` for the page behind the freed one.
pub(super) fn link_to_previous(target: &Target<'_, '_>, page: &mut PageView<'_>) -> Result<(), Fault> {
    let Squeezed { previous, .. } = Squeezed::read(target)?;
    let opaque = Opaque::of(page, OVERFLOW)?;
    Opaque { previous, ..opaque }.put(page)
}

fn set_next(page: &mut PageView<'_>, next: u32) -> Result<(), Fault> {
    let opaque = Opaque::of(page, BUCKET | OVERFLOW)?;
    Opaque { next, ..opaque }.put(page)
}
