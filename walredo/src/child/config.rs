//! What a pool of redo processes is told.

use std::path::PathBuf;
use std::time::Duration;

/// How redo processes are started and used. [`PostgresRedoConfig::new`] gives sane values; fields are for changing them.
#[derive(Clone, Debug)]
pub struct PostgresRedoConfig {
    /// The source cluster's `global/pg_control`, 8192 bytes. It decides the major version of the server that is started, and
    /// its settings of data checksums and `wal_log_hints` must be the source's: redo of some records depends on them.
    pub control_file: Vec<u8>,
    /// The directory of the program `postgres` of that major version; `None` means `/usr/lib/postgresql/MAJOR/bin`.
    pub bin_dir: Option<PathBuf>,
    /// User and group ids that the processes run under, needed when this process is root, which PostgreSQL refuses to be;
    /// `None` then means the user `postgres` of `/etc/passwd`. It must stay `None` if this process is not root.
    pub run_as: Option<(u32, u32)>,
    /// Where a directory is made for the moment of a process's start; the user of `run_as` must be able to reach it.
    pub scratch_parent: PathBuf,
    /// How many processes there may be, at least 1. The first is started with the pool, the others when they are needed.
    pub max_children: usize,
    /// How long a process may take to start.
    pub start_timeout: Duration,
    /// How long a process may take from one answer to the next before it is killed.
    pub request_timeout: Duration,
    /// How long a request waits for a process to become free.
    pub queue_timeout: Duration,
}

impl PostgresRedoConfig {
    /// A configuration for WAL of the cluster that this control file comes from.
    #[must_use]
    pub fn new(control_file: impl Into<Vec<u8>>) -> PostgresRedoConfig {
        PostgresRedoConfig {
            control_file: control_file.into(),
            bin_dir: None,
            run_as: None,
            scratch_parent: std::env::temp_dir(),
            max_children: std::thread::available_parallelism().map_or(2, usize::from),
            start_timeout: Duration::from_secs(30),
            request_timeout: Duration::from_secs(10),
            queue_timeout: Duration::from_secs(60),
        }
    }
}
