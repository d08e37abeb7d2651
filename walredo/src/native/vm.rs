//! Pages of visibility maps (`access/heap/visibilitymap.c`, `heapam_xlog.c`).

use pgdata::maps::vm_position;
use pgdata::{Object, Page, page_is_new, page_lsn, set_page_lsn};
use wal_decoder::{SmgrTruncate, VmEdit, VmOp};

use super::image::restore;
use super::page::PageView;
use super::step::Step;
use crate::RedoError;

/// Applies one record to a page of a visibility map.
pub(crate) fn apply(step: &Step<'_, '_>, page: &mut Page) -> Result<(), RedoError> {
    let Object::Relation(map) = step.key.object else { return Err(step.not_applicable()) };
    let mut edits = VmEdit::of(step.record).map_err(|error| step.bad_record(error))?;
    edits.retain(|edit| edit.page() == step.key);
    let block = step.record.blocks.iter().find(|found| found.rel == map && found.block == step.key.block);
    match block {
        Some(block) => match block.image.filter(|image| image.apply) {
            Some(image) => restore(&image, step.lsn(), page).map_err(|source| step.site().bad_image(source)),
            None => registered(step, &edits, page),
        },
        None if !edits.is_empty() => {
            init_new(page);
            for edit in &edits {
                clear(edit, page);
            }
            Ok(())
        }
        None => truncate(step, page),
    }
}

/// A page that the record refers to: redo looks at its LSN, and sets it if a bit changes.
fn registered(step: &Step<'_, '_>, edits: &[VmEdit], page: &mut Page) -> Result<(), RedoError> {
    let Some(first) = edits.first() else { return Err(step.not_applicable()) };
    if first.op == VmOp::Clear {
        step.need_base()?;
        if page_is_new(page) {
            // XLogReadBufferForRedo finds no valid page and redo passes it over.
            return Ok(());
        }
    }
    if step.lsn() <= page_lsn(page) {
        return Ok(());
    }
    for edit in edits {
        let changed = match edit.op {
            VmOp::Clear => clear(edit, page),
            VmOp::Set => {
                init_new(page);
                set(edit, page)
            }
        };
        if changed {
            set_page_lsn(page, step.lsn());
        }
    }
    Ok(())
}

/// `visibilitymap_clear`. Answers whether a bit changed.
fn clear(edit: &VmEdit, page: &mut Page) -> bool {
    let at = vm_position(edit.heap_block);
    let mask = edit.bits << at.shift;
    let changed = page[at.byte] & mask != 0;
    page[at.byte] &= !mask;
    changed
}

/// `visibilitymap_set`: bits are only added, and it counts as a change if the bits were not exactly these.
fn set(edit: &VmEdit, page: &mut Page) -> bool {
    let at = vm_position(edit.heap_block);
    let changed = page[at.byte] >> at.shift & 3 != edit.bits;
    page[at.byte] |= edit.bits << at.shift;
    changed
}

/// `visibilitymap_prepare_truncate`: the bits of the blocks cut off. The LSN stays.
fn truncate(step: &Step<'_, '_>, page: &mut Page) -> Result<(), RedoError> {
    let parsed = SmgrTruncate::parse(step.record).map_err(|error| step.bad_record(error))?;
    let truncate = parsed.filter(|truncate| truncate.cleared_vm_page() == Some(step.key));
    let Some(truncate) = truncate else { return Err(step.not_applicable()) };
    step.need_base()?;
    init_new(page);
    let at = vm_position(truncate.blocks);
    page[at.byte] &= (1 << at.shift) - 1;
    page[at.byte + 1..].fill(0);
    Ok(())
}

/// `vm_readbuf`: a page that is all zeros becomes an empty one.
fn init_new(page: &mut Page) {
    if page_is_new(page) {
        PageView::new(page).init(0);
    }
}
