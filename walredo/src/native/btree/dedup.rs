//! `btree_xlog_dedup`: tuples with the same key become one with a posting list. `xl_btree_dedup` is the number of intervals, the block's data
//! the intervals (`BTDedupInterval`): the number of the first tuple and how many there are.

use super::HIGH_KEY;
use super::opaque::{HAS_GARBAGE, Opaque};
use super::tuple::{MAX_ITEM, TID, Tids, finish, size_with, tids, tuple};
use crate::native::cursor::U16s;
use crate::native::fault::Fault;
use crate::native::page::{PageView, Place, max_align};
use crate::native::scratch::Scratch;
use crate::native::target::Target;

pub(super) fn dedup(target: &Target<'_, '_>, page: &mut PageView<'_>, scratch: &mut Scratch) -> Result<(), Fault> {
    let count = usize::from(target.main().u16()?);
    let intervals = target.data().u16s(count * 2)?;
    let opaque = Opaque::of(page)?;
    let first = opaque.first_data_item();
    let mut built = PageView::new(&mut scratch.page);
    built.init_like(page)?;
    if first != HIGH_KEY {
        built.add_item(page.item(HIGH_KEY)?, Place::Insert(HIGH_KEY))?;
    }

    let mut pending = Pending { base: first, items: 0, heap_tids: &mut scratch.bytes, intervals, done: 0 };
    for number in first..=page.item_count() {
        if number > first && !pending.takes_one_more() {
            pending.finish(page, &mut built)?;
        }
        pending.take(page, number)?;
    }
    pending.finish(page, &mut built)?;
    if pending.done != count {
        return Err(Fault::Value { what: "number of intervals", value: count as u64 });
    }
    Opaque { flags: opaque.flags & !HAS_GARBAGE, ..opaque }.put(&mut built)?;
    page.become_copy_of(&built);
    Ok(())
}

/// Tuples that are to become one (`BTDedupState`).
struct Pending<'s, 'a> {
    /// The number of the first one.
    base: u16,
    items: u16,
    /// The TIDs of all of them.
    heap_tids: &'s mut Vec<u8>,
    intervals: U16s<'a>,
    /// How many intervals are behind us.
    done: usize,
}

impl Pending<'_, '_> {
    fn takes_one_more(&self) -> bool {
        let of_interval = |at| self.intervals.get(self.done * 2 + at);
        of_interval(0) == Some(self.base) && of_interval(1).is_some_and(|items| self.items < items)
    }

    /// `_bt_dedup_start_pending`, `_bt_dedup_save_htid`.
    fn take(&mut self, page: &PageView<'_>, number: u16) -> Result<(), Fault> {
        let item = tuple(page.item(number)?)?;
        if self.items == 0 {
            self.base = number;
            self.heap_tids.clear();
        }
        self.heap_tids.extend_from_slice(Tids::of(item)?.bytes(item));
        self.items += 1;
        Ok(())
    }

    /// `_bt_dedup_finish_pending`: adds what is pending to the new page. A tuple that stays alone stays as it is.
    fn finish(&mut self, page: &PageView<'_>, built: &mut PageView<'_>) -> Result<(), Fault> {
        if self.items == 0 {
            return Err(Fault::PageValue { what: "number of tuples", value: 0 });
        }
        let base = tuple(page.item(self.base)?)?;
        let place = Place::Insert(built.item_count() + 1);
        if self.items == 1 {
            built.add_item(base, place)?;
        } else {
            let (key_size, count) = (Tids::of(base)?.key_size(base), self.heap_tids.len() / TID);
            let size = size_with(key_size, count);
            if size > MAX_ITEM {
                return Err(Fault::Value { what: "size of a posting list tuple", value: size as u64 });
            }
            let slot = built.reserve_item(max_align(size), place)?;
            let bytes = &mut built.bytes_mut()[slot.start..slot.start + size];
            bytes[..key_size].copy_from_slice(&base[..key_size]);
            finish(bytes, key_size, count, tids(self.heap_tids))?;
            self.done += 1;
        }
        self.items = 0;
        Ok(())
    }
}
