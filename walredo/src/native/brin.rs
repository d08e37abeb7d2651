//! Block range indexes (`access/brin/brin_xlog.c`): summary tuples on regular pages, and the map from ranges to them. The same in 15 to 18.

use super::fault::Fault;
use super::page::{HEADER, PageView, Place};
use super::scratch::Scratch;
use super::target::{Outcome, Target};

const CREATE_INDEX: u8 = 0x00;
const INSERT: u8 = 0x10;
const UPDATE: u8 = 0x20;
const SAMEPAGE_UPDATE: u8 = 0x30;
const REVMAP_EXTEND: u8 = 0x40;
const DESUMMARIZE: u8 = 0x50;
/// `XLOG_BRIN_OPMASK`; the bit above says that the page is made anew (`XLOG_BRIN_INIT_PAGE`).
const OPERATION: u8 = 0x70;
const INIT_PAGE: u8 = 0x80;

/// Bytes of the special space (`BrinSpecialSpace`), of which the last two are the page's type.
const SPECIAL: usize = 8;
const PAGETYPE_META: u16 = 0xF091;
const PAGETYPE_REVMAP: u16 = 0xF092;
const PAGETYPE_REGULAR: u16 = 0xF093;

// BrinMetaPageData: magic, version, pages per range, last page of the map.
const META_MAGIC: u32 = 0xA810_9CFA;
const LAST_REVMAP_PAGE: usize = HEADER + 12;
const META_END: usize = HEADER + 16;

/// Bytes of a TID in the map (`ItemPointerData`).
const TID: usize = 6;
/// `ItemPointerSetInvalid`.
const INVALID_TID: [u8; TID] = [0xFF, 0xFF, 0xFF, 0xFF, 0, 0];
/// `REVMAP_PAGE_MAXITEMS`.
const REVMAP_ITEMS: u32 = ((8192 - HEADER - SPECIAL) / TID) as u32;

/// `brin_redo`.
pub(super) fn redo(target: &Target<'_, '_>, page: &mut PageView<'_>, _: &mut Scratch) -> Result<Outcome, Fault> {
    match (target.operation() & OPERATION, target.id()) {
        (CREATE_INDEX, 0) => create(target, page),
        (INSERT, 0) => insert(target, page, &Entry::of_insert(target)?),
        (INSERT, 1) => set_revmap_entry(target, page, &Entry::of_insert(target)?),
        (UPDATE, 0) => insert(target, page, &Entry::of_update(target)?.1),
        (UPDATE, 1) => set_revmap_entry(target, page, &Entry::of_update(target)?.1),
        (UPDATE, 2) => page.delete_item_keeping_numbers(Entry::of_update(target)?.0),
        (SAMEPAGE_UPDATE, 0) => page.overwrite_item(target.main().u16()?, target.data().rest()),
        (REVMAP_EXTEND, 0) => extend_in_meta(target, page),
        (REVMAP_EXTEND, 1) => init(page, PAGETYPE_REVMAP),
        (DESUMMARIZE, 0) => forget_in_revmap(target, page),
        (DESUMMARIZE, 1) => forget_tuple(target, page),
        (CREATE_INDEX..=DESUMMARIZE, _) => target.unknown_block(),
        _ => target.unknown_operation(),
    }?;
    Ok(Outcome::Changed)
}

/// `brin_page_init`.
fn init(page: &mut PageView<'_>, page_type: u16) -> Result<(), Fault> {
    page.init(SPECIAL);
    let special: &mut [u8; SPECIAL] = page.special_mut()?;
    special[SPECIAL - 2..].copy_from_slice(&page_type.to_le_bytes());
    Ok(())
}

/// `xl_brin_createidx`: pages per range, and the version.
fn create(target: &Target<'_, '_>, page: &mut PageView<'_>) -> Result<(), Fault> {
    let mut main = target.main();
    let (pages_per_range, version) = (main.u32()?, main.u16()?);
    init(page, PAGETYPE_META)?;
    let meta = [META_MAGIC, u32::from(version), pages_per_range, 0];
    let fields = page.bytes_mut()[HEADER..META_END].as_chunks_mut::<4>().0;
    for (field, value) in fields.iter_mut().zip(meta) {
        *field = value.to_le_bytes();
    }
    page.set_lower(META_END);
    Ok(())
}

/// `xl_brin_insert`: which heap block begins the range, pages per range, and the number of the tuple on its page.
struct Entry {
    heap_block: u32,
    pages_per_range: u32,
    number: u16,
}

impl Entry {
    fn of_insert(target: &Target<'_, '_>) -> Result<Entry, Fault> {
        let mut main = target.main();
        Ok(Entry { heap_block: main.u32()?, pages_per_range: main.u32()?, number: main.u16()? })
    }

    /// `xl_brin_update`: the old tuple's number, padding, and an `xl_brin_insert`.
    fn of_update(target: &Target<'_, '_>) -> Result<(u16, Entry), Fault> {
        let mut main = target.main();
        let old = main.u16()?;
        main.skip(2)?;
        Ok((old, Entry { heap_block: main.u32()?, pages_per_range: main.u32()?, number: main.u16()? }))
    }
}

fn insert(target: &Target<'_, '_>, page: &mut PageView<'_>, entry: &Entry) -> Result<(), Fault> {
    if target.operation() & INIT_PAGE != 0 {
        init(page, PAGETYPE_REGULAR)?;
    }
    page.add_item(target.data().rest(), Place::Free(entry.number))?;
    Ok(())
}

/// The map leads to the tuple on the page that is the record's block 0.
fn set_revmap_entry(target: &Target<'_, '_>, page: &mut PageView<'_>, entry: &Entry) -> Result<(), Fault> {
    let block = target.other_block(0)?;
    let (high, low) = ((block >> 16) as u16, block as u16);
    let mut tid = [0; TID];
    for (field, value) in tid.as_chunks_mut::<2>().0.iter_mut().zip([high, low, entry.number]) {
        *field = value.to_le_bytes();
    }
    put_tid(page, entry.pages_per_range, entry.heap_block, tid)
}

/// `brinSetHeapBlockItemptr`.
fn put_tid(page: &mut PageView<'_>, pages_per_range: u32, heap_block: u32, tid: [u8; TID]) -> Result<(), Fault> {
    page.special::<SPECIAL>()?;
    let range = heap_block.checked_div(pages_per_range);
    let index = range.ok_or(Fault::Value { what: "number of pages per range", value: 0 })? % REVMAP_ITEMS;
    let at = HEADER + TID * index as usize;
    page.bytes_mut()[at..at + TID].copy_from_slice(&tid);
    Ok(())
}

/// The map's last page is the record's block 1; older versions did not set `pd_lower`, so every record does.
fn extend_in_meta(target: &Target<'_, '_>, page: &mut PageView<'_>) -> Result<(), Fault> {
    page.special::<SPECIAL>()?;
    let last = target.main().u32()?;
    page.bytes_mut()[LAST_REVMAP_PAGE..META_END].copy_from_slice(&last.to_le_bytes());
    page.set_lower(META_END);
    Ok(())
}

/// `xl_brin_desummarize`: pages per range, the range's heap block, and the tuple's number.
fn forget_in_revmap(target: &Target<'_, '_>, page: &mut PageView<'_>) -> Result<(), Fault> {
    let mut main = target.main();
    let (pages_per_range, heap_block) = (main.u32()?, main.u32()?);
    put_tid(page, pages_per_range, heap_block, INVALID_TID)
}

fn forget_tuple(target: &Target<'_, '_>, page: &mut PageView<'_>) -> Result<(), Fault> {
    let mut main = target.main();
    main.skip(8)?;
    page.delete_item_keeping_numbers(main.u16()?)
}
