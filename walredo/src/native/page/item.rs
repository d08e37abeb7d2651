//! Line pointers and what they point at.

use pgdata::PAGE_SIZE;

use super::{HEADER, LINE_POINTER, PageView};
use crate::native::fault::Fault;

/// A line pointer (`ItemIdData`): 15 bits of offset, 2 of flags, 15 of length.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ItemId(u32);

/// `lp_flags`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ItemFlags {
    /// Free for reuse.
    Unused = 0,
    /// Points at an item.
    Normal = 1,
    /// A heap's: the offset is another line pointer's number.
    Redirect = 2,
    /// Dead, with or without an item.
    Dead = 3,
}

impl ItemId {
    /// `ItemIdSetUnused`.
    pub(crate) const UNUSED: ItemId = ItemId(0);
    /// `ItemIdSetDead`: dead without an item.
    pub(crate) const DEAD: ItemId = ItemId::new(ItemFlags::Dead, 0, 0);

    const fn new(flags: ItemFlags, offset: usize, length: usize) -> ItemId {
        ItemId((offset as u32 & 0x7FFF) | (flags as u32) << 15 | (length as u32 & 0x7FFF) << 17)
    }

    /// `ItemIdSetNormal`.
    pub(crate) const fn normal(offset: usize, length: usize) -> ItemId {
        ItemId::new(ItemFlags::Normal, offset, length)
    }

    /// `ItemIdSetRedirect`.
    pub(crate) const fn redirect(to: u16) -> ItemId {
        ItemId::new(ItemFlags::Redirect, to as usize, 0)
    }

    pub(crate) const fn from_bytes(bytes: [u8; 4]) -> ItemId {
        ItemId(u32::from_le_bytes(bytes))
    }

    pub(crate) const fn to_bytes(self) -> [u8; 4] {
        self.0.to_le_bytes()
    }

    pub(crate) const fn offset(self) -> usize {
        (self.0 & 0x7FFF) as usize
    }

    pub(crate) const fn length(self) -> usize {
        (self.0 >> 17) as usize
    }

    pub(crate) const fn flags(self) -> ItemFlags {
        match self.0 >> 15 & 3 {
            0 => ItemFlags::Unused,
            1 => ItemFlags::Normal,
            2 => ItemFlags::Redirect,
            _ => ItemFlags::Dead,
        }
    }

    /// The same with another place; flags and length stay.
    pub(crate) const fn at(self, offset: usize) -> ItemId {
        ItemId(self.0 & !0x7FFF | offset as u32 & 0x7FFF)
    }

    /// The same with another length; flags and place stay.
    pub(crate) const fn with_length(self, length: usize) -> ItemId {
        ItemId(self.0 & 0x1_FFFF | (length as u32 & 0x7FFF) << 17)
    }

    /// `ItemIdIsUsed`.
    pub(crate) const fn is_used(self) -> bool {
        self.0 >> 15 & 3 != 0
    }

    /// `ItemIdIsNormal`.
    pub(crate) const fn is_normal(self) -> bool {
        self.0 >> 15 & 3 == ItemFlags::Normal as u32
    }

    /// `ItemIdHasStorage`.
    pub(crate) const fn has_storage(self) -> bool {
        self.length() != 0
    }
}

impl PageView<'_> {
    /// `PageGetMaxOffsetNumber`: how many line pointers there are, never more than fit on a page.
    pub(crate) fn item_count(&self) -> u16 {
        (self.lower().clamp(HEADER, PAGE_SIZE) - HEADER) as u16 / LINE_POINTER as u16
    }

    /// Line pointer `number`, counted from 1.
    pub(crate) fn item_id(&self, number: u16) -> Result<ItemId, Fault> {
        let count = self.item_count();
        if number == 0 || number > count {
            return Err(Fault::NoItem { number, count });
        }
        Ok(self.line(number))
    }

    /// Replaces a line pointer that is there.
    pub(crate) fn set_item_id(&mut self, number: u16, id: ItemId) -> Result<(), Fault> {
        self.item_id(number)?;
        self.put_line(number, id);
        Ok(())
    }

    /// The item that a line pointer with storage points at; it lies between `pd_upper` and the special space.
    pub(crate) fn item(&self, number: u16) -> Result<&[u8], Fault> {
        let (from, to) = self.item_range(number)?;
        Ok(&self.bytes()[from..to])
    }

    pub(crate) fn item_mut(&mut self, number: u16) -> Result<&mut [u8], Fault> {
        let (from, to) = self.item_range(number)?;
        Ok(&mut self.bytes_mut()[from..to])
    }

    /// The item that a normal line pointer leads to.
    pub(crate) fn normal_item_mut(&mut self, number: u16) -> Result<&mut [u8], Fault> {
        let id = self.item_id(number)?;
        if !id.is_normal() {
            return Err(Fault::NotNormal { number, flags: id.flags() as u8 });
        }
        let (from, to) = self.range_of(number, id)?;
        Ok(&mut self.bytes_mut()[from..to])
    }

    /// Where an item begins and ends.
    pub(crate) fn item_range(&self, number: u16) -> Result<(usize, usize), Fault> {
        self.range_of(number, self.item_id(number)?)
    }

    fn range_of(&self, number: u16, id: ItemId) -> Result<(usize, usize), Fault> {
        let bounds = self.bounds()?;
        let (from, to) = (id.offset(), id.offset() + id.length());
        if !id.has_storage() || from < bounds.upper || to > bounds.special {
            return Err(Fault::Item { number, offset: from, length: id.length() });
        }
        Ok((from, to))
    }

    /// The line pointer of a number between 1 and the count.
    pub(super) fn line(&self, number: u16) -> ItemId {
        ItemId::from_bytes(self.array(HEADER + LINE_POINTER * (usize::from(number) - 1)))
    }

    /// The first `count` line pointers; there are no fewer.
    pub(super) fn lines_mut(&mut self, count: u16) -> &mut [[u8; LINE_POINTER]] {
        self.bytes_mut()[HEADER..HEADER + LINE_POINTER * usize::from(count)].as_chunks_mut().0
    }

    pub(super) fn put_line(&mut self, number: u16, id: ItemId) {
        let at = HEADER + LINE_POINTER * (usize::from(number) - 1);
        self.bytes_mut()[at..at + LINE_POINTER].copy_from_slice(&id.to_bytes());
    }
}
