//! What a base backup and a stream can be told.

use std::time::Duration;

use pgdata::{PgVersion, Timelines};

use crate::slot::SlotName;

/// How a base backup is taken.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BackupOptions {
    /// The label in `backup_label`. Default `pageserver`.
    pub label: String,
    /// Whether the server should checkpoint at once, at the price of a burst of I/O, rather than spread it over minutes. Default true.
    pub fast_checkpoint: bool,
    /// Whether the server should wait at the end until the WAL of the backup is archived. Default false: the WAL comes by streaming, and with a broken
    /// `archive_command` the wait would never end.
    pub wait_for_archive: bool,
    /// At most this many KiB a second, 32 to 1048576. Default none.
    pub max_rate: Option<u32>,
    /// Refuse another cluster than this.
    pub system_id: Option<u64>,
    /// How long the server may be silent within the transfer of files. The wait for the checkpoint at the start is not bounded. Default 60 s.
    pub receiver_timeout: Duration,
}

impl Default for BackupOptions {
    fn default() -> Self {
        BackupOptions {
            label: "pageserver".to_owned(),
            fast_checkpoint: true,
            wait_for_archive: false,
            max_rate: None,
            system_id: None,
            receiver_timeout: Duration::from_secs(60),
        }
    }
}

/// How WAL is streamed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StreamOptions {
    /// The timeline to be streamed at first, with what is known of where it came from: a server with another history is refused.
    pub timelines: Timelines,
    /// The physical slot that holds back WAL while we are away. `None`: the server may remove WAL that we still need.
    ///
    /// A slot that is missing is an error, unless the server is perhaps not the one that had it: it is on a later timeline, so that there was
    /// a failover, or the connection string names several hosts. Then it is made.
    pub slot: Option<SlotName>,
    /// Refuse another cluster than this.
    pub system_id: Option<u64>,
    /// Refuse another major version than this.
    pub version: Option<PgVersion>,
    /// At least this often the server hears our positions. Default 10 s.
    pub status_interval: Duration,
    /// After this long without any message the connection counts as dead. The server sends a keepalive
    /// after half its `wal_sender_timeout`, and we ask for one after half of this. Default 60 s.
    pub receiver_timeout: Duration,
    /// A flush of the sink is begun at the latest at each multiple of this in the WAL. Default [`StreamOptions::FLUSH_BYTES`].
    pub flush_bytes: u64,
    /// The wait after the first failure; it doubles with each further one. Default 200 ms.
    pub backoff_initial: Duration,
    /// The longest wait between attempts. Default 15 s.
    pub backoff_max: Duration,
}

impl StreamOptions {
    /// 16 MiB, a segment of the usual size: less would have the disk write the file's length down more often.
    pub const FLUSH_BYTES: u64 = 16 << 20;

    /// Streams a timeline, given by its number or with its history, with the defaults, without a slot and without a check of the server's
    /// identity.
    #[must_use]
    pub fn new(timelines: impl Into<Timelines>) -> Self {
        StreamOptions {
            timelines: timelines.into(),
            slot: None,
            system_id: None,
            version: None,
            status_interval: Duration::from_secs(10),
            receiver_timeout: Duration::from_secs(60),
            flush_bytes: StreamOptions::FLUSH_BYTES,
            backoff_initial: Duration::from_millis(200),
            backoff_max: Duration::from_secs(15),
        }
    }
}
