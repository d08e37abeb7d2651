//! Redo without PostgreSQL: whatever a redo process cannot do, and whatever is too simple to ask one.
//!
//! - Pages of SLRUs and of visibility maps are made here wholly, byte for byte as recovery leaves them on a standby's disk.
//! - A page of any relation begins at its last full-page image, which is put in place here; a chain that ends with it needs no process.
//! - Everything else goes to the engine behind.

mod image;
mod slru;
mod vm;

use std::sync::Arc;

use pgdata::{Fork, Lsn, Object, Page, PageKey, RelTag};
use wal_decoder::Record;

use crate::{Redo, RedoError, RedoRecord, RedoRequest};

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
        if request.records.is_empty() {
            return if request.has_base { Ok(()) } else { Err(RedoError::Nothing { key: request.key }) };
        }
        match request.key.object {
            Object::Slru(_) => each_record(request, page, slru::apply),
            Object::Relation(rel) if rel.fork == Fork::Vm => each_record(request, page, vm::apply),
            Object::Relation(rel) => self.relation(rel, request, page),
        }
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

/// Applies all records in their order. Without a base page, the first record makes the page or starts from zeros.
fn each_record(
    request: &RedoRequest<'_>,
    page: &mut Page,
    apply: fn(&Step<'_, '_>, &mut Page) -> Result<(), RedoError>,
) -> Result<(), RedoError> {
    let mut has_base = request.has_base;
    if !has_base {
        page.fill(0);
    }
    for raw in request.records {
        let record = parse(request, raw)?;
        apply(&Step { key: request.key, record: &record, has_base }, page)?;
        has_base = true;
    }
    Ok(())
}

fn parse<'a>(request: &RedoRequest<'_>, raw: &RedoRecord<'a>) -> Result<Record<'a>, RedoError> {
    Record::parse(request.version, raw.lsn, raw.bytes)
        .map_err(|source| RedoError::Record { key: request.key, source: Box::new(source) })
}

/// One record to be applied to one page.
struct Step<'r, 'a> {
    key: PageKey,
    record: &'r Record<'a>,
    /// Whether there is a page; otherwise the buffer holds zeros.
    has_base: bool,
}

impl Step<'_, '_> {
    fn lsn(&self) -> Lsn {
        self.record.lsn
    }

    /// The record's payload is wrong.
    fn bad_record(&self, source: wal_decoder::RecordError) -> RedoError {
        RedoError::Record { key: self.key, source: Box::new(source) }
    }

    /// The record does nothing to the page that could be done here.
    fn not_applicable(&self) -> RedoError {
        let Record { lsn, rmid, info, .. } = *self.record;
        RedoError::NotApplicable { key: self.key, lsn, rmid, info }
    }

    /// The record changes a page that must be there.
    fn need_base(&self) -> Result<(), RedoError> {
        if self.has_base {
            return Ok(());
        }
        let Record { lsn, rmid, info, .. } = *self.record;
        Err(RedoError::NoBase { key: self.key, lsn, rmid, info })
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

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
