//! Tenants and timelines at work: WAL in, pages out.
//!
//! A [`Repository`] is a data directory. It holds [`Timeline`]s, histories of PostgreSQL clusters. A timeline begins with a base backup
//! ([`Attach`]), grows by WAL ([`Ingest`]: kept and made durable, then decoded, indexed, and made visible), and answers what a
//! page was at an LSN ([`Timeline::get_page`]: wait, look up, redo). No server, no socket and no configuration file is needed for any of it.
//!
//! ```
//! use std::sync::Arc;
//! use pgdata::PgVersion;
//! use repository::{Engines, Options, Repository};
//! use walredo::Redo;
//!
//! /// Where there is no timeline, no redo is needed.
//! struct NoEngines;
//! impl Engines for NoEngines {
//!     fn engine(&self, version: PgVersion, _: &[u8]) -> Result<Arc<dyn Redo>, Box<dyn std::error::Error + Send + Sync>> {
//!         Err(format!("no redo for PostgreSQL {version}").into())
//!     }
//! }
//!
//! let dir = tempfile::tempdir()?;
//! let repository = Repository::open(dir.path(), Box::new(NoEngines), Options::default())?;
//! assert_eq!(repository.tenant().0, "default");
//! assert!(repository.timeline("default", "main").is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod attach;
mod engines;
mod error;
mod id;
mod images;
mod ingest;
mod make;
mod names;
mod pages;
mod read;
mod repository;
mod timeline;

pub use attach::Attach;
pub use engines::Engines;
pub use error::{
    AttachTimelineError, HistoryFileError, IngestError, LostWal, OpenTimelineError, ReadError, RepositoryError,
};
pub use id::{Id, ParseIdError};
pub use ingest::{Ingest, Progress};
pub use names::{DEFAULT_TENANT, make_dir};
pub use page_cache::{
    FileSystem, KeepImagesError, LookupError, ReadError as StateError, Status, Storage, StorageFile, TimelineInfo,
    WalLogError,
};
pub use pages::PageStats;
pub use repository::{BrokenTimeline, Options, Repository, Reservation};
pub use timeline::Timeline;
