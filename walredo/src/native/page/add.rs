//! `PageAddItemExtended`.

use super::{HEADER, ItemId, LINE_POINTER, PageView, max_align};
use crate::native::fault::Fault;

/// Which line pointer a new item gets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    /// This number; it and those behind it move one further (`PageAddItem` without overwrite).
    Insert(u16),
    /// This number, which must be unused or the first beyond the last (`PAI_OVERWRITE`).
    Free(u16),
}

/// The room made for an item.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Slot {
    /// The line pointer's number.
    pub number: u16,
    /// Where the item's bytes begin.
    pub start: usize,
}

impl PageView<'_> {
    /// Adds an item and answers with its number.
    pub(crate) fn add_item(&mut self, item: &[u8], place: Place) -> Result<u16, Fault> {
        let slot = self.reserve_item(item.len(), place)?;
        self.bytes_mut()[slot.start..slot.start + item.len()].copy_from_slice(item);
        Ok(slot.number)
    }

    /// Makes room for an item and its line pointer; the bytes up to the item's length are the caller's to write, each of them.
    pub(crate) fn reserve_item(&mut self, length: usize, place: Place) -> Result<Slot, Fault> {
        let bounds = self.bounds()?;
        let limit = self.item_count() + 1;
        let (number, shift) = self.choose(place, limit)?;
        if number == 0 || number > limit {
            return Err(Fault::NoItem { number, count: limit - 1 });
        }
        let lower = if number == limit || shift { bounds.lower + LINE_POINTER } else { bounds.lower };
        if lower + max_align(length) > bounds.upper {
            return Err(Fault::NoRoom { needed: max_align(length), lower, upper: bounds.upper });
        }
        let start = bounds.upper - max_align(length);
        if shift {
            let at = HEADER + LINE_POINTER * usize::from(number - 1);
            let end = HEADER + LINE_POINTER * usize::from(limit - 1);
            self.bytes_mut().copy_within(at..end, at + LINE_POINTER);
        }
        self.put_line(number, ItemId::normal(start, length));
        self.set_lower(lower);
        self.set_upper(start);
        Ok(Slot { number, start })
    }

    /// The number, and whether the line pointers from there on have to move.
    fn choose(&self, place: Place, limit: u16) -> Result<(u16, bool), Fault> {
        match place {
            Place::Insert(number) => Ok((number, number < limit)),
            Place::Free(number) => {
                if number != 0 && number < limit {
                    let id = self.line(number);
                    if id.is_used() || id.has_storage() {
                        return Err(Fault::ItemInUse { number });
                    }
                }
                Ok((number, false))
            }
        }
    }
}
