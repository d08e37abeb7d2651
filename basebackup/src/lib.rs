//! A PostgreSQL data directory as of an LSN, as a tar stream: what a stock server of 15 to 18 starts from at once, writable.
//!
//! [`DataSource`] is a cluster at one LSN: its pages, small files, state and WAL, wherever they come from. [`Backup`] makes the directory
//! of it and writes it to anything that is [`std::io::Write`]. A server that starts from it finds that it was shut down at that LSN:
//!
//! - `pg_control` says so, with the counters as they were there, and points at
//! - a shutdown-checkpoint record that lies at the LSN, in a WAL segment made for it. Where the source has the WAL, the segment carries it
//!   up to the record and is a true piece of history; else pages with headers stand there, enough for a server, but `pg_waldump` finds no
//!   first record in them.
//! - Transactions that were running are aborted, as nothing says that they committed. Prepared ones go on.
//! - Unlogged relations are empty, as after a crash.
//! - The free space maps are as stale as a standby's; servers cope.
//! - Configuration is as it was. If the cluster keeps it elsewhere, there is a `postgresql.conf` with the settings that the control file
//!   knows, and nobody but local users under their own names is let in. Who starts the server beside its origin looks through the
//!   settings first: the port, `archive_command` (both archive the same timeline), `data_directory`, and subscriptions.
//!
//! Unpack it into a directory that only the server's user can enter (mode 0700, as the archive's first member says), owned by that user.
//!
//! # Standbys
//!
//! With [`Options::standby`] the directory is instead that of a standby which has replayed its origin's WAL up to the LSN, and goes on with
//! it: `standby.signal`, a `backup_label` that names the last checkpoint before, the real WAL from that checkpoint's redo pointer
//! to the LSN, and a `pg_control` in archive recovery. It answers queries once it has replayed that WAL again, and then asks for
//! the rest of it: from the server that `primary_conninfo` names, from the start of the segment with the LSN in it on.
//!
//! # Tablespaces
//!
//! A tablespace's link leads to where the origin keeps it: on the same machine a copy of the link would let two servers write into the same
//! files. So a tablespace is a plain directory `pg_tblspc/OID` unless [`Options::links`] says where it is to be; then it is a link to
//! there, and its files are an archive of their own ([`Backup::write_tablespace`]). Servers from 15 on take both for the same, and drop
//! either. But *archive recovery* accepts directories only with `allow_in_place_tablespaces = on`, so a standby gets this setting.
//!
//! # Example
//!
//! ```
//! use basebackup::{Backup, DataSource, Options, SourceError};
//! use pgdata::{ClusterState, ControlFile, Fork, Lsn, Object, Page, PageKey, PgVersion, RelTag};
//!
//! /// One page of one relation, and nothing is known about the WAL.
//! struct Small;
//!
//! impl DataSource for Small {
//!     fn lsn(&self) -> Lsn {
//!         Lsn(0x0150_0000)
//!     }
//!     fn cluster(&self) -> Result<ClusterState, SourceError> {
//!         Ok(ClusterState::new(ControlFile::initial(PgVersion::V15, 42)))
//!     }
//!     fn objects(&self) -> Result<Vec<(Object, u32)>, SourceError> {
//!         let rel = RelTag { spc: 1663, db: 5, rel: 1259, fork: Fork::Main };
//!         Ok(vec![(rel.into(), 1)])
//!     }
//!     fn page(&self, _: PageKey, page: &mut Page) -> Result<(), SourceError> {
//!         page.fill(7);
//!         Ok(())
//!     }
//!     fn blobs(&self) -> Result<Vec<String>, SourceError> {
//!         Ok(vec!["PG_VERSION".to_owned(), "global/pg_filenode.map".to_owned()])
//!     }
//!     fn blob(&self, name: &str) -> Result<Vec<u8>, SourceError> {
//!         Ok(if name == "PG_VERSION" { b"15\n".to_vec() } else { vec![0; 512] })
//!     }
//!     fn last_record_start(&self) -> Result<Option<Lsn>, SourceError> {
//!         Ok(None)
//!     }
//!     fn wal(&self, _: Lsn, _: &mut [u8]) -> Result<bool, SourceError> {
//!         Ok(false)
//!     }
//! }
//!
//! let backup = Backup::new(&Small, &Options::default())?;
//! let tar: Vec<u8> = backup.write(Vec::new())?;
//!
//! let mut names = Vec::new();
//! for member in tar::Archive::new(&tar[..]).entries()? {
//!     names.push(member?.path()?.display().to_string());
//! }
//! assert!(names.contains(&"base/5/1259".to_owned()));
//! assert!(names.contains(&"pg_wal/000000010000000000000001".to_owned()));
//! assert_eq!(names.last().map(String::as_str), Some("global/pg_control"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod archive;
mod backup;
mod checkpoint;
mod config;
mod error;
mod layout;
mod objects;
mod plan;
mod read_ahead;
mod segment;
mod source;
mod standby;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod twophase;
mod wal;

pub use backup::{Backup, Options, StandbyOptions};
pub use error::BackupError;
pub use source::{DataSource, SourceError};
