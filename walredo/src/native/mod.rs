//! Redo in process, for every supported version of PostgreSQL at once.
//!
//! A chain of records is applied to the page buffer in place, without an allocation per record:
//!
//! - [`chain`] takes the records one after the other, restores images, looks at LSNs as `XLogReadBufferForRedo` does, and asks
//!   [`dispatch`] for the routine of the record's resource manager;
//! - a resource manager is a module here: [`heap`], [`btree`], [`hash`], [`gin`], [`gist`], [`spgist`], [`brin`], [`sequence`], [`generic`],
//!   [`xlog`]. It gets a [`target::Target`] (the record and the reference to the page at hand), a [`page::PageView`], which checks every offset, and [`scratch::Scratch`], memory to be used again;
//! - what goes wrong is a [`fault::Fault`], to which the frame adds page, LSN and the record's type ([`site`]);
//! - pages that no block reference leads to are made by [`vm`] (visibility maps) and [`slru`].
//!
//! What differs between versions is visible where a record is read. Leftovers in a page's hole are PostgreSQL's too: pages are compared with
//! those of a standby byte for byte.

mod brin;
mod btree;
mod chain;
mod cursor;
mod dispatch;
mod fault;
mod generic;
mod gin;
mod gist;
mod hash;
mod heap;
pub(crate) mod image;
mod index_tuple;
mod names;
mod page;
mod scratch;
mod sequence;
mod site;
mod slru;
mod spgist;
mod step;
mod target;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod vm;
mod xlog;

pub(crate) use chain::{make, parse};
pub use names::record_type;

use pgdata::Page;

use crate::{Redo, RedoError, RedoRequest};

/// An engine that applies records in this process, and asks another one only for those of resource managers that it does not know.
///
/// `NativeRedo<Option<R>>` without an engine behind answers such records with [`RedoError::NoEngine`].
#[derive(Clone, Debug)]
pub struct NativeRedo<R> {
    hint_bits_logged: bool,
    behind: R,
}

impl<R: Redo> NativeRedo<R> {
    /// `hint_bits_logged` tells whether the cluster has data checksums or `wal_log_hints`: some records then leave another LSN.
    pub fn new(hint_bits_logged: bool, behind: R) -> NativeRedo<R> {
        NativeRedo { hint_bits_logged, behind }
    }

    /// The engine behind.
    pub fn behind(&self) -> &R {
        &self.behind
    }
}

impl<R: Redo> Redo for NativeRedo<R> {
    fn redo(&self, request: &RedoRequest<'_>, page: &mut Page) -> Result<(), RedoError> {
        make(request, page, |rel, page| chain::relation(rel, request, page, self.hint_bits_logged, &self.behind))
    }
}
