//! The WAL log: received WAL in PostgreSQL's own segment files, byte-identical with the source's.
//!
//! Files are `wal/TTTTTTTTXXXXXXXXYYYYYYYY`, without gaps from the segment that holds the timeline's start LSN on. A file has its
//! full length if another follows it, and is durable by then; the last file is as long as what was appended. So after a crash
//! only the last file can end in bytes that are none ([`WalLog::durable_since`]), and whoever decodes the log finds the end by
//! the records' checksums.
//!
//! One segment can be appended to while the one before it is made durable. Until that is done it is `wal/….tmp`: such a file does not count, and goes
//! when the log is opened. Nothing of it was acknowledged, for what is before it was not.
//!
//! The newest WAL is in memory too, where readers find its records ([`WalLog::records`]).
//!
//! When the source goes on with another timeline (a standby was promoted), so does the log ([`WalLog::begin_timeline`]), and has its
//! history file, `wal/TTTTTTTT.history`. The segment in which a timeline begins is there under both numbers, as PostgreSQL has it: the
//! newer file begins with a copy of the older one's bytes up to there, and is the one that is read; the older one is filled up with zeros.

mod append;
mod log;
mod reader;
mod record;
mod sync;
mod timelines;
mod window;

pub use log::WalLog;
pub use reader::WalReader;
pub use window::RecordBytes;

use std::path::PathBuf;
use std::sync::Arc;

use pgdata::wal::RecordBytesError;
use pgdata::{Lsn, TimelinesError};

use crate::storage::StorageError;

/// Why WAL could not be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum WalLogError {
    /// A file operation failed. If [`StorageError::is_full`], the same bytes can be appended again later, from
    /// [`WalLog::end`] on.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// Making bytes durable failed once. The kernel may have dropped them, so nothing is acknowledged any more
    /// until the timeline is opened again.
    #[error("the WAL log takes no more WAL since making it durable failed: {0}")]
    Poisoned(Arc<StorageError>),
    /// The bytes do not continue the log.
    #[error("WAL at {got} does not continue the log, which ends at {end}")]
    NotAtEnd {
        /// Where the bytes would go.
        got: Lsn,
        /// Where the log ends.
        end: Lsn,
    },
    /// WAL that readers can see would be cut off.
    #[error("the WAL log cannot be cut off at {lsn}: it is in use up to {floor} and ends at {end}")]
    CannotTruncate {
        /// Where it should be cut off.
        lsn: Lsn,
        /// The end of the last record that is in use.
        floor: Lsn,
        /// Where the log ends.
        end: Lsn,
    },
    /// A position that the log does not hold.
    #[error("the WAL log does not hold {lsn}: it goes from {start} to {end}")]
    OutOfRange {
        /// The position.
        lsn: Lsn,
        /// Where the log starts.
        start: Lsn,
        /// Where it ends.
        end: Lsn,
    },
    /// A segment file is missing before others, or has a length that it cannot have.
    #[error("the WAL segment file {} is damaged: it has {got} bytes, expected {expected}", path.display())]
    SegmentLength {
        /// The file.
        path: PathBuf,
        /// Its length; 0 if it is missing.
        got: u64,
        /// The length that it must have.
        expected: u64,
    },
    /// The directory holds a file that is no segment of this timeline's WAL.
    #[error("{} is not a WAL segment file of this timeline", .0.display())]
    StrangeFile(PathBuf),
    /// A history file is damaged.
    #[error("the timeline history file {} is damaged: {reason}", path.display())]
    HistoryFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A history that was given is none.
    #[error(transparent)]
    History(#[from] TimelinesError),
    /// The timeline does not begin where the log ends.
    #[error("timeline {timeline} cannot begin here: {reason}")]
    NotNext {
        /// The timeline.
        timeline: u32,
        /// Why not.
        reason: String,
    },
    /// A record read back is not the one that was ingested.
    #[error("the record from {start} to {lsn} is damaged in the WAL segment file {}: {source}", one_of(paths))]
    Record {
        /// The files in which the record lies: its CRC does not tell which of them is damaged.
        paths: Vec<PathBuf>,
        /// The record's first byte.
        start: Lsn,
        /// The record's LSN, its end.
        lsn: Lsn,
        /// What is wrong.
        source: RecordBytesError,
    },
    /// The position after the last number.
    #[error("the WAL cannot go on after {0}: there are no more positions")]
    EndOfNumbers(Lsn),
}

fn one_of(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" or ")
}
