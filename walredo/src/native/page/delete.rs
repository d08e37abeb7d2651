//! Taking items off an index page, and replacing them: `PageIndexTupleDelete`, `PageIndexMultiDelete`,
//! `PageIndexTupleDeleteNoCompact`, `PageIndexTupleOverwrite`; and a heap's `PageTruncateLinePointerArray`.

use super::compact::{Compact, CompactScratch, Survivors};
use super::{Bounds, HEADER, ItemId, LINE_POINTER, PageView, max_align};
use crate::native::fault::Fault;

impl PageView<'_> {
    /// `PageIndexTupleDelete`: the items behind get the number before theirs.
    pub(crate) fn delete_item(&mut self, number: u16) -> Result<(), Fault> {
        let bounds = self.aligned_bounds()?;
        let count = self.item_count();
        let (offset, size) = self.aligned_item(number, bounds)?;
        let at = HEADER + LINE_POINTER * usize::from(number - 1);
        self.bytes_mut().copy_within(at + LINE_POINTER..bounds.lower, at);
        self.set_lower(bounds.lower - LINE_POINTER);
        self.close_gap(bounds, offset, size, count - 1);
        Ok(())
    }

    /// `PageIndexTupleDeleteNoCompact`: the others keep their numbers; only a last line pointer goes.
    pub(crate) fn delete_item_keeping_numbers(&mut self, number: u16) -> Result<(), Fault> {
        let bounds = self.aligned_bounds()?;
        let mut count = self.item_count();
        let (offset, size) = self.aligned_item(number, bounds)?;
        if number < count {
            self.put_line(number, ItemId::UNUSED);
        } else {
            self.set_lower(bounds.lower - LINE_POINTER);
            count -= 1;
        }
        self.close_gap(bounds, offset, size, count);
        Ok(())
    }

    /// `PageIndexMultiDelete`: `numbers` in rising order.
    pub(crate) fn delete_items(
        &mut self,
        numbers: impl DoubleEndedIterator<Item = u16> + ExactSizeIterator,
        scratch: &mut CompactScratch,
    ) -> Result<(), Fault> {
        if numbers.len() <= 2 {
            return numbers.rev().try_for_each(|number| self.delete_item(number));
        }
        let bounds = self.aligned_bounds()?;
        let wanted = numbers.len();
        let (mut numbers, mut found) = (numbers.peekable(), 0);
        let mut kept = Survivors::new(bounds, scratch);
        for number in 1..=self.item_count() {
            let (offset, size) = self.aligned_item(number, bounds)?;
            if numbers.next_if_eq(&number).is_some() {
                found += 1;
            } else {
                let index = kept.count();
                kept.keep(Compact { index, offset: offset as u16, length: size as u16 });
                // What is kept moves to the front, where nothing is read any more.
                self.put_line(index + 1, self.line(number));
            }
        }
        if found != wanted {
            return Err(Fault::NumbersOutOfOrder { wanted, found });
        }
        let count = kept.count();
        let (presorted, total) = kept.finish();
        if total > bounds.special - bounds.lower {
            return Err(Fault::ItemLengths { total, room: bounds.special - bounds.lower });
        }
        self.set_lower(HEADER + LINE_POINTER * usize::from(count));
        if count == 0 {
            self.set_upper(bounds.special);
            return Ok(());
        }
        self.compact(usize::from(count), presorted, scratch)
    }

    /// `PageIndexTupleOverwrite`: the new item lies where the old one did, and what lies before it moves.
    pub(crate) fn overwrite_item(&mut self, number: u16, item: &[u8]) -> Result<(), Fault> {
        let bounds = self.aligned_bounds()?;
        let (offset, old_size) = self.aligned_item(number, bounds)?;
        let new_size = max_align(item.len());
        if new_size > old_size + (bounds.upper - bounds.lower) {
            return Err(Fault::NoRoom { needed: new_size - old_size, lower: bounds.lower, upper: bounds.upper });
        }
        let start = offset + old_size - new_size;
        if new_size != old_size {
            let upper = bounds.upper + old_size - new_size;
            self.bytes_mut().copy_within(bounds.upper..offset, upper);
            self.set_upper(upper);
            self.shift_items(self.item_count(), offset, old_size as isize - new_size as isize);
        }
        let id = self.line(number).at(start).with_length(item.len());
        self.put_line(number, id);
        self.bytes_mut()[start..start + item.len()].copy_from_slice(item);
        Ok(())
    }

    /// `PageTruncateLinePointerArray`: unused line pointers at the end go, but the first stays.
    pub(crate) fn truncate_line_pointers(&mut self) -> Result<(), Fault> {
        let bounds = self.bounds()?;
        let count = self.item_count();
        let last = (2..=count).rev().find(|&number| self.line(number).is_used()).unwrap_or(count.min(1));
        let unused_left = (1..=last).any(|number| !self.line(number).is_used());
        self.set_lower(bounds.lower - LINE_POINTER * usize::from(count - last));
        self.set_has_free_lines(unused_left);
        Ok(())
    }

    /// An item's place and rounded size, checked as these routines do.
    fn aligned_item(&self, number: u16, bounds: Bounds) -> Result<(usize, usize), Fault> {
        let id = self.item_id(number)?;
        let (offset, length) = (id.offset(), id.length());
        if offset < bounds.upper || offset + length > bounds.special || offset != max_align(offset) {
            return Err(Fault::Item { number, offset, length });
        }
        Ok((offset, max_align(length)))
    }

    /// Moves what lies before a deleted item over it.
    fn close_gap(&mut self, bounds: Bounds, offset: usize, size: usize, count: u16) {
        self.bytes_mut().copy_within(bounds.upper..offset, bounds.upper + size);
        self.set_upper(bounds.upper + size);
        self.shift_items(count, offset, size as isize);
    }

    /// Tells line pointers of items at or before `offset` that their items have moved.
    fn shift_items(&mut self, count: u16, offset: usize, by: isize) {
        // Written so that the compiler takes many line pointers at once.
        for line in self.lines_mut(count) {
            let id = ItemId::from_bytes(*line);
            let moved = id.at(id.offset().wrapping_add_signed(by));
            *line = if id.has_storage() && id.offset() <= offset { moved } else { id }.to_bytes();
        }
    }
}
