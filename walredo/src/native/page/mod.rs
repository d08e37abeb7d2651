//! A view of a page that checks every offset (`storage/bufpage.h`, the same in PostgreSQL 15 to 18).
//!
//! ```text
//! header 24 │ line pointers ──▶ lower … hole … upper ◀── items │ special space ─ 8192
//! ```
//!
//! What changes the array of items lives beside: [`add`](PageView::add_item), deletion and compaction, each with the bytes that
//! PostgreSQL's routine of that name leaves, also in the hole: a standby's files are compared with ours unmasked.

mod add;
mod compact;
mod delete;
mod item;
#[cfg(test)]
mod tests;

pub(crate) use add::{Place, Slot};
pub(crate) use compact::CompactScratch;
pub(crate) use item::{ItemFlags, ItemId};

use pgdata::{Lsn, PAGE_SIZE, Page, page_is_new, page_lsn, set_page_lsn};

use super::fault::Fault;

/// Where the line pointers begin (`SizeOfPageHeaderData`).
pub(crate) const HEADER: usize = 24;
/// Bytes of a line pointer (`sizeof(ItemIdData)`).
pub(crate) const LINE_POINTER: usize = 4;
/// The most line pointers that fit on a page, whatever they point at.
pub(crate) const MAX_ITEMS: usize = (PAGE_SIZE - HEADER) / LINE_POINTER;

const PD_FLAGS: usize = 10;
const PD_LOWER: usize = 12;
const PD_UPPER: usize = 14;
const PD_SPECIAL: usize = 16;
const PD_SIZE_VERSION: usize = 18;
const PD_PRUNE_XID: usize = 20;
/// `PG_PAGE_LAYOUT_VERSION`.
const LAYOUT_VERSION: u16 = 4;

/// Bits of `pd_flags`.
const HAS_FREE_LINES: u16 = 0x0001;
const ALL_VISIBLE: u16 = 0x0004;

/// Rounds up to a multiple of eight (`MAXALIGN` on every 64-bit platform).
pub(crate) const fn max_align(length: usize) -> usize {
    length.next_multiple_of(8)
}

/// A page being changed.
#[derive(Debug)]
pub(crate) struct PageView<'p> {
    bytes: &'p mut Page,
}

/// The three pointers of a page's header, in their order and inside the page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Bounds {
    pub lower: usize,
    pub upper: usize,
    pub special: usize,
}

impl<'p> PageView<'p> {
    pub(crate) fn new(bytes: &'p mut Page) -> PageView<'p> {
        PageView { bytes }
    }

    /// All bytes. Reading them needs no care; offsets taken from the page or a record do.
    pub(crate) fn bytes(&self) -> &Page {
        self.bytes
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut Page {
        self.bytes
    }

    pub(crate) fn lsn(&self) -> Lsn {
        page_lsn(self.bytes)
    }

    pub(crate) fn set_lsn(&mut self, lsn: Lsn) {
        set_page_lsn(self.bytes, lsn);
    }

    /// `PageIsNew`: never initialised.
    pub(crate) fn is_new(&self) -> bool {
        page_is_new(self.bytes)
    }

    /// `PageInit`: zeros, and a header for a page with `special` bytes (rounded up) of special space.
    pub(crate) fn init(&mut self, special: usize) {
        let special = PAGE_SIZE - max_align(special);
        self.bytes.fill(0);
        self.put_header(PD_LOWER, HEADER);
        self.put_header(PD_UPPER, special);
        self.put_header(PD_SPECIAL, special);
        self.put_header(PD_SIZE_VERSION, PAGE_SIZE | usize::from(LAYOUT_VERSION));
    }

    /// `PageGetTempPageCopySpecial`: empty, with the special space of `other`.
    pub(crate) fn init_like(&mut self, other: &PageView<'_>) -> Result<(), Fault> {
        let special = other.aligned_bounds()?.special;
        self.init(PAGE_SIZE - special);
        self.bytes[special..].copy_from_slice(&other.bytes[special..]);
        Ok(())
    }

    /// `PageRestoreTempPage`: becomes the same as `other`, header and all.
    pub(crate) fn become_copy_of(&mut self, other: &PageView<'_>) {
        self.bytes.copy_from_slice(other.bytes);
    }

    /// `pd_lower`, whatever it is.
    pub(crate) fn lower(&self) -> usize {
        self.header(PD_LOWER)
    }

    pub(crate) fn upper(&self) -> usize {
        self.header(PD_UPPER)
    }

    /// The header's pointers, checked as PostgreSQL checks them before it moves items.
    pub(crate) fn bounds(&self) -> Result<Bounds, Fault> {
        let (lower, upper, special) = (self.lower(), self.upper(), self.header(PD_SPECIAL));
        if HEADER <= lower && lower <= upper && upper <= special && special <= PAGE_SIZE {
            Ok(Bounds { lower, upper, special })
        } else {
            Err(Fault::Header { lower, upper, special })
        }
    }

    /// [`PageView::bounds`] of a page whose special space is aligned too.
    pub(crate) fn aligned_bounds(&self) -> Result<Bounds, Fault> {
        let bounds = self.bounds()?;
        match bounds.special == max_align(bounds.special) {
            true => Ok(bounds),
            false => Err(Fault::Header { lower: bounds.lower, upper: bounds.upper, special: bounds.special }),
        }
    }

    /// Sets `pd_lower`; for pages that are no arrays of items.
    pub(crate) fn set_lower(&mut self, lower: usize) {
        debug_assert!(lower <= PAGE_SIZE);
        self.put_header(PD_LOWER, lower);
    }

    pub(crate) fn set_upper(&mut self, upper: usize) {
        debug_assert!(upper <= PAGE_SIZE);
        self.put_header(PD_UPPER, upper);
    }

    pub(crate) fn prune_xid(&self) -> u32 {
        u32::from_le_bytes(self.array(PD_PRUNE_XID))
    }

    pub(crate) fn set_prune_xid(&mut self, xid: u32) {
        self.bytes[PD_PRUNE_XID..PD_PRUNE_XID + 4].copy_from_slice(&xid.to_le_bytes());
    }

    /// `PageSetAllVisible`, `PageClearAllVisible`.
    pub(crate) fn set_all_visible(&mut self, visible: bool) {
        self.set_flag(ALL_VISIBLE, visible);
    }

    fn set_has_free_lines(&mut self, free: bool) {
        self.set_flag(HAS_FREE_LINES, free);
    }

    fn set_flag(&mut self, flag: u16, on: bool) {
        let flags = self.header(PD_FLAGS);
        let flag = usize::from(flag);
        self.put_header(PD_FLAGS, if on { flags | flag } else { flags & !flag });
    }

    /// The special space, of which a page of this kind has exactly `N` bytes.
    pub(crate) fn special<const N: usize>(&self) -> Result<&[u8; N], Fault> {
        let start = self.special_start(N)?;
        Ok(self.bytes[start..].first_chunk().expect("special_start leaves N bytes"))
    }

    pub(crate) fn special_mut<const N: usize>(&mut self) -> Result<&mut [u8; N], Fault> {
        let start = self.special_start(N)?;
        Ok(self.bytes[start..].first_chunk_mut().expect("special_start leaves N bytes"))
    }

    fn special_start(&self, length: usize) -> Result<usize, Fault> {
        let special = self.header(PD_SPECIAL);
        match special + max_align(length) == PAGE_SIZE {
            true => Ok(special),
            false => Err(Fault::Special { at: special, expected: length }),
        }
    }

    fn array<const N: usize>(&self, at: usize) -> [u8; N] {
        *self.bytes[at..].first_chunk().expect("header fields are inside the page")
    }

    fn header(&self, at: usize) -> usize {
        usize::from(u16::from_le_bytes(self.array(at)))
    }

    fn put_header(&mut self, at: usize, value: usize) {
        self.bytes[at..at + 2].copy_from_slice(&(value as u16).to_le_bytes());
    }
}
