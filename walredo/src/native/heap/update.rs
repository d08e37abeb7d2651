//! `heap_xlog_update`: the old version of a tuple, on block 1 or with the new one on block 0, and the new version.

use super::INIT_PAGE;
use super::insert::reserve;
use super::tuple::{StoredHeader, TUPLE_HEADER, Tuple, set_prunable};
use crate::native::cursor::Cursor;
use crate::native::fault::Fault;
use crate::native::page::PageView;
use crate::native::target::Target;

/// Block ids: `HEAP_UPDATE_BLKREF_HEAP_*`.
const NEW_BLOCK: u8 = 0;
const OLD_BLOCK: u8 = 1;

const OLD_ALL_VISIBLE_CLEARED: u8 = 1 << 0;
const NEW_ALL_VISIBLE_CLEARED: u8 = 1 << 1;
const PREFIX_FROM_OLD: u8 = 1 << 5;
const SUFFIX_FROM_OLD: u8 = 1 << 6;

/// `xl_heap_update`.
struct Update {
    old_xmax: u32,
    old_number: u16,
    old_infobits: u8,
    flags: u8,
    new_xmax: u32,
    new_number: u16,
}

pub(super) fn update(target: &Target<'_, '_>, page: &mut PageView<'_>, hot: bool) -> Result<(), Fault> {
    let mut main = target.main();
    let update = Update {
        old_xmax: main.u32()?,
        old_number: main.u16()?,
        old_infobits: main.u8()?,
        flags: main.u8()?,
        new_xmax: main.u32()?,
        new_number: main.u16()?,
    };
    let other_page = target.find_block(OLD_BLOCK).is_some();
    match target.id() {
        NEW_BLOCK => {
            if !other_page {
                update.old_version(target, page, hot)?;
            }
            update.new_version(target, page, other_page)
        }
        OLD_BLOCK => update.old_version(target, page, hot),
        _ => target.unknown_block(),
    }
}

impl Update {
    fn old_version(&self, target: &Target<'_, '_>, page: &mut PageView<'_>, hot: bool) -> Result<(), Fault> {
        let new_block = target.other_block(NEW_BLOCK)?;
        let mut tuple = Tuple::at(page, self.old_number)?;
        tuple.set_infobits(self.old_infobits);
        tuple.set_hot_updated(hot);
        tuple.set_xmax(self.old_xmax);
        tuple.set_first_command();
        tuple.set_ctid((new_block, self.new_number));
        set_prunable(page, target.record.xid);
        if self.flags & OLD_ALL_VISIBLE_CLEARED != 0 {
            page.set_all_visible(false);
        }
        Ok(())
    }

    /// The block's data are the lengths of what the new tuple has in common with the old one, `xl_heap_header`, and the rest of the tuple.
    fn new_version(&self, target: &Target<'_, '_>, page: &mut PageView<'_>, other_page: bool) -> Result<(), Fault> {
        if other_page && target.record.info & INIT_PAGE != 0 {
            page.init(0);
        }
        if other_page && self.flags & (PREFIX_FROM_OLD | SUFFIX_FROM_OLD) != 0 {
            return Err(Fault::Value {
                what: "flag for parts of an old tuple on another page",
                value: self.flags.into(),
            });
        }
        let mut data = target.data();
        let prefix = self.length_if(PREFIX_FROM_OLD, &mut data)?;
        let suffix = self.length_if(SUFFIX_FROM_OLD, &mut data)?;
        let stored = StoredHeader::read(&mut data)?;
        let body = Body::read(stored, prefix, suffix, data)?;

        let slot = reserve(page, self.new_number, body.length())?;
        if prefix > 0 || suffix > 0 {
            self.copy_from_old(page, slot.start, &body)?;
        }
        let (header, rest) = slot.tuple(page, body.length());
        rest[..body.before.len()].copy_from_slice(body.before);
        rest[body.before.len() + prefix..][..body.after.len()].copy_from_slice(body.after);
        let ctid = (target.block_number(), self.new_number);
        Tuple::write_header(header, stored, target.record.xid, self.new_xmax, ctid);
        if self.flags & NEW_ALL_VISIBLE_CLEARED != 0 {
            page.set_all_visible(false);
        }
        Ok(())
    }

    fn length_if(&self, flag: u8, data: &mut Cursor<'_>) -> Result<usize, Fault> {
        if self.flags & flag != 0 { data.u16().map(usize::from) } else { Ok(0) }
    }

    /// Puts prefix and suffix of the old tuple's data where the new one has them.
    fn copy_from_old(&self, page: &mut PageView<'_>, start: usize, body: &Body<'_>) -> Result<(), Fault> {
        let hoff = Tuple::at(page, self.old_number)?.hoff();
        let (from, to) = page.item_range(self.old_number)?;
        if body.prefix > 0 && from + hoff + body.prefix > to {
            return Err(Fault::Value { what: "prefix length", value: body.prefix as u64 });
        }
        if body.suffix > to - from {
            return Err(Fault::Value { what: "suffix length", value: body.suffix as u64 });
        }
        let data = from + hoff;
        let prefix_at = start + TUPLE_HEADER + body.before.len();
        let suffix_at = start + TUPLE_HEADER + body.length() - body.suffix;
        let bytes = page.bytes_mut();
        if body.prefix > 0 {
            bytes.copy_within(data..data + body.prefix, prefix_at);
        }
        bytes.copy_within(to - body.suffix..to, suffix_at);
        Ok(())
    }
}

/// What follows a new tuple's fixed header: bytes of the record, the prefix, more of the record, the suffix.
struct Body<'a> {
    before: &'a [u8],
    prefix: usize,
    after: &'a [u8],
    suffix: usize,
}

impl<'a> Body<'a> {
    fn read(stored: StoredHeader, prefix: usize, suffix: usize, mut data: Cursor<'a>) -> Result<Body<'a>, Fault> {
        // Only behind a bitmap of nulls and its padding can there be a prefix of the data.
        let before = match prefix {
            0 => &[],
            _ => match usize::from(stored.hoff).checked_sub(TUPLE_HEADER) {
                Some(length) => data.bytes(length)?,
                None => return Err(Fault::Value { what: "t_hoff", value: stored.hoff.into() }),
            },
        };
        Ok(Body { before, prefix, after: data.rest(), suffix })
    }

    fn length(&self) -> usize {
        self.before.len() + self.prefix + self.after.len() + self.suffix
    }
}
