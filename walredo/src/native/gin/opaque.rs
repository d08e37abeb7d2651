//! The special space of a GIN page (`GinPageOpaqueData`): the page to the right, a count, flags.

use crate::native::fault::Fault;
use crate::native::page::PageView;

/// `sizeof(GinPageOpaqueData)`.
pub(super) const SIZE: usize = 8;
/// `InvalidBlockNumber`.
pub(super) const NO_BLOCK: u32 = u32::MAX;

pub(super) const DATA: u16 = 1 << 0;
pub(super) const LEAF: u16 = 1 << 1;
pub(super) const DELETED: u16 = 1 << 2;
pub(super) const META: u16 = 1 << 3;
pub(super) const LIST: u16 = 1 << 4;
pub(super) const LIST_FULLROW: u16 = 1 << 5;
pub(super) const INCOMPLETE_SPLIT: u16 = 1 << 6;
pub(super) const COMPRESSED: u16 = 1 << 7;

/// What a page says of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Opaque {
    pub right: u32,
    /// Posting items of an inner page of a posting tree; heap tuples of a page of the pending list.
    pub count: u16,
    pub flags: u16,
}

impl Opaque {
    pub(super) fn of(page: &PageView<'_>) -> Result<Opaque, Fault> {
        let [r0, r1, r2, r3, c0, c1, f0, f1] = *page.special::<SIZE>()?;
        Ok(Opaque {
            right: u32::from_le_bytes([r0, r1, r2, r3]),
            count: u16::from_le_bytes([c0, c1]),
            flags: u16::from_le_bytes([f0, f1]),
        })
    }

    pub(super) fn put(self, page: &mut PageView<'_>) -> Result<(), Fault> {
        let special = page.special_mut::<SIZE>()?;
        special[..4].copy_from_slice(&self.right.to_le_bytes());
        special[4..6].copy_from_slice(&self.count.to_le_bytes());
        special[6..].copy_from_slice(&self.flags.to_le_bytes());
        Ok(())
    }

    /// The page must be of a kind: of the flags in `mask` it has those in `wanted`, and no others.
    pub(super) fn expect(self, mask: u16, wanted: u16) -> Result<Opaque, Fault> {
        match self.flags & mask == wanted {
            true => Ok(self),
            false => Err(Fault::PageValue { what: "word of flags", value: self.flags.into() }),
        }
    }
}

/// `GinInitPage`.
pub(super) fn init(page: &mut PageView<'_>, flags: u16) -> Result<(), Fault> {
    page.init(SIZE);
    Opaque { right: NO_BLOCK, count: 0, flags }.put(page)
}
