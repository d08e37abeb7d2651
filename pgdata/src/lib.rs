//! The vocabulary of PostgreSQL storage and its on-disk formats, without sockets, storage or threads.
//!
//! Everything that two crates of this project have to agree about lives here:
//!
//! - [`Lsn`]: a position in the WAL,
//! - [`PgVersion`]: the major versions whose formats are known,
//! - [`RelTag`], [`SlruSegment`], [`Object`], [`PageKey`]: the names of files and of pages,
//! - [`Page`]: the 8192 bytes themselves, and their header,
//! - [`Change`]: what one WAL record does to the state of a cluster,
//! - [`ControlFile`], [`CheckPoint`], [`ClusterState`]: what the cluster knows beside its pages,
//! - [`DataFile`] and [`relation_path`]: which file is what, and where a thing lies,
//! - [`Timelines`]: which timeline the WAL is of at each position, and the history files that say so,
//! - [`maps`]: where a block's bits are in the visibility map,
//! - [`slru`]: where a transaction's status, a multixact's members and the like are.
//!
//! ```
//! use pgdata::{Lsn, PageKey, RelTag, Fork};
//!
//! let lsn: Lsn = "0/16B3748".parse()?;
//! assert_eq!(lsn.to_string(), "0/16B3748");
//!
//! let pg_class = RelTag { spc: 1663, db: 5, rel: 1259, fork: Fork::Main };
//! assert_eq!(pg_class.to_string(), "1663/5/1259");
//! assert_eq!(PageKey::relation(pg_class, 7).to_string(), "1663/5/1259 block 7");
//! # Ok::<(), pgdata::ParseLsnError>(())
//! ```
#![forbid(unsafe_code)]

mod bytes;
mod change;
mod checkpoint;
mod checksum;
mod cluster;
mod control;
mod key;
mod lsn;
pub mod maps;
mod page;
mod path;
pub mod slru;
mod timelines;
mod version;
pub mod wal;

pub use change::{Change, PageEffect};
pub use checkpoint::CheckPoint;
pub use checksum::{ChecksumError, page_checksum, set_page_checksum, verify_page_checksum};
pub use cluster::{ClusterState, FIRST_NORMAL_XID, next_xid, previous_xid};
pub use control::{CONTROL_FILE_SIZE, ControlFile, ControlFileError, DbState};
pub use key::{DbTag, Fork, Object, PageKey, ParseKeyError, RelTag, SlruKind, SlruSegment};
pub use lsn::{Lsn, ParseLsnError};
pub use page::{PAGE_SIZE, Page, page_is_new, page_lsn, set_page_lsn};
pub use path::{
    DEFAULT_TABLESPACE, DataFile, GLOBAL_TABLESPACE, PathError, SEGMENT_BLOCKS, database_path, relation_path,
    tablespace_directory,
};
pub use timelines::{Timelines, TimelinesError, check_any_history};
pub use version::{PgVersion, UnknownVersion};
