//! A redo process, and in front of it what it cannot do and what is too simple to ask it.
//!
//! - Pages of SLRUs and of visibility maps are made here wholly, byte for byte as recovery leaves them on a standby's disk.
//! - A page of any relation begins at its last full-page image, which is put in place here; a chain that ends with it needs no process.
//! - Everything else goes to the engine behind.

use std::sync::Arc;

use pgdata::{Page, RelTag};
use wal_decoder::Record;

use crate::native::{image, make, parse};
use crate::{Redo, RedoError, RedoRequest};

/// An engine that does what it can by itself and asks another for the rest.
///
/// `Routed<Option<R>>` without an engine answers the rest with [`RedoError::NoEngine`].
#[derive(Clone, Debug)]
pub struct Routed<R> {
    inner: R,
}

impl<R: Redo> Routed<R> {
    /// In front of `inner`.
    pub fn new(inner: R) -> Routed<R> {
        Routed { inner }
    }

    /// The engine behind.
    pub fn inner(&self) -> &R {
        &self.inner
    }
}

impl<R: Redo> Redo for Routed<R> {
    fn redo(&self, request: &RedoRequest<'_>, page: &mut Page) -> Result<(), RedoError> {
        make(request, page, |rel, page| self.relation(rel, request, page))
    }
}

impl<R: Redo> Routed<R> {
    /// A page of a relation: the last image, and what follows it for the engine behind.
    fn relation(&self, rel: RelTag, request: &RedoRequest<'_>, page: &mut Page) -> Result<(), RedoError> {
        let rest = match image::restore_last(rel, request, page)? {
            None => return self.inner.redo(request, page),
            Some(rest) => rest,
        };
        if rest.is_empty() {
            return Ok(());
        }
        self.inner.redo(&RedoRequest { has_base: true, records: rest, ..*request }, page)
    }
}

/// Without an engine every request is refused with the name of its first record's resource manager.
impl<R: Redo> Redo for Option<R> {
    fn redo(&self, request: &RedoRequest<'_>, page: &mut Page) -> Result<(), RedoError> {
        if let Some(engine) = self {
            return engine.redo(request, page);
        }
        let Some(first) = request.records.first() else {
            return Err(RedoError::Nothing { key: request.key });
        };
        let Record { lsn, rmid, info, .. } = parse(request, first)?;
        Err(RedoError::NoEngine { key: request.key, lsn, rmid, info })
    }
}

impl<R: Redo + ?Sized> Redo for Arc<R> {
    fn redo(&self, request: &RedoRequest<'_>, page: &mut Page) -> Result<(), RedoError> {
        (**self).redo(request, page)
    }
}
