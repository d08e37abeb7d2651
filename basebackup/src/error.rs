//! Why no backup came out.

use std::io;

use pgdata::wal::{PageHeaderError, WalLayoutError};
use pgdata::{Lsn, PathError, SlruSegment, TimelinesError};
use wal_decoder::{RecordError, WalError};

use crate::SourceError;

/// Why no backup came out. What was written until then has no end-of-archive mark, and no `pg_control`: nothing starts from it.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The source failed.
    #[error("backup at {lsn}: reading {what}: {source}")]
    Source {
        /// The backup's LSN.
        lsn: Lsn,
        /// What was being read.
        what: String,
        /// The source's error.
        source: SourceError,
    },
    /// The archive could not be written.
    #[error("writing {path} into the archive: {source}")]
    Write {
        /// The member being written, or the archive's end.
        path: String,
        /// What the writer said.
        source: io::Error,
    },
    /// A path or the target of a link that the tar format has no room for.
    #[error("{path} does not fit into a tar archive: {source}")]
    Name {
        /// The member.
        path: String,
        /// What is wrong with it.
        source: io::Error,
    },
    /// The source names a file outside the data directory.
    #[error("the source names a file that is none of a data directory: {0}")]
    Path(#[from] PathError),
    /// A file without which no server starts is not there.
    #[error("backup at {lsn}: the source has no {path}, and no server starts without it")]
    Missing {
        /// The backup's LSN.
        lsn: Lsn,
        /// The file.
        path: &'static str,
    },
    /// The control file states a WAL segment size that does not exist.
    #[error(transparent)]
    SegmentSize(#[from] WalLayoutError),
    /// No record can lie at this LSN.
    #[error("no backup can be made at {lsn}: no checkpoint record can lie there")]
    Lsn {
        /// The backup's LSN.
        lsn: Lsn,
    },
    /// A prepared transaction that the counters do not know of: a server would delete its file.
    #[error("backup at {lsn}: {path} is of a transaction that is not before the next one, {next_xid}")]
    PreparedTransaction {
        /// The backup's LSN.
        lsn: Lsn,
        /// The transaction's state file.
        path: String,
        /// The next transaction id, with its epoch.
        next_xid: u64,
    },
    /// A file of two-phase state whose name is not that of a transaction.
    #[error("{path} is not the name of a prepared transaction's state file")]
    PreparedName {
        /// The path.
        path: String,
    },
    /// An SLRU segment is longer than one can be.
    #[error("{segment} has {blocks} pages, at most {max} fit", max = pgdata::SlruKind::PAGES_PER_SEGMENT)]
    SlruSize {
        /// The segment.
        segment: SlruSegment,
        /// How many pages the source says that it has.
        blocks: u32,
    },
    /// The source's WAL is damaged.
    #[error("the WAL that leads to {lsn}: {source}")]
    Wal {
        /// The backup's LSN.
        lsn: Lsn,
        /// What is wrong with it.
        source: WalError,
    },
    /// The first page of the segment has no right header.
    #[error("the WAL that leads to {lsn}: {source}")]
    WalPage {
        /// The backup's LSN.
        lsn: Lsn,
        /// What is wrong with it.
        source: PageHeaderError,
    },
    /// The LSN is not the end of a record: a checkpoint record there would tear another one.
    #[error("no record of the WAL ends at {lsn}: the last whole one up to there ends at {last}")]
    NoRecordEnd {
        /// The backup's LSN.
        lsn: Lsn,
        /// Where a record does end.
        last: Lsn,
    },
    /// The source has the start of a segment and not the rest.
    #[error("the WAL that leads to {lsn} breaks off: its segment is there, the part from {at} on is not")]
    WalGap {
        /// The backup's LSN.
        lsn: Lsn,
        /// What was asked for.
        at: Lsn,
    },
    /// A record of the source's WAL is not understood.
    #[error("the WAL that leads to {lsn}: {source}")]
    Record {
        /// The backup's LSN.
        lsn: Lsn,
        /// What is wrong with it.
        source: RecordError,
    },
    /// A standby needs WAL that the source does not have any more.
    #[error(
        "a standby as of {lsn} replays the WAL from {from} on, and what is at {at} is not kept: \
         it can be made at an LSN behind a later checkpoint"
    )]
    WalNotKept {
        /// The backup's LSN.
        lsn: Lsn,
        /// Where replay would begin.
        from: Lsn,
        /// What is not there.
        at: Lsn,
    },
    /// No checkpoint in the source's WAL has the redo pointer that the cluster's state says.
    #[error("a standby as of {lsn}: no checkpoint in the WAL begins at {redo}, as the last one before should")]
    NoCheckpoint {
        /// The backup's LSN.
        lsn: Lsn,
        /// The redo pointer.
        redo: Lsn,
    },
    /// The history file that the source has of the timeline at the LSN is none.
    #[error("a standby as of {lsn}: {source}")]
    History {
        /// The backup's LSN.
        lsn: Lsn,
        /// What is wrong with it.
        source: TimelinesError,
    },
    /// A standby would have to replay the switch to another of PostgreSQL's timelines, of which the source does not have the history.
    #[error(
        "a standby as of {lsn}: the last checkpoint before is of timeline {before}, and {lsn} of timeline {timeline}, whose history \
         does not tell how it came from there: it can be made at an LSN behind the next checkpoint"
    )]
    Switched {
        /// The backup's LSN.
        lsn: Lsn,
        /// The checkpoint's timeline.
        before: u32,
        /// The timeline at the LSN.
        timeline: u32,
    },
    /// A connection string that no line of a configuration file can hold.
    #[error("primary_conninfo cannot have a line break or a zero byte in it")]
    ConnInfo,
    /// A tablespace is to be linked that the cluster does not have.
    #[error("backup at {lsn}: there is no tablespace {oid} to be linked elsewhere")]
    NoTablespace {
        /// The backup's LSN.
        lsn: Lsn,
        /// The tablespace.
        oid: u32,
    },
    /// A tablespace is to be linked to a path that depends on where the server runs.
    #[error("tablespace {oid} cannot be linked to {target:?}: an absolute path is needed")]
    LinkTarget {
        /// The tablespace.
        oid: u32,
        /// The path.
        target: String,
    },
    /// An archive was asked for of a tablespace whose files are in the main one.
    #[error("tablespace {oid} has no archive of its own: it is not linked elsewhere")]
    NotLinked {
        /// The tablespace.
        oid: u32,
    },
}
