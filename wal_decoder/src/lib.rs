//! PostgreSQL WAL bytes to checked records, and to everything a record changes.
//!
//! The crate knows formats: no files, no sockets, no threads. Its nouns:
//!
//! - [`WalStream`] takes WAL in pieces of any size, checks page headers, the chain of records and their CRCs, and gives out each
//!   whole record as a [`RawRecord`]: its bytes in one piece, with its LSN, which is always its *end*;
//! - [`Record`] is a record taken apart: its header, the blocks it refers to ([`BlockRef`]) with their images
//!   ([`BlockImage`], which [`restore`](BlockImage::restore)s the page) and data, and the main data; [`PageRecord`] is a record as
//!   one of its pages sees it;
//! - [`rmgr`] has the numbers and names of the resource managers that records belong to;
//! - [`Interpreter`] says what a record changes: pages, files, counters, as [`Change`](pgdata::Change)s;
//! - [`WalWriter`] makes WAL out of [`NewRecord`]s;
//! - [`DumpLine`] prints a record like `pg_waldump`.
//!
//! ```
//! use pgdata::{Lsn, PgVersion, wal::SegmentSize};
//! use wal_decoder::{NewRecord, Record, WalIdentity, WalStream, WalWriter, rmgr};
//!
//! // Some WAL: a record of 20 kB, which runs over three pages.
//! let (version, segment_size) = (PgVersion::V15, SegmentSize::DEFAULT);
//! let identity = WalIdentity { version, timeline: 1, system_id: 7, segment_size };
//! let start = Lsn(0x100_0000);
//! let mut writer = WalWriter::new(identity, start, Lsn::INVALID)?;
//! let main_data = vec![b'x'; 20_000];
//! writer.append(&NewRecord { xid: 731, info: 0, rmid: rmgr::RM_LOGICALMSG_ID, main_data: &main_data })?;
//!
//! // It comes in pieces, as from a socket, and is decoded as it comes.
//! let mut stream = WalStream::new(start, segment_size.bytes(), version)?;
//! let mut seen = Vec::new();
//! for piece in writer.bytes().chunks(1000) {
//!     let mut whole = stream.feed(piece);
//!     while let Some(raw) = whole.next_record()? {
//!         let record = Record::parse(version, raw.lsn, raw.bytes)?;
//!         assert_eq!(record.main_data, main_data);
//!         seen.push((rmgr::rmgr_name(record.rmid), raw.start.to_string(), record.lsn.to_string()));
//!     }
//! }
//! assert_eq!(seen, [("LogicalMessage".into(), "0/1000028".into(), "0/1004E98".into())]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod dump;
mod error;
mod image;
mod interpret;
#[cfg(feature = "fuzzing")]
pub mod invariants;
#[cfg(all(test, not(feature = "fuzzing")))]
mod invariants;
mod pglz;
mod record;
pub mod rmgr;
mod stream;
mod writer;

pub use dump::DumpLine;
pub use error::WalError;
pub use image::{BlockImage, Compression, ImageError};
#[cfg(feature = "fuzzing")]
pub use interpret::interpreter_state_is_its_changes;
pub use interpret::{
    Interpreter, MultiXactCreate, MultiXactMember, SmgrTruncate, VmEdit, VmOp, XactEnd, XactStatus, slru_zero_page,
};
pub use pglz::{PglzError, pglz_decompress};
pub use record::{BlockHeaderError, BlockRef, PageRecord, Record, RecordError};
pub use stream::{RawRecord, Records, WalStream};
pub use writer::{NewRecord, WalIdentity, WalWriter, Written};
