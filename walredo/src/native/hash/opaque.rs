//! The special space of a page of a hash index (`HashPageOpaqueData`): its neighbours in the chain, its bucket, its kind, and a mark that says
//! that it is of a hash index.

use crate::native::fault::Fault;
use crate::native::page::PageView;

/// `sizeof(HashPageOpaqueData)`.
const SIZE: usize = 16;
/// Where the special space begins.
pub(super) const SPECIAL: usize = pgdata::PAGE_SIZE - SIZE;
/// `HASHO_PAGE_ID`.
const PAGE_ID: u16 = 0xFF80;

/// `InvalidBlockNumber`.
pub(super) const NO_BLOCK: u32 = u32::MAX;
/// `InvalidBucket`.
pub(super) const NO_BUCKET: u32 = u32::MAX;

/// `LH_UNUSED_PAGE`: no kind.
pub(super) const UNUSED: u16 = 0;
pub(super) const OVERFLOW: u16 = 1 << 0;
pub(super) const BUCKET: u16 = 1 << 1;
pub(super) const BITMAP: u16 = 1 << 2;
pub(super) const META: u16 = 1 << 3;
pub(super) const NEEDS_SPLIT_CLEANUP: u16 = 1 << 6;
pub(super) const HAS_DEAD_TUPLES: u16 = 1 << 7;

/// What a page says of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Opaque {
    /// The page before it in the chain; on the first page of a bucket, the greatest bucket when it was last split.
    pub previous: u32,
    pub next: u32,
    pub bucket: u32,
    pub flags: u16,
}

impl Opaque {
    /// A page of one of these kinds.
    pub(super) fn of(page: &PageView<'_>, kinds: u16) -> Result<Opaque, Fault> {
        let (words, _) = page.special::<SIZE>()?.as_chunks::<4>();
        let [previous, next, bucket, last] = [0, 1, 2, 3].map(|index: usize| u32::from_le_bytes(words[index]));
        let (flags, page_id) = (last as u16, (last >> 16) as u16);
        if page_id != PAGE_ID {
            return Err(Fault::PageValue { what: "mark of a hash index", value: page_id.into() });
        }
        if flags & kinds == 0 {
            return Err(Fault::PageValue { what: "word of flags", value: flags.into() });
        }
        Ok(Opaque { previous, next, bucket, flags })
    }

    pub(super) fn put(self, page: &mut PageView<'_>) -> Result<(), Fault> {
        let last = u32::from(PAGE_ID) << 16 | u32::from(self.flags);
        let words = [self.previous, self.next, self.bucket, last].map(u32::to_le_bytes);
        page.special_mut::<SIZE>()?.copy_from_slice(words.as_flattened());
        Ok(())
    }

    /// Changes the flags of a page with tuples.
    pub(super) fn change_flags(page: &mut PageView<'_>, change: impl FnOnce(u16) -> u16) -> Result<(), Fault> {
        let opaque = Opaque::of(page, BUCKET | OVERFLOW)?;
        Opaque { flags: change(opaque.flags), ..opaque }.put(page)
    }
}

/// `_hash_pageinit`, and the special space.
pub(super) fn init(page: &mut PageView<'_>, opaque: Opaque) -> Result<(), Fault> {
    page.init(SIZE);
    opaque.put(page)
}

/// [`init`] of a page that is in no chain.
pub(super) fn init_alone(page: &mut PageView<'_>, flags: u16) -> Result<(), Fault> {
    init(page, Opaque { previous: NO_BLOCK, next: NO_BLOCK, bucket: NO_BUCKET, flags })
}
