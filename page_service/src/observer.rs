//! What a server tells about its work while it works: for the counters of the program around it.

use std::fmt;
use std::time::Duration;

use crate::SqlState;
use crate::messages::RequestKind;

/// Hears of every connection, command and request, on the threads of the connections.
///
/// A page takes a few microseconds to serve, so whoever counts should do it with an atomic addition or two, without a lock and without
/// allocating. Nothing is told of what a panic ends but the end of its connection.
pub trait Observer: fmt::Debug + Send + Sync {
    /// A connection has got its thread. Whether it is served is not known yet.
    fn connection_opened(&self) {}

    /// An opened connection has ended.
    fn connection_ended(&self, end: ConnectionEnd) {
        let _ = end;
    }

    /// A connection was closed without a word and without a thread, because far too many were open.
    fn connection_dropped(&self) {}

    /// A request of a page stream has been answered, with an error if there is one. `took` is the time from when the server began with
    /// it until the answer was in the buffer, waiting for the LSN included: neither the time that the request waited behind others of its stream nor that of the
    /// network.
    fn request(&self, kind: RequestKind, took: Duration, error: Option<SqlState>) {
        let _ = (kind, took, error);
    }

    /// A command has been carried out, or has failed with an error. `word` is the first of the query, whatever the client has written there; a
    /// page stream's command is done when the stream begins.
    fn command(&self, word: &str, took: Duration, error: Option<SqlState>) {
        let _ = (word, took, error);
    }
}

/// How a connection has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConnectionEnd {
    /// In order: the client has left, or the server stops.
    Closed,
    /// The server has ended it and said why.
    Refused(SqlState),
    /// The socket failed, or its client was silent or did not read for too long.
    Broken,
    /// Serving it has met a defect of this program.
    Panicked,
}

/// Nobody wants to know.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unobserved;

impl Observer for Unobserved {}
