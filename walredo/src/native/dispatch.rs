//! Which module a record belongs to.

use wal_decoder::rmgr::*;

use super::fault::Fault;
use super::page::PageView;
use super::scratch::Scratch;
use super::target::{Outcome, Target};
use super::{brin, btree, generic, gin, gist, hash, heap, sequence, spgist, xlog};

/// Applies a record to the page that it refers to; the page needs it: it is older than the record, or to be made anew.
pub(super) type Routine = fn(&Target<'_, '_>, &mut PageView<'_>, &mut Scratch) -> Result<Outcome, Fault>;

/// A resource manager whose records can be applied here.
pub(super) struct Manager {
    pub(super) redo: Routine,
    /// What redo changes on a page that it has just restored from an image, where it goes on to do so.
    pub(super) after_image: Option<Routine>,
}

/// The resource manager of that number, if it is known here.
pub(super) fn manager(rmid: u8) -> Option<Manager> {
    let redo: Routine = match rmid {
        RM_XLOG_ID => xlog::redo,
        RM_HEAP_ID => heap::redo,
        RM_HEAP2_ID => heap::redo2,
        RM_BTREE_ID => btree::redo,
        RM_HASH_ID => hash::redo,
        RM_GIN_ID => gin::redo,
        RM_GIST_ID => gist::redo,
        RM_SEQ_ID => sequence::redo,
        RM_SPGIST_ID => spgist::redo,
        RM_BRIN_ID => brin::redo,
        RM_GENERIC_ID => generic::redo,
        _ => return None,
    };
    let after_image: Option<Routine> = match rmid {
        RM_HASH_ID => Some(hash::after_image),
        RM_GIST_ID => Some(gist::after_image),
        _ => None,
    };
    Some(Manager { redo, after_image })
}
