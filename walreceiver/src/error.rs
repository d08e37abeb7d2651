//! Everything that can go wrong, and whether trying again may help.

use std::fmt;
use std::io;
use std::time::Duration;

use pgdata::{Lsn, PgVersion, TimelinesError};

use crate::protocol::ProtocolError;
use crate::tar::TarError;

/// The error of a sink: whatever its owner needs it to be.
pub type BoxError = Box<dyn std::error::Error + Send + Sync + 'static>;

/// What a [`WalSink`](crate::WalSink) answers if it cannot go on now, but perhaps later with nobody telling it: its disk is full, say. Any other error of a
/// sink ends the receiver for good.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Passing(pub BoxError);

/// An ErrorResponse of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerError {
    /// `ERROR`, `FATAL` or `PANIC`.
    pub severity: String,
    /// The SQLSTATE, five characters.
    pub code: String,
    /// The primary message, in the server's language.
    pub message: String,
    /// The detail, if any.
    pub detail: Option<String>,
    /// The hint, if any.
    pub hint: Option<String>,
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} (SQLSTATE {})", self.severity, self.message, self.code)?;
        if let Some(detail) = &self.detail {
            write!(f, "; {detail}")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "; hint: {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ServerError {}

/// What went wrong. [`Error::is_transient`] says whether [`stream`](crate::stream()) tries again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The connection string does not parse or asks for something that is not supported.
    #[error("connection string: {0}")]
    Config(String),
    /// The name is not one that PostgreSQL accepts for a slot.
    #[error("{0:?} is not a replication slot name: 1 to 63 characters of a-z, 0-9 and _ are allowed")]
    SlotName(String),
    /// The operating system refused the event loop's resources.
    #[error("cannot start the network event loop: {0}")]
    Runtime(#[source] io::Error),
    /// The files that TLS needs are not usable.
    #[error(transparent)]
    Tls(#[from] pgtls::TlsError),
    /// The server has no TLS and the connection string requires it.
    #[error("{host} does not offer TLS, but sslmode asks for it: turn ssl on at the server, or use sslmode=disable")]
    TlsRefused {
        /// The server.
        host: String,
    },
    /// The server's certificate was examined and is not trusted.
    #[error("the certificate of {host} is not trusted: {reason}")]
    CertificateRejected {
        /// The server.
        host: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No address could be connected.
    #[error("cannot connect to {address}: {source}")]
    Connect {
        /// The last address that was tried.
        address: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The connection broke.
    #[error("connection lost while {doing}: {source}")]
    Io {
        /// What was going on.
        doing: &'static str,
        /// How it broke.
        #[source]
        source: io::Error,
    },
    /// The server closed the connection.
    #[error("the server closed the connection while {doing}")]
    Closed {
        /// What was going on.
        doing: &'static str,
    },
    /// Nothing came for too long.
    #[error("no answer for {} s while {doing}", after.as_secs_f32())]
    Timeout {
        /// What was waited for.
        doing: &'static str,
        /// How long.
        after: Duration,
    },
    /// [`StopHandle::stop`](crate::StopHandle::stop) was called.
    #[error("stopped")]
    Stopped,
    /// The server does not speak the protocol as it must.
    #[error("protocol violation by the server: {0}")]
    Protocol(#[from] ProtocolError),
    /// An archive of a base backup is damaged.
    #[error("base backup archive {archive}: {source}")]
    Archive {
        /// The archive's name.
        archive: String,
        /// What is wrong with it.
        #[source]
        source: TarError,
    },

    /// The server asks for a way of authentication that is not supported.
    #[error(
        "the server asks for authentication by {method}, which is not supported: use scram-sha-256, md5, password or trust in pg_hba.conf"
    )]
    UnsupportedAuthentication {
        /// The server's wish.
        method: String,
    },
    /// The server asks for a password and none is set.
    #[error("the server asks user {user:?} for a password: add password=… to the connection string")]
    PasswordMissing {
        /// The user.
        user: String,
    },
    /// The server did not prove that it knows the password, or channel binding failed.
    #[error("the server could not be authenticated: {0}")]
    ServerNotAuthenticated(String),
    /// Password wrong, user unknown, or no line of pg_hba.conf allows replication from here.
    #[error("the server refuses this user: {0}")]
    AuthenticationFailed(#[source] Box<ServerError>),
    /// The user may not replicate.
    #[error("the user may not replicate: run ALTER ROLE … REPLICATION on the server ({0})")]
    NoReplicationPermission(#[source] Box<ServerError>),

    /// The server is of a major version that is not supported.
    #[error("the server's version {server_version_num} is not supported: PostgreSQL 15 to 18 are")]
    UnsupportedVersion {
        /// `server_version_num`.
        server_version_num: u32,
    },
    /// The server is of another major version than the history that is to be continued.
    #[error("the server runs PostgreSQL {got}, but the history to be continued is of PostgreSQL {expected}")]
    WrongVersion {
        /// The version of the history so far.
        expected: PgVersion,
        /// The server's.
        got: PgVersion,
    },
    /// The server is another cluster.
    #[error("the server is another cluster: its system identifier is {got}, expected {expected}")]
    WrongSystem {
        /// The identifier of the history so far.
        expected: u64,
        /// The server's.
        got: u64,
    },
    /// The server is on an older timeline than the one asked for.
    #[error(
        "the server is on timeline {server}, before timeline {expected} that is to be continued: {}",
        if *standby { "it is a standby that has not followed yet, and is waited for" } else { "it is an old copy of the cluster" }
    )]
    TimelineBehind {
        /// The timeline of the history so far.
        expected: u32,
        /// The server's.
        server: u32,
        /// Whether it is a standby, which may still come there.
        standby: bool,
    },
    /// The server's history left ours before the position we have.
    #[error(
        "the server's timeline {server} left the history of timeline {expected} at {parting}, but that was received up to {start}, of which the \
         server knows nothing: what was received stays as it is; to follow this server, attach it anew under another name"
    )]
    TimelineDiverged {
        /// The timeline of the history so far.
        expected: u32,
        /// The server's.
        server: u32,
        /// The last position that both histories have in common; 0/0 if that is not known.
        parting: Lsn,
        /// The end of what was received, where streaming was to begin.
        start: Lsn,
    },
    /// The server's WAL is not the one that was received, though its timelines are the same.
    #[error(
        "the server's WAL at {at} is not the WAL that was received: it was promoted or restored by itself, and went on with another history on a \
         timeline of the same number"
    )]
    WalDiffers {
        /// The first position at which it was seen to differ.
        at: Lsn,
    },
    /// The server's history file is not usable.
    #[error("the server's timeline history: {0}")]
    TimelineHistory(#[from] TimelinesError),
    /// The server has less WAL than was already received from it.
    #[error(
        "streaming must continue at {start}, but the server's WAL ends at {server_end}: {}",
        if *standby { "it is a standby that lags behind, and is waited for" } else { "it lost WAL or is an old copy" }
    )]
    AheadOfServer {
        /// Where streaming was to begin.
        start: Lsn,
        /// The end of the server's WAL.
        server_end: Lsn,
        /// Whether it is a standby, which may still come there.
        standby: bool,
    },
    /// The server is a primary and should be a standby, or the other way round.
    #[error("{host} is a {}, but target_session_attrs asks for a {}", role(*standby), role(!*standby))]
    WrongRole {
        /// The server.
        host: String,
        /// Whether it is a standby.
        standby: bool,
    },
    /// The server does not write WAL that can be streamed.
    #[error(
        "the server does not replicate: set wal_level = replica (or logical) and max_wal_senders above 0, and restart it ({0})"
    )]
    ReplicationDisabled(#[source] Box<ServerError>),

    /// The slot does not exist (any more).
    #[error(
        "replication slot {slot:?} does not exist on the server, which may already have removed WAL that is needed"
    )]
    SlotMissing {
        /// The slot.
        slot: String,
    },
    /// The slot does not hold back WAL.
    #[error(
        "replication slot {slot:?} reserves no WAL: it was invalidated (max_slot_wal_keep_size, idle_replication_slot_timeout) or never reserved any{}",
        words(source)
    )]
    SlotInvalidated {
        /// The slot.
        slot: String,
        /// The server's words, if it was the server that said so.
        #[source]
        source: Option<Box<ServerError>>,
    },
    /// The slot is not a physical one.
    #[error("replication slot {slot:?} cannot be used for physical replication: {source}")]
    SlotUnsuitable {
        /// The slot.
        slot: String,
        /// The server's words.
        #[source]
        source: Box<ServerError>,
    },
    /// A slot of this name exists already.
    #[error("replication slot {slot:?} exists already: choose another name, or drop it if nothing uses it")]
    SlotExists {
        /// The slot.
        slot: String,
    },
    /// Another connection uses the slot; often our own last one, which the server has not given up yet.
    #[error("replication slot {slot:?} is in use by another connection ({source})")]
    SlotInUse {
        /// The slot.
        slot: String,
        /// The server's words.
        #[source]
        source: Box<ServerError>,
    },
    /// All slots of the server are taken.
    #[error("the server has no free replication slot: raise max_replication_slots or drop an unused slot ({0})")]
    NoFreeSlot(#[source] Box<ServerError>),
    /// All connections for replication, or all connections, are taken.
    #[error("the server has no free connection: raise max_wal_senders or max_connections ({0})")]
    TooManyConnections(#[source] Box<ServerError>),
    /// The server has removed WAL that is needed.
    #[error("the server has already removed the WAL at {start} ({source})")]
    WalRemoved {
        /// Where streaming was to begin.
        start: Lsn,
        /// The server's words.
        #[source]
        source: Box<ServerError>,
    },
    /// The server is starting up, shutting down or has just crashed.
    #[error("the server is not available at the moment: {0}")]
    Unavailable(#[source] Box<ServerError>),
    /// Any other error of the server.
    #[error("the server answered {command} with {source}")]
    Server {
        /// What was asked.
        command: &'static str,
        /// The answer.
        #[source]
        source: Box<ServerError>,
    },

    /// WAL arrived that does not continue the WAL before it.
    #[error("WAL does not continue: expected {expected}, the server sent {got}")]
    Discontinuous {
        /// The position after the last byte received.
        expected: Lsn,
        /// The position of the bytes that came.
        got: Lsn,
    },
    /// The sink has no position to start at.
    #[error("the sink names {0} as the position to start at, which is none")]
    InvalidStart(Lsn),
    /// The sink failed.
    #[error("the receiver of the data failed: {0}")]
    Sink(#[source] BoxError),
    /// The thread of [`stream`](crate::stream()) panicked, most likely within the sink.
    #[error("the receiver's thread panicked")]
    Panicked,
}

fn role(standby: bool) -> &'static str {
    if standby { "standby" } else { "primary" }
}

fn words(source: &Option<Box<ServerError>>) -> String {
    source.as_ref().map_or_else(String::new, |source| format!(" ({source})"))
}

impl Error {
    /// Whether another attempt may succeed with nobody changing anything: the network, a restart of the server, a resource that is taken for now, a
    /// standby that has not come as far yet, or is promoted, a sink that said so by [`Passing`].
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Error::Connect { .. }
                | Error::Io { .. }
                | Error::Closed { .. }
                | Error::Timeout { .. }
                | Error::SlotInUse { .. }
                | Error::TooManyConnections(_)
                | Error::Unavailable(_)
                | Error::WrongRole { .. }
                | Error::TimelineBehind { standby: true, .. }
                | Error::AheadOfServer { standby: true, .. }
        ) || matches!(self, Error::Sink(error) if error.is::<Passing>())
    }
}
