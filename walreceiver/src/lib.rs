//! A PostgreSQL replication client: base backup and physical WAL streaming into a sink.
#![forbid(unsafe_code)]

mod backoff;
mod backup;
mod binding;
mod command;
mod connection;
mod conninfo;
mod error;
mod login;
mod options;
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
mod tls;
mod wire;

pub use backup::base_backup;
pub use connection::{Connection, SlotInfo, SystemIdentity, TimelineHistory};
pub use error::{BoxError, Error, ServerError};
pub use options::{BackupOptions, StreamOptions};
pub use primary::{Primary, Verify};
pub use sink::{BackupEnd, BackupSink, BackupStart, Positions, Tablespace, WalSink};
pub use slot::SlotName;
pub use status::{ReceiverStatus, State, StatusSnapshot, TimelineSwitch};
pub use stop::StopHandle;
pub use stream::{Outcome, stream};
