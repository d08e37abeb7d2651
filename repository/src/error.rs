//! What can go wrong, by who asked.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use page_cache::{
    AdvanceError, AttachError, IngestError as CacheIngestError, LookupError, OpenError, ReadError as StateError,
    WalLogError,
};
use pgdata::{ControlFileError, Lsn, Object, PageKey, PathError, TimelinesError};
use wal_decoder::{RecordError, WalError};
use walredo::RedoError;

use crate::Id;

/// Why a repository, a tenant or a timeline cannot be opened, found or made.
#[derive(Debug, thiserror::Error)]
pub enum RepositoryError {
    /// A file operation failed.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// Not a name.
    #[error(
        "{name:?} is not a name: 1 to 63 letters, digits, '-', '_' and '.' are allowed, a letter or digit first, and it must not look \
         like an id"
    )]
    Name {
        /// The text.
        name: String,
    },
    /// A tenant's timelines are there and its name is not.
    #[error("{} is missing: restore it, as in {{\"name\":\"{}\"}}", file.display(), crate::DEFAULT_TENANT)]
    NamelessTenant {
        /// The file with the name.
        file: PathBuf,
    },
    /// No such tenant.
    #[error("there is no tenant {0:?}")]
    NoTenant(String),
    /// No such timeline.
    #[error("there is no timeline {0:?}")]
    NoTimeline(String),
    /// A timeline of that name exists.
    #[error("there is a timeline {0:?} already: choose another name")]
    Exists(String),
    /// A timeline's files are not usable.
    #[error("timeline {id}: {source}")]
    Open {
        /// Which timeline.
        id: Id,
        /// Why.
        #[source]
        source: Box<OpenTimelineError>,
    },
    /// A timeline that could not be opened when the repository was.
    #[error(transparent)]
    Broken(Arc<RepositoryError>),
}

impl RepositoryError {
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        RepositoryError::Io { action, path: path.to_owned(), source }
    }
}

/// Why a timeline cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenTimelineError {
    /// Its files are damaged or cannot be read.
    #[error(transparent)]
    Cache(#[from] OpenError),
    /// Its WAL is damaged.
    #[error(transparent)]
    Ingest(#[from] IngestError),
    /// Its base image cannot be read.
    #[error(transparent)]
    Base(#[from] StateError),
    /// Its control file is damaged.
    #[error("global/pg_control of the base backup: {0}")]
    Control(#[from] ControlFileError),
    /// The base backup had no control file.
    #[error("the base backup has no global/pg_control")]
    NoControlFile,
    /// There is no redo engine for it.
    #[error("no redo engine: {0}")]
    Engine(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Why WAL is not taken.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// The bytes come from another position than they must.
    #[error("WAL at {got} does not continue what was received up to {expected}")]
    Position {
        /// Where they begin.
        got: Lsn,
        /// Where they must begin.
        expected: Lsn,
    },
    /// It could not be written or read.
    #[error(transparent)]
    Log(#[from] WalLogError),
    /// It is no WAL.
    #[error(transparent)]
    Wal(#[from] WalError),
    /// A record is not understood.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A record does not fit what is there.
    #[error(transparent)]
    Index(#[from] CacheIngestError),
    /// A record could not be made visible.
    #[error(transparent)]
    Advance(#[from] AdvanceError),
    /// WAL that was complete, on disk and acknowledged does not decode any more.
    #[error("the WAL segment file {file} is damaged behind {last}, the end of the last good record: {source}")]
    Damaged {
        /// The name of the file in the timeline's directory of WAL.
        file: String,
        /// The end of the last record that is good.
        last: Lsn,
        /// What is wrong behind it.
        source: WalError,
    },
    /// The source went on with a timeline that leaves out what was received.
    #[error(
        "timeline {next} leaves timeline {timeline} at {begin}, but WAL was received up to {held}, which is not in its history and stays as it \
         is: to follow the new timeline, attach it under another name"
    )]
    Diverged {
        /// The timeline of the WAL received.
        timeline: u32,
        /// The one that the source went on with.
        next: u32,
        /// Where that begins.
        begin: Lsn,
        /// The end of the last record received.
        held: Lsn,
    },
    /// The source went on with another timeline, but not all WAL before it is here.
    #[error("timeline {next} follows timeline {timeline} at {begin}, but the WAL received ends at {end}")]
    NotReached {
        /// The timeline of the WAL received.
        timeline: u32,
        /// The one that follows.
        next: u32,
        /// Where that begins.
        begin: Lsn,
        /// The end of the WAL received.
        end: Lsn,
    },
    /// A thread panicked while WAL was taken up.
    #[error(
        "a fault of this program interrupted the taking up of WAL (its log says where): start the server again, and it takes up what is on disk"
    )]
    Panicked,
    /// An earlier error ended the taking of WAL for good.
    #[error("the timeline takes no more WAL: {0}")]
    Stopped(Arc<IngestError>),
}

/// WAL that was on disk and acknowledged is not there any more. It is asked for again, and this is over when it has come.
#[derive(Debug, thiserror::Error)]
#[error(
    "the WAL segment file {file} is damaged or cut off behind {last}, the end of the last good record: WAL up to {acknowledged} was on disk and \
     acknowledged, and is asked for again{}", source.as_ref().map(|source| format!(" ({source})")).unwrap_or_default()
)]
pub struct LostWal {
    /// The name of the file in the timeline's directory of WAL.
    pub file: String,
    /// The end of the last record that is good.
    pub last: Lsn,
    /// Up to where at least WAL was acknowledged.
    pub acknowledged: Lsn,
    /// What is wrong behind `last`; nothing if there is nothing at all.
    pub source: Option<WalError>,
}

impl IngestError {
    /// Whether the same WAL may be taken later with nobody changing anything here: it could not be written, because the disk is full, say. Nothing
    /// that was acknowledged is in doubt.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(self, IngestError::Log(WalLogError::Storage(_)))
    }

    /// Whether the process must end: making WAL durable failed, and what the operating system has dropped then, it does not tell. Opened again, the
    /// timeline begins with what is on disk.
    #[must_use]
    pub fn must_end(&self) -> bool {
        matches!(self, IngestError::Log(WalLogError::Poisoned(_)))
    }
}

/// Why a base backup does not become a timeline.
#[derive(Debug, thiserror::Error)]
pub enum AttachTimelineError {
    /// Making its directory failed, or its name is not to be had.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// A path that is in no data directory.
    #[error(transparent)]
    Path(#[from] PathError),
    /// Its pages and files could not be stored.
    #[error(transparent)]
    Store(#[from] AttachError),
    /// A control file that cannot be used.
    #[error("global/pg_control: {0}")]
    Control(#[from] ControlFileError),
    /// A history file that is none.
    #[error(transparent)]
    History(#[from] TimelinesError),
    /// A control file of another cluster than the one whose backup this is.
    #[error("the backup is of cluster {expected}, but its global/pg_control belongs to {got}")]
    Cluster {
        /// The system identifier announced.
        expected: u64,
        /// The one in the file.
        got: u64,
    },
    /// A file that must be small is not.
    #[error("{path} has {size} bytes: a file that is not a relation may have at most {limit}")]
    TooLarge {
        /// The file.
        path: String,
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// The backup ended without a control file.
    #[error("the backup has no global/pg_control")]
    NoControlFile,
    /// A file has other bytes than announced.
    #[error("{path} was announced with {expected} bytes and had {got}")]
    Length {
        /// The file.
        path: String,
        /// Announced.
        expected: u64,
        /// Given.
        got: u64,
    },
    /// What was stored cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenTimelineError),
}

/// Why a history file that is kept cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum HistoryFileError {
    /// That of a timeline that began since the base backup, in the WAL log.
    #[error(transparent)]
    Log(#[from] WalLogError),
    /// That of the base backup's timeline, among the small files.
    #[error(transparent)]
    Base(#[from] StateError),
}

/// Why a read has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The LSN did not arrive in time.
    #[error("LSN {wanted} has not arrived within {} s: the last record received ends at {last}", waited.as_secs_f64())]
    Timeout {
        /// The LSN to read at.
        wanted: Lsn,
        /// What there is.
        last: Lsn,
        /// How long it was waited for.
        waited: Duration,
    },
    /// The server is going down.
    #[error("the server is shutting down")]
    Shutdown,
    /// The object does not exist at that LSN.
    #[error("{object} does not exist at {lsn}")]
    Missing {
        /// Which object.
        object: Object,
        /// When.
        lsn: Lsn,
    },
    /// The state cannot be read at that LSN.
    #[error(transparent)]
    State(#[from] StateError),
    /// The store has no way to the page.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// The page could not be made.
    #[error(transparent)]
    Redo(#[from] RedoError),
    /// Copies of copies of databases without an end: the store is damaged.
    #[error("{key} at {lsn}: its database is a copy of a copy more than {limit} times")]
    CopyDepth {
        /// Which page.
        key: PageKey,
        /// When.
        lsn: Lsn,
        /// The limit.
        limit: usize,
    },
}
