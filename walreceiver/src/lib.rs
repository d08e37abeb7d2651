//! A PostgreSQL replication client: base backup and physical WAL streaming of an unmodified server (15 to 18) into a sink.
//!
//! - [`Primary`] is the server: a libpq connection string, with TLS and every usual authentication.
//! - [`Connection`] speaks the replication commands that answer at once: who are you, create a slot, show a setting.
//! - [`base_backup`] gives all files of the cluster to a [`BackupSink`], piece by piece.
//! - [`stream()`] gives the WAL to a [`WalSink`] as the server writes it, tells the server what is durable, connects anew after every failure that may pass, and
//!   goes on over a failover, if the sink wants that ([`WalSink::timeline_ended`]).
//!   It blocks: run it in a thread of its own, end it by a [`StopHandle`], watch it through a [`ReceiverStatus`].
//!
//! No WAL is lost between the two if a replication slot is created first. The slot holds back WAL until the sink's
//! [`flush`](WalSink::flush) says that it is durable, also while nobody is connected.
//!
//! ```no_run
//! use pgdata::Lsn;
//! use walreceiver::*;
//!
//! /// Counts the WAL, and claims nothing.
//! struct Count { start: Lsn, end: Lsn }
//!
//! impl WalSink for Count {
//!     fn start_lsn(&self) -> Lsn {
//!         self.end
//!     }
//!     fn write(&mut self, _lsn: Lsn, wal: &[u8]) -> Result<(), BoxError> {
//!         self.end.0 += wal.len() as u64;
//!         Ok(())
//!     }
//!     fn flush(&mut self) -> Result<Positions, BoxError> {
//!         Ok(Positions { written: self.end, flushed: self.start, applied: self.start })
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let primary = Primary::parse("host=db.example user=replicator password=secret sslmode=require")?;
//! let (stop, status) = (StopHandle::new(), ReceiverStatus::new());
//! let slot = SlotName::new("pageserver_main")?;
//!
//! let mut connection = Connection::connect(&primary, &stop)?;
//! let identity = connection.identify_system()?;
//! connection.create_slot(&slot)?;
//! connection.close();
//!
//! let mut options = StreamOptions::new(identity.timeline);
//! options.slot = Some(slot);
//! options.system_id = Some(identity.system_id);
//! let mut sink = Count { start: identity.flushed, end: identity.flushed };
//! match stream(&primary, &options, &mut sink, &stop, &status) {
//!     Ok(Outcome::Stopped) => println!("stopped at {}", status.snapshot().received),
//!     Ok(Outcome::TimelineEnded(switch)) => println!("timeline {} follows", switch.next_timeline),
//!     Err(error) => eprintln!("{error}"),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Inside, bytes become messages ([`protocol`]) and archives become files ([`tar`]) in modules that know no sockets. Each connection has an event loop of its own,
//! which runs only while it waits for the network: sinks are called outside of it and may block.
#![forbid(unsafe_code)]

mod backoff;
mod backup;
mod check;
mod command;
mod connection;
mod error;
mod login;
mod options;
mod prepare;
mod primary;
pub mod protocol;
mod rows;
mod server_error;
mod session;
mod sink;
mod slot;
mod socket;
mod status;
mod stop;
mod stream;
pub mod tar;
mod wire;

pub use backup::base_backup;
pub use connection::{Connection, SlotInfo, SystemIdentity, TimelineHistory};
pub use error::{BoxError, Error, Passing, ServerError};
pub use options::{BackupOptions, StreamOptions};
pub use pgtls::Verify;
pub use prepare::{Prepared, SlotState, prepare};
pub use primary::Primary;
pub use sink::{BackupEnd, BackupSink, BackupStart, Positions, Tablespace, WalSink};
pub use slot::SlotName;
pub use status::{ReceiverStatus, State, StatusSnapshot, TimelineSwitch};
pub use stop::StopHandle;
pub use stream::{Outcome, stream};
