//! What is asked of a redo engine.

use std::time::Duration;

use pgdata::{Lsn, Page, PageKey, PgVersion};
use wal_decoder::rmgr::rmgr_name;
use wal_decoder::{ImageError, RecordError};

use crate::child::{ChildFailure, StartError};

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

/// Two versions of a page to be masked for comparison: see [`PostgresRedo::mask`](crate::PostgresRedo::mask).
#[derive(Debug)]
pub struct MaskRequest<'a> {
    /// The resource manager's number.
    pub rmid: u8,
    /// The pages' block number.
    pub block: u32,
    /// Both are masked in place.
    pub pages: [&'a mut Page; 2],
}

/// Why a page could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RedoError {
    /// The redo process failed, twice.
    #[error("page {key}: applying {records} records ({from} to {to}) failed: {failure}")]
    Child {
        /// The page.
        key: PageKey,
        /// How many records were to be applied.
        records: usize,
        /// End of the first of them.
        from: Lsn,
        /// End of the last of them.
        to: Lsn,
        /// What the process did and said.
        failure: Box<ChildFailure>,
    },
    /// The redo process failed at masking two pages.
    #[error("masking versions of block {block} with the resource manager {rmid} failed: {failure}")]
    Mask {
        /// The resource manager's number.
        rmid: u8,
        /// The pages' block number.
        block: u32,
        /// What the process did and said.
        failure: Box<ChildFailure>,
    },
    /// No redo process could be started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// In a batch: an earlier request's error says why.
    #[error("page {key}: there was no redo process for the batch that it was in")]
    NoProcess {
        /// The page.
        key: PageKey,
    },
    /// All redo processes stayed in use.
    #[error("all {processes} redo processes were in use for {waited:?}")]
    Busy {
        /// How long the request waited.
        waited: Duration,
        /// How many processes there are.
        processes: usize,
    },
    /// The engine is for another version's records.
    #[error("page {key}: records of PostgreSQL {version} were given to an engine for {engine}")]
    WrongVersion {
        /// The page.
        key: PageKey,
        /// The records' version.
        version: PgVersion,
        /// The engine's version.
        engine: PgVersion,
    },
    /// The engine makes pages of relations only.
    #[error("page {key} is not a page of a relation: a redo process cannot make it")]
    NotARelation {
        /// The page.
        key: PageKey,
    },
    /// Neither a base page nor a record.
    #[error("page {key}: neither a base page nor a record to make it from")]
    Nothing {
        /// The page.
        key: PageKey,
    },
    /// A record longer than any that changes a page.
    #[error("page {key}: the record that ends at {lsn} has {length} bytes, more than the limit of {limit}")]
    RecordTooLong {
        /// The page.
        key: PageKey,
        /// The record's end.
        lsn: Lsn,
        /// Its length.
        length: usize,
        /// The longest allowed.
        limit: usize,
    },
    /// A record of the chain is malformed.
    #[error("page {key}: {source}")]
    Record {
        /// The page.
        key: PageKey,
        /// What is wrong with the record, with its LSN.
        source: Box<RecordError>,
    },
    /// A full-page image does not make a page.
    #[error("page {key}: the image in the record ending at {lsn} ({} info {info:#04X}): {source}", rmgr_name(*rmid))]
    Image {
        /// The page.
        key: PageKey,
        /// The record's end.
        lsn: Lsn,
        /// Its resource manager.
        rmid: u8,
        /// Its `xl_info`.
        info: u8,
        /// What is wrong.
        source: ImageError,
    },
    /// A record and the page do not go together.
    #[error(
        "page {key}: the record ending at {lsn} ({} {operation}, info {info:#04X}) cannot be applied: {what}",
        rmgr_name(*rmid)
    )]
    Native {
        /// The page.
        key: PageKey,
        /// The record's end.
        lsn: Lsn,
        /// Its resource manager.
        rmid: u8,
        /// Its `xl_info`.
        info: u8,
        /// The name of its operation.
        operation: &'static str,
        /// What is wrong, with the record or the page.
        what: String,
    },
    /// A record of the chain does nothing to this page.
    #[error("page {key}: the record ending at {lsn} ({} info {info:#04X}) does not change it", rmgr_name(*rmid))]
    NotApplicable {
        /// The page.
        key: PageKey,
        /// The record's end.
        lsn: Lsn,
        /// Its resource manager.
        rmid: u8,
        /// Its `xl_info`.
        info: u8,
    },
    /// The first record of a chain without a base page changes a page that must be there.
    #[error("page {key}: the record ending at {lsn} ({} info {info:#04X}) needs a base page", rmgr_name(*rmid))]
    NoBase {
        /// The page.
        key: PageKey,
        /// The record's end.
        lsn: Lsn,
        /// Its resource manager.
        rmid: u8,
        /// Its `xl_info`.
        info: u8,
    },
    /// The record is not one that can be applied without a redo process, and none could be started.
    #[error(
        "page {key}: the record ending at {lsn} ({} info {info:#04X}) can only be applied by PostgreSQL itself: {source}",
        rmgr_name(*rmid)
    )]
    NoPostgres {
        /// The page.
        key: PageKey,
        /// The record's end.
        lsn: Lsn,
        /// Its resource manager.
        rmid: u8,
        /// Its `xl_info`.
        info: u8,
        /// Why there is no process.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The record is not one that can be applied without a redo process, and there is none.
    #[error("page {key}: no engine for the record ending at {lsn} (resource manager {rmid}, {} info {info:#04X})", rmgr_name(*rmid))]
    NoEngine {
        /// The page.
        key: PageKey,
        /// The record's end.
        lsn: Lsn,
        /// Its resource manager.
        rmid: u8,
        /// Its `xl_info`.
        info: u8,
    },
}

impl RedoError {
    /// A process's failure over a request.
    pub(crate) fn child(request: &RedoRequest<'_>, failure: ChildFailure) -> RedoError {
        let end = |record: Option<&RedoRecord<'_>>| record.map_or(Lsn::INVALID, |record| record.lsn);
        RedoError::Child {
            key: request.key,
            records: request.records.len(),
            from: end(request.records.first()),
            to: end(request.records.last()),
            failure: Box::new(failure),
        }
    }
}
