//! What a record changes: every page, object, file and counter, as recovery on a standby does it (the `*_redo` functions).

mod files;
mod heap;
#[cfg(any(test, feature = "fuzzing"))]
mod invariants;
mod multixact;
mod payload;
mod slru;
mod smgr;
mod state;
mod xact;
mod xlog;

pub use heap::{VmEdit, VmOp};
#[cfg(feature = "fuzzing")]
pub use invariants::interpreter_state_is_its_changes;
pub use multixact::{MultiXactCreate, MultiXactMember};
pub use slru::slru_zero_page;
pub use smgr::SmgrTruncate;
pub use xact::{XactEnd, XactStatus};

use pgdata::{Change, ClusterState, Fork, PageEffect, PageKey, PgVersion};

use crate::rmgr;
use crate::{BlockRef, Record, RecordError};
use state::Tracker;

/// Folds records, in their order, into changes.
///
/// It carries the state of the cluster (next transaction id with its epoch, multixact counters, settings) from record to record,
/// because what a record does can depend on it: whether commit timestamps are written, in which epoch a transaction id is.
#[derive(Clone, Debug)]
pub struct Interpreter {
    version: PgVersion,
    tracker: Tracker,
    offsets: multixact::OffsetsPages,
}

impl Interpreter {
    /// An interpreter for the records after the LSN that `state` is the state at.
    #[must_use]
    pub fn new(version: PgVersion, state: ClusterState) -> Interpreter {
        Interpreter { version, tracker: Tracker::new(state), offsets: multixact::OffsetsPages::default() }
    }

    /// The state after the last record. It is what folding all changes so far into the first state makes.
    #[must_use]
    pub fn state(&self) -> &ClusterState {
        self.tracker.state()
    }

    /// Appends to `out` what `record` does. The order matters; a change of the cluster's state comes last, and is either a
    /// whole `Cluster` or at most one `NextXid` and one `NextMulti`. A page is named once.
    ///
    /// # Errors
    /// [`RecordError`] if the record's payload is not what a record of its kind carries, or if it is of another version.
    /// `out` is as before then, and the interpreter must not be used any more.
    pub fn changes(&mut self, record: &Record<'_>, out: &mut Vec<Change>) -> Result<(), RecordError> {
        let length = out.len();
        if let Err(error) = self.interpret(record, out) {
            out.truncate(length);
            return Err(error);
        }
        self.tracker.finish(out);
        Ok(())
    }

    fn interpret(&mut self, record: &Record<'_>, out: &mut Vec<Change>) -> Result<(), RecordError> {
        if record.version != self.version {
            return Err(payload::error(
                record,
                format!("a record of PostgreSQL {} among those of {}", record.version, self.version),
            ));
        }
        // ApplyWalRecord does this for every record, before the resource manager sees it.
        self.tracker.advance_past(record.xid);
        block_changes(record, out)?;
        let tracker = &mut self.tracker;
        match record.rmid {
            rmgr::RM_XLOG_ID => xlog::changes(record, tracker, out),
            rmgr::RM_XACT_ID => xact::changes(record, tracker, out),
            rmgr::RM_SMGR_ID => smgr::changes(record, out),
            rmgr::RM_CLOG_ID => slru::clog_changes(record, tracker, out),
            rmgr::RM_DBASE_ID => files::database_changes(record, out),
            rmgr::RM_TBLSPC_ID => files::tablespace_changes(record, out),
            rmgr::RM_MULTIXACT_ID => multixact::changes(record, tracker, &mut self.offsets, out),
            rmgr::RM_RELMAP_ID => files::relmap_changes(record, out),
            rmgr::RM_STANDBY_ID => xact::standby_changes(record, tracker),
            rmgr::RM_HEAP_ID | rmgr::RM_HEAP2_ID => heap::changes(record, out),
            rmgr::RM_COMMIT_TS_ID => slru::commit_ts_changes(record, tracker, out),
            // Indexes, sequences, generic records and those of extensions change the blocks that they refer to. Replication
            // origins and logical messages change no page.
            _ => Ok(()),
        }
    }
}

/// The blocks that the record refers to.
fn block_changes(record: &Record<'_>, out: &mut Vec<Change>) -> Result<(), RecordError> {
    let only_images = xlog::is_image(record);
    for block in &record.blocks {
        let restored = block.image.is_some_and(|image| image.apply);
        if only_images && !restored {
            if xlog::may_lack_image(record) && block.image.is_none() {
                continue;
            }
            return Err(payload::error(record, format!("block {} has no image to restore", block.id)));
        }
        let effect = if restored || block.will_init { PageEffect::Replace } else { reading_effect(record, block) };
        push_page(out, PageKey::relation(block.rel, block.block), effect);
    }
    Ok(())
}

/// How redo reads a block that it neither restores nor initialises. All resource managers want the block to be there
/// (`RBM_NORMAL`); only `heap_xlog_visible` takes zeros for a page of the visibility map (`RBM_ZERO_ON_ERROR`).
fn reading_effect(record: &Record<'_>, block: &BlockRef<'_>) -> PageEffect {
    if block.rel.fork == Fork::Vm && heap::is_visible(record) { PageEffect::ModifyOrExtend } else { PageEffect::Modify }
}

fn push_page(out: &mut Vec<Change>, key: PageKey, effect: PageEffect) {
    out.push(Change::Page { key, effect });
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
