//! GiST indexes (`access/gist/gistxlog.c`).

use pgdata::{Lsn, PgVersion};

use super::cursor::Cursor;
use super::fault::Fault;
use super::page::{HEADER, PageView, Place};
use super::scratch::Scratch;
use super::target::{Outcome, Target};

const PAGE_UPDATE: u8 = 0x00;
const DELETE: u8 = 0x10;
const PAGE_SPLIT: u8 = 0x30;
const PAGE_DELETE: u8 = 0x60;

/// `GIST_ROOT_BLKNO`.
const ROOT: u32 = 0;
/// `InvalidBlockNumber`.
const NO_BLOCK: u32 = u32::MAX;

// Flags of a page.
const LEAF: u16 = 1 << 0;
const DELETED: u16 = 1 << 1;
const TUPLES_DELETED: u16 = 1 << 2;
const FOLLOW_RIGHT: u16 = 1 << 3;
const HAS_GARBAGE: u16 = 1 << 4;

/// `gist_redo`. `XLOG_GIST_PAGE_REUSE` and `XLOG_GIST_ASSIGN_LSN` refer to no page.
pub(super) fn redo(target: &Target<'_, '_>, page: &mut PageView<'_>, scratch: &mut Scratch) -> Result<Outcome, Fault> {
    match (target.operation(), target.id()) {
        (PAGE_UPDATE, 0) => update(target, page, scratch),
        (PAGE_UPDATE, 1) | (PAGE_SPLIT, 0) => clear_follow_right(target, page),
        (PAGE_SPLIT, _) => split(target, page),
        (DELETE, 0) => delete(target, page, scratch),
        (PAGE_DELETE, 0) => set_deleted(target, page),
        (PAGE_DELETE, 1) => delete_downlink(target, page),
        (PAGE_UPDATE | DELETE | PAGE_DELETE, _) => target.unknown_block(),
        _ => target.unknown_operation(),
    }?;
    Ok(Outcome::Changed)
}

/// The left half of a split is changed also after its image was restored: the image does not have the change.
pub(super) fn after_image(target: &Target<'_, '_>, page: &mut PageView<'_>, _: &mut Scratch) -> Result<Outcome, Fault> {
    match (target.operation(), target.id()) {
        (PAGE_UPDATE, 1) | (PAGE_SPLIT, 0) => clear_follow_right(target, page).map(|()| Outcome::Changed),
        _ => Ok(Outcome::LsnKept),
    }
}

/// The special space (`GISTPageOpaqueData`): node sequence number, link to the right, flags, and what tells the kind of index.
#[derive(Clone, Copy)]
struct Opaque {
    sequence: Lsn,
    right: u32,
    flags: u16,
    page_id: u16,
}

/// `GIST_PAGE_ID`.
const PAGE_ID: u16 = 0xFF81;

impl Opaque {
    const SIZE: usize = 16;

    fn of(page: &PageView<'_>) -> Result<Opaque, Fault> {
        let [high, low, right, last] = *page.special::<{ Opaque::SIZE }>()?.as_chunks::<4>().0 else {
            unreachable!("sixteen bytes are four words")
        };
        let word = |bytes| u64::from(u32::from_le_bytes(bytes));
        let last = u32::from_le_bytes(last);
        Ok(Opaque {
            // PageGistNSN, like a page's LSN: the high half first.
            sequence: Lsn(word(high) << 32 | word(low)),
            right: u32::from_le_bytes(right),
            flags: last as u16,
            page_id: (last >> 16) as u16,
        })
    }

    fn put(&self, page: &mut PageView<'_>) -> Result<(), Fault> {
        let last = u32::from(self.flags) | u32::from(self.page_id) << 16;
        let words = [(self.sequence.0 >> 32) as u32, self.sequence.0 as u32, self.right, last];
        let bytes: &mut [u8; Opaque::SIZE] = page.special_mut()?;
        for (field, value) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(words) {
            *field = value.to_le_bytes();
        }
        Ok(())
    }
}

/// Sets and clears flags.
fn change_flags(page: &mut PageView<'_>, set: u16, clear: u16) -> Result<(), Fault> {
    let mut opaque = Opaque::of(page)?;
    opaque.flags = opaque.flags & !clear | set;
    opaque.put(page)
}

/// `gistRedoClearFollowRight`: the page's right sibling has its downlink now.
fn clear_follow_right(target: &Target<'_, '_>, page: &mut PageView<'_>) -> Result<(), Fault> {
    let mut opaque = Opaque::of(page)?;
    opaque.sequence = target.record.lsn;
    opaque.flags &= !FOLLOW_RIGHT;
    opaque.put(page)
}

/// `gistxlogPageUpdate` is two counts; the block's data are numbers of tuples to delete, and tuples to insert.
fn update(target: &Target<'_, '_>, page: &mut PageView<'_>, scratch: &mut Scratch) -> Result<(), Fault> {
    let mut main = target.main();
    let (deleted, inserted) = (main.u16()?, main.u16()?);
    let mut data = target.data();
    if (deleted, inserted) == (1, 1) {
        let number = data.u16()?;
        page.overwrite_item(number, data.index_tuple()?)?;
    } else if deleted > 0 {
        page.delete_items(data.u16s(usize::from(deleted))?.iter(), &mut scratch.compact)?;
        if Opaque::of(page)?.flags & LEAF != 0 {
            change_flags(page, tuples_deleted(target.version()), 0)?;
        }
    }
    append(page, &mut data)
}

/// Adds all tuples that are left.
fn append(page: &mut PageView<'_>, data: &mut Cursor<'_>) -> Result<(), Fault> {
    while data.left() > 0 {
        let number = page.item_count() + 1;
        page.add_item(data.index_tuple()?, Place::Insert(number))?;
    }
    Ok(())
}

/// `gistxlogDelete`: a transaction id, a count, and the numbers; 16 put a byte for logical decoding, and padding, before these.
fn delete(target: &Target<'_, '_>, page: &mut PageView<'_>, scratch: &mut Scratch) -> Result<(), Fault> {
    let mut main = target.main();
    main.skip(4)?;
    let count = usize::from(main.u16()?);
    if target.version() >= PgVersion::V16 {
        main.skip(2)?;
    }
    page.delete_items(main.u16s(count)?.iter(), &mut scratch.compact)?;
    change_flags(page, tuples_deleted(target.version()), HAS_GARBAGE)
}

/// What a leaf page remembers of deleted tuples. Nothing reads it, and the minor releases of 15 from 15.20 at the latest do not set it any more; 15.18,
/// 16.14, 17.10 and 18.6 do. The WAL does not tell which minor release wrote it, so the newest known one of each is followed.
fn tuples_deleted(version: PgVersion) -> u16 {
    if version >= PgVersion::V16 { TUPLES_DELETED } else { 0 }
}

/// `gistxlogPageSplit`.
struct Split {
    right: u32,
    sequence: Lsn,
    leaf: bool,
    pages: u16,
    mark_follow_right: bool,
}

impl Split {
    fn of(target: &Target<'_, '_>) -> Result<Split, Fault> {
        let mut main = target.main();
        let right = main.u32()?;
        main.skip(4)?;
        let sequence = Lsn(u64::from_le_bytes(main.array()?));
        let leaf = main.u8()? != 0;
        main.skip(1)?;
        Ok(Split { right, sequence, leaf, pages: main.u16()?, mark_follow_right: main.u8()? != 0 })
    }
}

/// A page of a split, made anew: block 1 is the old page, or the new root, and the others follow from left to right.
fn split(target: &Target<'_, '_>, page: &mut PageView<'_>) -> Result<(), Fault> {
    let split = Split::of(target)?;
    let is_root = target.block_number() == ROOT;
    let is_last = match u16::from(target.id()) {
        id if id > split.pages => return target.unknown_block(),
        id => id == split.pages,
    };
    let of_root = target.other_block(1)? == ROOT;
    let follow_right = !is_root && !is_last && !of_root && split.mark_follow_right;
    let flags = if split.leaf && !is_root { LEAF } else { 0 };
    page.init(Opaque::SIZE);
    Opaque {
        sequence: split.sequence,
        right: match (is_root, is_last) {
            (true, _) => NO_BLOCK,
            (false, true) => split.right,
            (false, false) => target.other_block(target.id() + 1)?,
        },
        flags: if follow_right { flags | FOLLOW_RIGHT } else { flags },
        page_id: PAGE_ID,
    }
    .put(page)?;
    let mut data = target.data();
    let count = data.u32()?;
    append(page, &mut data)?;
    match u32::from(page.item_count()) == count {
        true => Ok(()),
        false => Err(Fault::Value { what: "number of tuples for the page", value: u64::from(count) }),
    }
}

/// `GistPageSetDeleted`. `gistxlogPageDelete`: a transaction id of 64 bits, which becomes the page's content, and the downlink's number.
fn set_deleted(target: &Target<'_, '_>, page: &mut PageView<'_>) -> Result<(), Fault> {
    const CONTENT: usize = 8;
    let xid: [u8; CONTENT] = target.main().array()?;
    change_flags(page, DELETED, 0)?;
    page.set_lower(HEADER + CONTENT);
    page.bytes_mut()[HEADER..HEADER + CONTENT].copy_from_slice(&xid);
    Ok(())
}

fn delete_downlink(target: &Target<'_, '_>, page: &mut PageView<'_>) -> Result<(), Fault> {
    let mut main = target.main();
    main.skip(8)?;
    page.delete_item(main.u16()?)
}
