//! Heap records and the visibility map.
//!
//! The map's bits are cleared on the word of a flag in the record. Newer minor releases (17.11, 18.6) also refer to the map's page as a block
//! of the record; redo then treats it like any other block. Where no such reference is, redo reads the page by itself, makes it
//! if need be, and clears the bits whatever the page's LSN is.

use pgdata::maps::{VM_ALL_FROZEN, VM_VALID_BITS, vm_position};
use pgdata::{Change, Fork, PageEffect, PageKey, RelTag};
use smallvec::SmallVec;

use super::payload::{Payload, error};
use super::push_page;
use crate::rmgr::{RM_HEAP_ID, RM_HEAP2_ID};
use crate::{BlockRef, Record, RecordError};

/// Operations of `RM_HEAP_ID` (`access/heapam_xlog.h`). The high bit says that the page is initialised.
const OPERATION_MASK: u8 = 0x70;
const HEAP_INSERT: u8 = 0x00;
const HEAP_DELETE: u8 = 0x10;
const HEAP_UPDATE: u8 = 0x20;
const HEAP_HOT_UPDATE: u8 = 0x40;
const HEAP_LOCK: u8 = 0x60;
/// Operations of `RM_HEAP2_ID`.
const HEAP2_VISIBLE: u8 = 0x40;
const HEAP2_MULTI_INSERT: u8 = 0x50;
const HEAP2_LOCK_UPDATED: u8 = 0x60;

/// `XLH_INSERT_ALL_VISIBLE_CLEARED`, `XLH_DELETE_ALL_VISIBLE_CLEARED`, `XLH_UPDATE_OLD_ALL_VISIBLE_CLEARED` and
/// `XLH_LOCK_ALL_FROZEN_CLEARED` are the same bit.
const CLEARED: u8 = 1;
/// `XLH_UPDATE_NEW_ALL_VISIBLE_CLEARED`.
const NEW_CLEARED: u8 = 2;

/// Where the flags are in the main data: behind offset number; behind xmax, offset number and infobits; and so on.
const INSERT_FLAGS: usize = 2;
const TUPLE_FLAGS: usize = 7;
const MULTI_INSERT_FLAGS: usize = 0;
const VISIBLE_FLAGS: usize = 4;

/// Block ids: `HEAP_UPDATE_BLKREF_*`; the other records have the heap block as 0 and the map's page as 1.
const HEAP_BLOCK: u8 = 0;
const VM_BLOCK: u8 = 1;
const UPDATE_OLD_BLOCK: u8 = 1;
const UPDATE_VM_NEW_BLOCK: u8 = 2;
const UPDATE_VM_OLD_BLOCK: u8 = 3;

/// What happens to a block's bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VmOp {
    /// They are set (`visibilitymap_set`).
    Set,
    /// They are cleared (`visibilitymap_clear`).
    Clear,
}

/// What a heap record does to the visibility map's bits of one heap block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VmEdit {
    /// The visibility map.
    pub map: RelTag,
    /// The heap block whose bits they are; [`vm_position`] tells where.
    pub heap_block: u32,
    /// Set or cleared.
    pub op: VmOp,
    /// Which bits: `VM_ALL_VISIBLE`, `VM_ALL_FROZEN`.
    pub bits: u8,
    /// Whether the map's page is a block of the record, to be treated like one: image, LSN check, new LSN. Otherwise the page is
    /// made if it is not there and the bits are cleared whatever its LSN, which stays as it is.
    pub registered: bool,
}

impl VmEdit {
    /// All edits of a record, in the order in which redo makes them; none for records of other resource managers.
    ///
    /// # Errors
    /// [`RecordError`] if the record is too short or refers to other blocks than one of its kind.
    pub fn of(record: &Record<'_>) -> Result<SmallVec<[VmEdit; 2]>, RecordError> {
        match (record.rmid, record.info & OPERATION_MASK) {
            (RM_HEAP_ID, HEAP_INSERT) => cleared(record, INSERT_FLAGS, VM_VALID_BITS),
            (RM_HEAP_ID, HEAP_DELETE) => cleared(record, TUPLE_FLAGS, VM_VALID_BITS),
            (RM_HEAP_ID, HEAP_LOCK) => cleared(record, TUPLE_FLAGS, VM_ALL_FROZEN),
            (RM_HEAP_ID, HEAP_UPDATE | HEAP_HOT_UPDATE) => cleared_by_update(record),
            (RM_HEAP2_ID, HEAP2_MULTI_INSERT) => cleared(record, MULTI_INSERT_FLAGS, VM_VALID_BITS),
            (RM_HEAP2_ID, HEAP2_LOCK_UPDATED) => cleared(record, TUPLE_FLAGS, VM_ALL_FROZEN),
            (RM_HEAP2_ID, HEAP2_VISIBLE) => set_by_visible(record),
            _ => Ok(SmallVec::new()),
        }
    }

    /// The page of the map on which the bits are.
    #[must_use]
    pub fn page(&self) -> PageKey {
        PageKey::relation(self.map, vm_position(self.heap_block).page)
    }
}

/// Whether the record sets bits of the visibility map.
pub(super) fn is_visible(record: &Record<'_>) -> bool {
    record.rmid == RM_HEAP2_ID && record.info & OPERATION_MASK == HEAP2_VISIBLE
}

/// The map's pages that the record does not refer to but changes, each once.
pub(super) fn changes(record: &Record<'_>, out: &mut Vec<Change>) -> Result<(), RecordError> {
    if has_none(record) {
        return Ok(());
    }
    let mut last = None;
    for edit in VmEdit::of(record)? {
        if !edit.registered && last != Some(edit.page()) {
            push_page(out, edit.page(), PageEffect::ModifyOrExtend);
            last = Some(edit.page());
        }
    }
    Ok(())
}

/// Whether it is clear at first sight that the record has no edits, as most have none: its flags say so.
fn has_none(record: &Record<'_>) -> bool {
    let (flags_at, mask) = match (record.rmid, record.info & OPERATION_MASK) {
        (RM_HEAP_ID, HEAP_INSERT) => (INSERT_FLAGS, CLEARED),
        (RM_HEAP_ID, HEAP_DELETE | HEAP_LOCK) | (RM_HEAP2_ID, HEAP2_LOCK_UPDATED) => (TUPLE_FLAGS, CLEARED),
        (RM_HEAP_ID, HEAP_UPDATE | HEAP_HOT_UPDATE) => (TUPLE_FLAGS, CLEARED | NEW_CLEARED),
        (RM_HEAP2_ID, HEAP2_MULTI_INSERT) => (MULTI_INSERT_FLAGS, CLEARED),
        (RM_HEAP2_ID, HEAP2_VISIBLE) => return false,
        _ => return true,
    };
    record.main_data.get(flags_at).is_some_and(|flags| flags & mask == 0)
}

fn cleared(record: &Record<'_>, flags_at: usize, bits: u8) -> Result<SmallVec<[VmEdit; 2]>, RecordError> {
    let mut edits = SmallVec::new();
    if flags(record, flags_at)? & CLEARED != 0 {
        edits.push(clear(heap_block(record, HEAP_BLOCK)?, bits, has_block(record, VM_BLOCK)));
    }
    Ok(edits)
}

/// `heap_xlog_update`: the one map page that both blocks have their bits on is referred to once, as the new block's.
fn cleared_by_update(record: &Record<'_>) -> Result<SmallVec<[VmEdit; 2]>, RecordError> {
    let flags = flags(record, TUPLE_FLAGS)?;
    let mut edits = SmallVec::new();
    if flags & (CLEARED | NEW_CLEARED) == 0 {
        return Ok(edits);
    }
    let new = heap_block(record, HEAP_BLOCK)?;
    let old = if has_block(record, UPDATE_OLD_BLOCK) { heap_block(record, UPDATE_OLD_BLOCK)? } else { new };
    let (has_new, has_old) = (has_block(record, UPDATE_VM_NEW_BLOCK), has_block(record, UPDATE_VM_OLD_BLOCK));
    let registered = has_new || has_old;
    let old_on_new_page = has_new && vm_position(old.block).page == vm_position(new.block).page;
    if flags & CLEARED != 0 && (!registered || has_old || old_on_new_page) {
        edits.push(clear(old, VM_VALID_BITS, registered));
    }
    if flags & NEW_CLEARED != 0 && (!registered || has_new) {
        edits.push(clear(new, VM_VALID_BITS, registered));
    }
    Ok(edits)
}

/// `heap_xlog_visible`: block 0 is the map's page, block 1 the heap's.
fn set_by_visible(record: &Record<'_>) -> Result<SmallVec<[VmEdit; 2]>, RecordError> {
    let bits = flags(record, VISIBLE_FLAGS)? & VM_VALID_BITS;
    let heap = heap_block(record, 1)?;
    let edit = VmEdit { op: VmOp::Set, ..clear(heap, bits, true) };
    let page = record.blocks.iter().find(|block| block.id == 0).map(|block| PageKey::relation(block.rel, block.block));
    if page != Some(edit.page()) {
        return Err(error(record, format!("block 0 should be {}", edit.page())));
    }
    Ok(SmallVec::from_iter([edit]))
}

fn clear(heap: &BlockRef<'_>, bits: u8, registered: bool) -> VmEdit {
    VmEdit { map: heap.rel.with_fork(Fork::Vm), heap_block: heap.block, op: VmOp::Clear, bits, registered }
}

fn flags(record: &Record<'_>, at: usize) -> Result<u8, RecordError> {
    let mut payload = Payload::new(record);
    payload.bytes(at, "the part before the flags")?;
    payload.u8("the flags")
}

fn has_block(record: &Record<'_>, id: u8) -> bool {
    record.blocks.iter().any(|block| block.id == id)
}

fn heap_block<'r, 'a>(record: &'r Record<'a>, id: u8) -> Result<&'r BlockRef<'a>, RecordError> {
    let block = record.blocks.iter().find(|block| block.id == id && block.rel.fork == Fork::Main);
    block.ok_or_else(|| error(record, format!("block {id} should be one of a heap")))
}
