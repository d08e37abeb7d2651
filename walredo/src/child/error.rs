//! What can go wrong with a redo process.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use pgdata::{ControlFileError, PgVersion};

/// Why no redo process could be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The control file is not one.
    #[error("the control file for redo processes cannot be used: {0}")]
    ControlFile(#[from] ControlFileError),
    /// This program was built without the module.
    #[error(
        "this program was built without the redo module for PostgreSQL {version} (it has: {built}); install its server headers \
         (on Debian: apt install postgresql-server-dev-{version}) and build again"
    )]
    NoModule {
        /// The version wanted.
        version: PgVersion,
        /// The versions built in.
        built: String,
    },
    /// No server to run.
    #[error(
        "PostgreSQL {version} is needed to apply its WAL, and there is no program {path} (on Debian: apt install \
         postgresql-{version}; elsewhere configure the directory of its programs)"
    )]
    NoServer {
        /// The version wanted.
        version: PgVersion,
        /// Where it was looked for.
        path: PathBuf,
    },
    /// Root must say whom to be.
    #[error(
        "PostgreSQL refuses to run as root and /etc/passwd has no user named postgres: configure the user and group ids to run \
         redo processes under, or do not run this program as root"
    )]
    NoUser,
    /// Only root may become someone else.
    #[error("redo processes cannot run as user {uid}, group {gid}: this program is not run by root")]
    NotRoot {
        /// The user wanted.
        uid: u32,
        /// The group wanted.
        gid: u32,
    },
    /// A limit that makes no sense.
    #[error("max_children is 0: at least one redo process is needed")]
    NoChildren,
    /// The operating system said no.
    #[error("could not {what} {path} for a redo process: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The server was started and did not become a redo process.
    #[error("{path} did not become a redo process: {failure}")]
    DidNotStart {
        /// The server program.
        path: PathBuf,
        /// What happened.
        failure: ChildFailure,
    },
    /// The process gives wrong pages. It is not used.
    #[error(
        "{path} fails the redo self-test: {what}. This build of PostgreSQL differs from those that the redo module was written \
         for; no page is made with it"
    )]
    SelfTest {
        /// The server program.
        path: PathBuf,
        /// Which test, and how the page differs.
        what: String,
    },
}

/// How a redo process failed. It has been killed by then.
#[derive(Debug)]
pub struct ChildFailure {
    pub(super) kind: FailureKind,
    pub(super) status: Option<ExitStatus>,
    pub(super) stderr: String,
}

/// What was seen of the failure.
#[derive(Debug)]
pub(super) enum FailureKind {
    TimedOut(Duration),
    Closed,
    Io(io::Error),
    ExtraAnswer,
}

impl ChildFailure {
    /// The last of what the process wrote to its standard error.
    #[must_use]
    pub fn stderr(&self) -> &str {
        &self.stderr
    }

    /// How the process ended, as far as it could be learnt. A process killed for its failure shows the signal `SIGKILL`.
    #[must_use]
    pub fn status(&self) -> Option<ExitStatus> {
        self.status
    }

    /// Whether the process gave no answer in time.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self.kind, FailureKind::TimedOut(_))
    }
}

impl std::fmt::Display for ChildFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.kind {
            FailureKind::TimedOut(limit) => write!(f, "no answer within {limit:?}")?,
            FailureKind::Closed => match self.status {
                Some(status) => write!(f, "the process ended ({status})")?,
                None => write!(f, "the process closed its output")?,
            },
            FailureKind::Io(error) => write!(f, "talking to the process failed: {error}")?,
            FailureKind::ExtraAnswer => write!(f, "the process answered more than it was asked")?,
        }
        let stderr = self.stderr.trim();
        if stderr.is_empty() { write!(f, "; it printed nothing") } else { write!(f, "; it printed: {stderr}") }
    }
}

impl std::error::Error for ChildFailure {}
