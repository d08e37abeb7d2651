//! Closing the gaps between items: `compactify_tuples` and a heap's `PageRepairFragmentation`.
//!
//! The order in which bytes are moved shows in what is left in the hole, so it is PostgreSQL's own.

use pgdata::{PAGE_SIZE, Page};

use super::{Bounds, ItemFlags, ItemId, LINE_POINTER, MAX_ITEMS, PageView, max_align};
use crate::native::fault::Fault;

/// An item that stays (`itemIdCompactData`).
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Compact {
    /// Its line pointer's number, less one.
    pub index: u16,
    /// Where it lies.
    pub offset: u16,
    /// Its rounded length.
    pub length: u16,
}

impl Compact {
    fn start(self) -> usize {
        usize::from(self.offset)
    }

    fn end(self) -> usize {
        usize::from(self.offset) + usize::from(self.length)
    }
}

/// Memory for one compaction, used again for the next.
#[derive(Debug)]
pub(crate) struct CompactScratch {
    items: [Compact; MAX_ITEMS],
    copy: Page,
}

impl CompactScratch {
    pub(crate) const fn new() -> CompactScratch {
        CompactScratch { items: [Compact { index: 0, offset: 0, length: 0 }; MAX_ITEMS], copy: [0; PAGE_SIZE] }
    }
}

/// The list of items that stay, being made.
pub(super) struct Survivors<'s> {
    items: &'s mut [Compact; MAX_ITEMS],
    count: usize,
    last: usize,
    presorted: bool,
    total: usize,
}

impl<'s> Survivors<'s> {
    pub(super) fn new(bounds: Bounds, scratch: &'s mut CompactScratch) -> Survivors<'s> {
        Survivors { items: &mut scratch.items, count: 0, last: bounds.special, presorted: true, total: 0 }
    }

    /// The next one in the order of line pointers; there are never more than `MAX_ITEMS` of these.
    pub(super) fn keep(&mut self, item: Compact) {
        self.presorted &= item.start() < self.last;
        self.last = self.last.min(item.start());
        self.total += usize::from(item.length);
        self.items[self.count] = item;
        self.count += 1;
    }

    pub(super) fn count(&self) -> u16 {
        self.count as u16
    }

    /// Whether they lie in falling order, and the sum of their lengths.
    pub(super) fn finish(self) -> (bool, usize) {
        (self.presorted, self.total)
    }
}

impl PageView<'_> {
    /// `PageRepairFragmentation` of a heap page.
    pub(crate) fn repair_fragmentation(&mut self, scratch: &mut CompactScratch) -> Result<(), Fault> {
        let bounds = self.aligned_bounds()?;
        let count = self.item_count();
        let mut kept = Survivors::new(bounds, scratch);
        let (mut unused, mut last_used) = (0, 0);
        for number in 1..=count {
            let id = self.line(number);
            if id.flags() == ItemFlags::Unused {
                self.put_line(number, ItemId::UNUSED);
                unused += 1;
                continue;
            }
            last_used = number;
            if id.has_storage() {
                let (offset, length) = (id.offset(), max_align(id.length()));
                if offset < bounds.upper || offset + length > bounds.special {
                    return Err(Fault::Item { number, offset, length: id.length() });
                }
                kept.keep(Compact { index: number - 1, offset: offset as u16, length: length as u16 });
            }
        }
        let items = kept.count();
        let (presorted, total) = kept.finish();
        if total > bounds.special - bounds.lower {
            return Err(Fault::ItemLengths { total, room: bounds.special - bounds.lower });
        }
        match items {
            0 => self.set_upper(bounds.special),
            _ => self.compact(usize::from(items), presorted, scratch)?,
        }
        let trailing = count - last_used;
        self.set_lower(bounds.lower - LINE_POINTER * usize::from(trailing));
        self.set_has_free_lines(unused > trailing);
        Ok(())
    }

    /// `compactify_tuples`: moves the first `count` items of `scratch`, at least one, to the end of the page.
    /// They lie between `pd_upper` and the special space, and their lengths fit there together.
    pub(super) fn compact(&mut self, count: usize, presorted: bool, scratch: &mut CompactScratch) -> Result<(), Fault> {
        let CompactScratch { items, copy } = scratch;
        let items = &items[..count];
        let Bounds { upper: old_upper, special, .. } = self.bounds()?;
        // With most items gone there is little to be left in place: PostgreSQL copies one by one and moves all.
        let one_by_one = !presorted && count < usize::from(self.item_count()) / 4;
        let (mut upper, mut first) = (special, 0);
        if one_by_one {
            for item in items {
                copy[item.start()..item.end()].copy_from_slice(&self.bytes()[item.start()..item.end()]);
            }
        } else {
            while first < count && items[first].end() == upper {
                upper = items[first].start();
                first += 1;
            }
            if !presorted {
                copy[old_upper..upper].copy_from_slice(&self.bytes()[old_upper..upper]);
            }
        }
        let moved = &items[first..];
        if let Some(wrong) = moved.iter().find(|item| item.end() > upper) {
            return Err(Fault::Overlap { number: wrong.index + 1 });
        }
        let source = if presorted { None } else { Some(&*copy) };
        self.move_runs(moved, upper, source);
        Ok(())
    }

    /// Puts items, each directly before the one that came first, below `upper`; a run of items that lie so already is moved in one go.
    fn move_runs(&mut self, items: &[Compact], mut upper: usize, source: Option<&Page>) {
        let Some(first) = items.first() else {
            self.set_upper(upper);
            return;
        };
        let (mut tail, mut head) = (first.end(), first.end());
        for item in items {
            if head != item.end() {
                self.move_run(head..tail, upper, source);
                tail = item.end();
            }
            upper -= usize::from(item.length);
            head = item.start();
            let number = item.index + 1;
            self.put_line(number, self.line(number).at(upper));
        }
        self.move_run(head..tail, upper, source);
        self.set_upper(upper);
    }

    fn move_run(&mut self, run: std::ops::Range<usize>, to: usize, source: Option<&Page>) {
        match source {
            None => self.bytes_mut().copy_within(run, to),
            Some(source) => self.bytes_mut()[to..to + run.len()].copy_from_slice(&source[run]),
        }
    }
}
