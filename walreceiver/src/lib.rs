//! A PostgreSQL replication client: base backup and physical WAL streaming into a sink.
#![forbid(unsafe_code)]

mod conninfo;
mod error;
mod options;
mod primary;
mod protocol;
mod sink;
mod slot;
mod status;
mod stop;
mod tar;

pub use error::{BoxError, Error, ServerError};
pub use options::{BackupOptions, StreamOptions};
pub use primary::{Primary, Verify};
pub use protocol::ProtocolError;
pub use sink::{BackupEnd, BackupSink, BackupStart, Positions, Tablespace, WalSink};
pub use slot::SlotName;
pub use status::{ReceiverStatus, State, StatusSnapshot, TimelineSwitch};
pub use stop::StopHandle;
pub use tar::TarError;

use std::sync::Arc;

/// How [`stream()`] ended without an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was asked to.
    Stopped,
    /// All WAL of the timeline was received and flushed; the server goes on with another one.
    TimelineEnded(TimelineSwitch),
}

/// Takes a base backup into `sink` over a connection of its own.
///
/// # Errors
/// See [`Error`]; nothing is tried twice.
pub fn base_backup(
    primary: &Primary,
    options: &BackupOptions,
    sink: &mut dyn BackupSink,
    stop: &StopHandle,
) -> Result<(BackupStart, BackupEnd), Error> {
    let _ = (primary, options, sink, stop);
    unimplemented!()
}

/// Streams WAL into `sink` until stopped, over as many connections as it takes.
///
/// # Errors
/// The first [`Error`] that is not [transient](Error::is_transient).
pub fn stream(
    primary: &Primary,
    options: &StreamOptions,
    sink: &mut dyn WalSink,
    stop: &StopHandle,
    status: &ReceiverStatus,
) -> Result<Outcome, Arc<Error>> {
    let _ = (primary, options, sink, stop, status);
    unimplemented!()
}
