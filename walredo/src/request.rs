//! What is asked of a redo engine.

use pgdata::{Lsn, Page, PageKey, PgVersion};

/// An engine that applies WAL records to a page.
pub trait Redo: Send + Sync {
    /// Applies `request.records`, oldest first.
    ///
    /// On entry `page` holds the base page if `request.has_base`; else its content does not matter: the first record makes the
    /// page, or (visibility map) starts from a zero page. On success it holds the page after the last record.
    ///
    /// # Errors
    /// [`RedoError`]; the content of `page` does not matter then.
    fn redo(&self, request: &RedoRequest<'_>, page: &mut Page) -> Result<(), RedoError>;
}

/// One page's chain of records.
#[derive(Clone, Copy, Debug)]
pub struct RedoRequest<'a> {
    /// The version of PostgreSQL that wrote the records.
    pub version: PgVersion,
    /// Which page is wanted.
    pub key: PageKey,
    /// Whether the page buffer holds a base page.
    pub has_base: bool,
    /// The records, oldest first. Each bears on the page `key`.
    pub records: &'a [RedoRecord<'a>],
}

/// One record of a chain.
#[derive(Clone, Copy, Debug)]
pub struct RedoRecord<'a> {
    /// The record's end.
    pub lsn: Lsn,
    /// The whole record, `xl_tot_len` bytes, its CRC checked.
    pub bytes: &'a [u8],
}

/// Why a page could not be made.
#[derive(Debug, thiserror::Error)]
pub enum RedoError {}
