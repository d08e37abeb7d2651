//! A bucket is divided: the new bucket's first page is made, its tuples come as images, and both pages are told that it is over.

use super::meta;
use super::opaque::{BUCKET, NO_BLOCK, Opaque, init};
use crate::native::fault::Fault;
use crate::native::page::PageView;
use crate::native::target::Target;

/// `XLH_SPLIT_META_UPDATE_MASKS`.
const UPDATE_MASKS: u8 = 1 << 0;
/// `XLH_SPLIT_META_UPDATE_SPLITPOINT`.
const UPDATE_SPLIT_POINT: u8 = 1 << 1;

/// `xl_hash_split_allocate_page`.
struct Allocated {
    new_bucket: u32,
    old_flags: u16,
    new_flags: u16,
    /// What changes in the metapage.
    flags: u8,
}

impl Allocated {
    fn read(target: &Target<'_, '_>) -> Result<Allocated, Fault> {
        let mut main = target.main();
        let (new_bucket, old_flags, new_flags) = (main.u32()?, main.u16()?, main.u16()?);
        let flags = main.u8()?;
        main.end()?;
        Ok(Allocated { new_bucket, old_flags, new_flags, flags })
    }
}

/// `hash_xlog_split_allocate_page` for the first page of the bucket that is divided.
pub(super) fn old_bucket(target: &Target<'_, '_>, page: &mut PageView<'_>) -> Result<(), Fault> {
    let Allocated { new_bucket, old_flags, .. } = Allocated::read(target)?;
    let opaque = Opaque::of(page, BUCKET)?;
    Opaque { previous: new_bucket, flags: old_flags, ..opaque }.put(page)
}

/// `hash_xlog_split_allocate_page` for the first page of the new bucket.
pub(super) fn new_bucket(target: &Target<'_, '_>, page: &mut PageView<'_>) -> Result<(), Fault> {
    let Allocated { new_bucket, new_flags, .. } = Allocated::read(target)?;
    init(page, Opaque { previous: new_bucket, next: NO_BLOCK, bucket: new_bucket, flags: new_flags })
}

/// `hash_xlog_split_allocate_page` for the metapage: the block's data are the masks and the split point, where these change.
pub(super) fn meta(target: &Target<'_, '_>, page: &mut PageView<'_>) -> Result<(), Fault> {
    let Allocated { new_bucket, flags, .. } = Allocated::read(target)?;
    let mut data = target.data();
    meta::check(page)?;
    meta::set_max_bucket(page, new_bucket);
    if flags & UPDATE_MASKS != 0 {
        let (low, high) = (data.u32()?, data.u32()?);
        meta::set_masks(page, low, high);
    }
    if flags & UPDATE_SPLIT_POINT != 0 {
        let (split_point, spares) = (data.u32()?, data.u32()?);
        meta::set_split_point(page, split_point, spares)?;
    }
    data.end()
}

/// `hash_xlog_split_complete`: `xl_hash_split_complete` is the flags of the old bucket's first page and of the new one's.
pub(super) fn complete(target: &Target<'_, '_>, page: &mut PageView<'_>) -> Result<(), Fault> {
    let mut main = target.main();
    let (old, new) = (main.u16()?, main.u16()?);
    main.end()?;
    let opaque = Opaque::of(page, BUCKET)?;
    Opaque { flags: if target.id() == 0 { old } else { new }, ..opaque }.put(page)
}
