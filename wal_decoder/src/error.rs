//! What ends a stream of WAL.

use pgdata::wal::{PageHeaderError, WalLayoutError};
use pgdata::{Lsn, PgVersion};

/// Why a [`WalStream`](crate::WalStream) cannot go on. It stays in this state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WalError {
    /// Not a size of WAL segments.
    #[error(transparent)]
    Layout(#[from] WalLayoutError),
    /// No reading can begin in the middle of a page header: whether the page continues a record would be unknown.
    #[error("WAL cannot be read from {start}: that is inside a page header")]
    Start {
        /// The position asked for.
        start: Lsn,
    },
    /// There is nothing here: zeros where a record or a page should start. This is how a WAL file that was made ahead of time
    /// looks behind the last record.
    #[error("the WAL ends at {lsn}: zeros follow")]
    EndOfWal {
        /// The end: where the next record would start, or where an unfinished record starts.
        lsn: Lsn,
    },
    /// A page that is not the one that should be there.
    #[error(transparent)]
    Page(#[from] PageHeaderError),
    /// A page of another major version.
    #[error("WAL page {page}: written by PostgreSQL {got}, expected {expected}")]
    Version {
        /// Where the page starts.
        page: Lsn,
        /// Who wrote it.
        got: PgVersion,
        /// Who should have.
        expected: PgVersion,
    },
    /// A segment of another cluster.
    #[error("WAL page {page}: of the cluster with system identifier {got}, expected {expected}")]
    SystemId {
        /// Where the page starts.
        page: Lsn,
        /// The identifier in its header.
        got: u64,
        /// The identifier of the segments before, or the one asked for.
        expected: u64,
    },
    /// Timelines only ever grow along the WAL.
    #[error("WAL page {page}: timeline {got} after timeline {before}")]
    Timeline {
        /// Where the page starts.
        page: Lsn,
        /// The timeline in its header.
        got: u32,
        /// The timeline of the page before.
        before: u32,
    },
    /// A page of another history than the one that is read.
    #[error("WAL page {page}: of timeline {got}, expected {expected}: it is of another history")]
    WrongTimeline {
        /// Where the page starts.
        page: Lsn,
        /// The timeline in its header.
        got: u32,
        /// The timeline that the WAL is of there.
        expected: u32,
    },
    /// A page begins with the rest of a record where a record should start, or should begin with it and does not, or with
    /// another length.
    #[error("WAL page {page}: it continues a record with {got} bytes, expected {expected} (0: no continuation)")]
    Continuation {
        /// Where the page starts.
        page: Lsn,
        /// `xlp_rem_len`, or 0 without the flag for a continuation.
        got: u32,
        /// What is left of the record before the page.
        expected: u32,
    },
    /// The length of a record is outside its bounds.
    #[error("record at {start}: a length of {got} bytes is not within {min} to {max}")]
    RecordLength {
        /// Where the record starts.
        start: Lsn,
        /// `xl_tot_len`.
        got: u32,
        /// Bytes of a record's header.
        min: u32,
        /// The version's longest record.
        max: u32,
    },
    /// The number of no resource manager.
    #[error("record at {start}: resource manager {rmid} does not exist")]
    Rmgr {
        /// Where the record starts.
        start: Lsn,
        /// `xl_rmid`.
        rmid: u8,
    },
    /// The record does not follow the one before: bytes of an older use of the file, or a gap.
    #[error("record at {start}: it says that the record before it is at {got}, expected {expected}")]
    Prev {
        /// Where the record starts.
        start: Lsn,
        /// `xl_prev`.
        got: Lsn,
        /// Where the record before starts.
        expected: Lsn,
    },
    /// The first record of a stream says that one before it starts where the stream has none.
    #[error("record at {start}: it says that the record before it is at {got}, which is not before {from}")]
    FirstPrev {
        /// Where the record starts.
        start: Lsn,
        /// `xl_prev`.
        got: Lsn,
        /// Where the stream starts.
        from: Lsn,
    },
    /// The record is damaged.
    #[error("record at {start}: its CRC-32C is {got:#010X}, its header says {expected:#010X}")]
    Crc {
        /// Where the record starts.
        start: Lsn,
        /// Computed.
        got: u32,
        /// `xl_crc`.
        expected: u32,
    },
    /// The page's header says that the unfinished record before it is void, the first record on it says otherwise.
    #[error("record at {start}: it should void the unfinished record at {expected}, it voids {got} (0/0: none)")]
    Overwrite {
        /// Where the record starts.
        start: Lsn,
        /// The record that it voids, or 0 if it is of another kind.
        got: Lsn,
        /// Where the unfinished record starts.
        expected: Lsn,
    },
    /// A position that no cluster ever reaches, so near to the end of the WAL's numbers that they could run out.
    #[error("WAL cannot be read from {start}: the position is beyond all that a cluster can write")]
    Overflow {
        /// The position asked for.
        start: Lsn,
    },
}

impl WalError {
    /// Whether this is how an intact WAL file can look behind the last record: zeros, or the pages of an older segment that
    /// the file held before it was recycled.
    #[must_use]
    pub const fn is_end_of_wal(&self) -> bool {
        match self {
            WalError::EndOfWal { .. } => true,
            WalError::Page(PageHeaderError::Address { page, got }) => got.0 < page.0,
            _ => false,
        }
    }
}
