//! Heaps (`access/heap/heapam_xlog.c`; in 15 and 16 the end of `heapam.c`). Visibility map pages are made by [`super::vm`].

mod change;
mod freeze;
mod insert;
mod prune;
mod tuple;
mod update;

use pgdata::{Fork, PgVersion};

use super::fault::Fault;
use super::page::PageView;
use super::scratch::Scratch;
use super::target::{Outcome, Target};

/// The operation, without the bit that says that the page is initialised.
const OPERATION_MASK: u8 = 0x70;
/// `XLOG_HEAP_INIT_PAGE`.
const INIT_PAGE: u8 = 0x80;

const INSERT: u8 = 0x00;
const DELETE: u8 = 0x10;
const UPDATE: u8 = 0x20;
const HOT_UPDATE: u8 = 0x40;
const CONFIRM: u8 = 0x50;
const LOCK: u8 = 0x60;
const INPLACE: u8 = 0x70;

/// 15 and 16; since 17 the three are one record, written on three occasions.
const PRUNE: u8 = 0x10;
const VACUUM: u8 = 0x20;
const FREEZE_PAGE: u8 = 0x30;
const VISIBLE: u8 = 0x40;
const MULTI_INSERT: u8 = 0x50;
const LOCK_UPDATED: u8 = 0x60;

/// `heap_redo`. `XLOG_HEAP_TRUNCATE` refers to no page.
pub(super) fn redo(target: &Target<'_, '_>, page: &mut PageView<'_>, _: &mut Scratch) -> Result<Outcome, Fault> {
    heap_block(target)?;
    let operation = target.operation() & OPERATION_MASK;
    if target.id() != 0 && !matches!(operation, UPDATE | HOT_UPDATE) {
        return target.unknown_block();
    }
    match operation {
        INSERT => insert::insert(target, page),
        DELETE => change::delete(target, page),
        UPDATE => update::update(target, page, false),
        HOT_UPDATE => update::update(target, page, true),
        CONFIRM => change::confirm(target, page),
        LOCK => change::lock(target, page),
        INPLACE => change::inplace(target, page),
        _ => target.unknown_operation(),
    }?;
    Ok(Outcome::Changed)
}

/// `heap2_redo`. `XLOG_HEAP2_REWRITE` and `XLOG_HEAP2_NEW_CID` refer to no page.
pub(super) fn redo2(target: &Target<'_, '_>, page: &mut PageView<'_>, scratch: &mut Scratch) -> Result<Outcome, Fault> {
    heap_block(target)?;
    let operation = target.operation() & OPERATION_MASK;
    if operation == VISIBLE {
        return visible(target, page);
    }
    if target.id() != 0 {
        return target.unknown_block();
    }
    let unified = target.version() >= PgVersion::V17;
    match operation {
        PRUNE | VACUUM | FREEZE_PAGE if unified => prune::prune_and_freeze(target, page, scratch),
        PRUNE => prune::prune(target, page, scratch),
        VACUUM => prune::vacuum(target, page),
        FREEZE_PAGE if target.version() == PgVersion::V15 => freeze::tuples(target, page),
        FREEZE_PAGE => freeze::page(target, page),
        MULTI_INSERT => insert::multi_insert(target, page),
        LOCK_UPDATED => change::lock_updated(target, page),
        _ => target.unknown_operation(),
    }?;
    Ok(Outcome::Changed)
}

fn heap_block(target: &Target<'_, '_>) -> Result<(), Fault> {
    if target.rel().fork == Fork::Main { Ok(()) } else { target.unknown_block() }
}

/// `heap_xlog_visible` for the heap's page, block 1. Nothing but the flag changes, so that the LSN may stay unless hint bits are logged.
fn visible(target: &Target<'_, '_>, page: &mut PageView<'_>) -> Result<Outcome, Fault> {
    if target.id() != 1 {
        return target.unknown_block();
    }
    page.set_all_visible(true);
    Ok(if target.hint_bits_logged { Outcome::Changed } else { Outcome::LsnKept })
}
