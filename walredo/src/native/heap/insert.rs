//! New tuples: `heap_xlog_insert`, `heap_xlog_multi_insert`.

use super::INIT_PAGE;
use super::tuple::{StoredHeader, TUPLE_HEADER, Tuple};
use crate::native::cursor::Cursor;
use crate::native::fault::Fault;
use crate::native::page::{PageView, Place, Slot};
use crate::native::target::Target;

/// `MaxHeapTuplesPerPage`.
const MAX_TUPLES: u16 = 291;
/// `XLH_INSERT_ALL_VISIBLE_CLEARED`.
const ALL_VISIBLE_CLEARED: u8 = 1 << 0;
/// `XLH_INSERT_ALL_FROZEN_SET`: of a multi-insert.
const ALL_FROZEN_SET: u8 = 1 << 5;

/// `xl_heap_insert` is the tuple's number and flags; the block's data are `xl_heap_header` and what follows it in the tuple.
pub(super) fn insert(target: &Target<'_, '_>, page: &mut PageView<'_>) -> Result<(), Fault> {
    let mut main = target.main();
    let (number, flags) = (main.u16()?, main.u8()?);
    if target.record.info & INIT_PAGE != 0 {
        page.init(0);
    }
    let mut data = target.data();
    let stored = StoredHeader::read(&mut data)?;
    let body = data.rest();
    let slot = reserve(page, number, body.len())?;
    let (header, rest) = slot.tuple(page, body.len());
    rest.copy_from_slice(body);
    Tuple::write_header(header, stored, target.record.xid, 0, (target.block_number(), number));
    if flags & ALL_VISIBLE_CLEARED != 0 {
        page.set_all_visible(false);
    }
    Ok(())
}

/// `xl_heap_multi_insert` has the number of tuples, and theirs unless they fill a new page from 1 on; the block's data are the tuples,
/// each an `xl_multi_insert_tuple` on an even offset and what follows its header.
pub(super) fn multi_insert(target: &Target<'_, '_>, page: &mut PageView<'_>) -> Result<(), Fault> {
    let init = target.record.info & INIT_PAGE != 0;
    let mut main = target.main();
    let flags = main.u8()?;
    main.skip(1)?;
    let count = main.u16()?;
    let numbers = if init { None } else { Some(main.u16s(usize::from(count))?) };
    if init {
        page.init(0);
    }
    let mut data = target.data();
    for index in 0..count {
        let number = match numbers {
            None => index.saturating_add(1),
            Some(numbers) => numbers.get(usize::from(index)).expect("there are count of them"),
        };
        if !(target.block.data.len() - data.left()).is_multiple_of(2) {
            data.skip(1)?;
        }
        let length = usize::from(data.u16()?);
        let stored = StoredHeader::read(&mut data)?;
        let body = data.bytes(length)?;
        let slot = reserve(page, number, length)?;
        let (header, rest) = slot.tuple(page, length);
        rest.copy_from_slice(body);
        Tuple::write_header(header, stored, target.record.xid, 0, (target.block_number(), number));
    }
    data.end()?;
    if flags & ALL_VISIBLE_CLEARED != 0 {
        page.set_all_visible(false);
    }
    if flags & ALL_FROZEN_SET != 0 {
        page.set_all_visible(true);
    }
    Ok(())
}

/// Room for a tuple with `body` bytes behind its fixed header.
pub(super) fn reserve(page: &mut PageView<'_>, number: u16, body: usize) -> Result<Slot, Fault> {
    if number > MAX_TUPLES {
        return Err(Fault::Value { what: "tuple number", value: u64::from(number) });
    }
    match number {
        // PageAddItem would choose a number by itself, which the tuple's t_ctid would not know.
        0 => Err(Fault::Value { what: "tuple number", value: 0 }),
        _ => page.reserve_item(TUPLE_HEADER + body, Place::Free(number)),
    }
}

impl Slot {
    /// What [`reserve`] made room for: a tuple's fixed header, and `body` bytes behind it.
    pub(super) fn tuple<'p>(
        self,
        page: &'p mut PageView<'_>,
        body: usize,
    ) -> (&'p mut [u8; TUPLE_HEADER], &'p mut [u8]) {
        let bytes = &mut page.bytes_mut()[self.start..][..TUPLE_HEADER + body];
        bytes.split_first_chunk_mut().expect("it is as long as a header and the body")
    }
}

impl StoredHeader {
    pub(super) fn read(data: &mut Cursor<'_>) -> Result<StoredHeader, Fault> {
        Ok(StoredHeader { infomask2: data.u16()?, infomask: data.u16()?, hoff: data.u8()? })
    }
}
