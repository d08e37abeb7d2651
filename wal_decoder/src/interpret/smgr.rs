//! Creation and truncation of relations (`catalog/storage_xlog.h`).

use pgdata::maps::{HEAP_BLOCKS_PER_VM_PAGE, fsm_blocks_for, vm_blocks_for, vm_position};
use pgdata::{Change, Fork, Object, PageEffect, PageKey, RelTag};

use super::payload::{Payload, operation, unknown_operation};
use super::push_page;
use crate::rmgr::RM_SMGR_ID;
use crate::{Record, RecordError};

const SMGR_CREATE: u8 = 0x10;
const SMGR_TRUNCATE: u8 = 0x20;

/// `SMGR_TRUNCATE_*`: which forks.
const TRUNCATE_HEAP: u32 = 1;
const TRUNCATE_VM: u32 = 2;
const TRUNCATE_FSM: u32 = 4;

/// A relation cut down (`xl_smgr_truncate`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SmgrTruncate {
    /// The relation's main fork.
    pub rel: RelTag,
    /// How many of its blocks stay.
    pub blocks: u32,
    /// `SMGR_TRUNCATE_*`.
    flags: u32,
}

impl SmgrTruncate {
    /// Reads a record; `None` if it is another kind of record.
    ///
    /// # Errors
    /// [`RecordError`] if it is too short.
    pub fn parse(record: &Record<'_>) -> Result<Option<SmgrTruncate>, RecordError> {
        if record.rmid != RM_SMGR_ID || operation(record) != SMGR_TRUNCATE {
            return Ok(None);
        }
        let mut payload = Payload::new(record);
        let blocks = payload.u32("the number of blocks")?;
        Ok(Some(SmgrTruncate { rel: payload.relation("the relation")?, blocks, flags: payload.u32("the flags")? }))
    }

    /// The page of the visibility map of which a part is cleared: the bits of the blocks from [`SmgrTruncate::blocks`] on.
    /// `None` if no page stays that has any.
    #[must_use]
    pub fn cleared_vm_page(&self) -> Option<PageKey> {
        let cut = self.flags & TRUNCATE_VM != 0 && !self.blocks.is_multiple_of(HEAP_BLOCKS_PER_VM_PAGE);
        cut.then(|| PageKey::relation(self.rel.with_fork(Fork::Vm), vm_position(self.blocks).page))
    }
}

pub(super) fn changes(record: &Record<'_>, out: &mut Vec<Change>) -> Result<(), RecordError> {
    if let Some(truncate) = SmgrTruncate::parse(record)? {
        truncate_changes(&truncate, out);
        return Ok(());
    }
    if operation(record) != SMGR_CREATE {
        return unknown_operation(record);
    }
    let mut payload = Payload::new(record);
    let rel = payload.relation("the relation")?;
    let number = payload.u32("the fork")?;
    let fork = u8::try_from(number).ok().and_then(Fork::from_number);
    let fork = fork.ok_or_else(|| payload.error(format!("fork {number} does not exist")))?;
    out.push(Change::Create(Object::Relation(rel.with_fork(fork))));
    Ok(())
}

/// `smgr_redo` makes the main fork first, in case the relation is dropped later in the WAL. Of the free space map only the size is kept.
fn truncate_changes(truncate: &SmgrTruncate, out: &mut Vec<Change>) {
    out.push(Change::Create(Object::Relation(truncate.rel)));
    if let Some(key) = truncate.cleared_vm_page() {
        push_page(out, key, PageEffect::ModifyIfPresent);
    }
    let forks = [
        (TRUNCATE_HEAP, Fork::Main, truncate.blocks),
        (TRUNCATE_FSM, Fork::Fsm, fsm_blocks_for(truncate.blocks)),
        (TRUNCATE_VM, Fork::Vm, vm_blocks_for(truncate.blocks)),
    ];
    for (flag, fork, blocks) in forks {
        if truncate.flags & flag != 0 {
            out.push(Change::Truncate { object: Object::Relation(truncate.rel.with_fork(fork)), blocks });
        }
    }
}
