//! Where the data goes: the two traits that a user of this crate implements.

use pgdata::{Lsn, PgVersion};

use crate::connection::TimelineHistory;
use crate::error::BoxError;
use crate::status::TimelineSwitch;

/// A tablespace other than `pg_default` and `pg_global`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tablespace {
    /// Its Oid.
    pub oid: u32,
    /// Its directory on the server: what `pg_tblspc/OID` points at there.
    pub location: String,
    /// Its estimated size in bytes, in steps of 1024.
    pub size: u64,
}

/// What is known when a base backup begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupStart {
    /// The cluster's system identifier.
    pub system_id: u64,
    /// Its major version.
    pub version: PgVersion,
    /// The server's `server_version_num`, as 150018.
    pub server_version_num: u32,
    /// Where replay must begin: the redo position of the backup's checkpoint.
    pub start_lsn: Lsn,
    /// The timeline of `start_lsn`.
    pub timeline: u32,
    /// Bytes of a WAL segment: a power of two from 1 MiB to 1 GiB.
    pub segment_size: u32,
    /// Whether the cluster keeps page checksums.
    pub data_checksums: bool,
    /// The tablespaces besides `pg_default` and `pg_global`, in the order in which their files will come.
    pub tablespaces: Vec<Tablespace>,
    /// The estimated size of everything in bytes.
    pub total_bytes: u64,
}

/// What is known when a base backup has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackupEnd {
    /// The files are consistent once WAL up to here was replayed.
    pub end_lsn: Lsn,
    /// The timeline of `end_lsn`.
    pub timeline: u32,
}

/// Receives a base backup: one [`begin`](BackupSink::begin), then entries, then one [`end`](BackupSink::end).
///
/// Paths are relative to the data directory, with `/` between their parts and neither `.` nor `..` nor empty parts among them.
/// The tablespaces come first, each with its link and then its files, which have `pg_tblspc/OID/` in front; then `backup_label`, `tablespace_map` if there are
/// tablespaces, and the data directory, `global/pg_control` as the last of all.
/// An error ends the backup; what was received until then is not a backup. So does the end of the connection, of which the sink hears nothing: a backup counts only
/// once `end` was called.
pub trait BackupSink {
    /// Called first, once.
    ///
    /// # Errors
    /// Whatever should end the backup.
    fn begin(&mut self, start: &BackupStart) -> Result<(), BoxError>;

    /// A directory. Parents come before what is in them, except that `pg_tblspc` comes after the tablespaces.
    ///
    /// # Errors
    /// Whatever should end the backup.
    fn directory(&mut self, path: &str) -> Result<(), BoxError>;

    /// A symbolic link: `pg_tblspc/OID` to the tablespace's location on the server. No directory of this path is told.
    ///
    /// # Errors
    /// Whatever should end the backup.
    fn link(&mut self, path: &str, target: &str) -> Result<(), BoxError>;

    /// A file of `size` bytes. Its content follows in calls of [`file_data`](BackupSink::file_data), then one of [`file_end`](BackupSink::file_end).
    ///
    /// # Errors
    /// Whatever should end the backup.
    fn file_begin(&mut self, path: &str, size: u64) -> Result<(), BoxError>;

    /// The next bytes of the present file: never empty, never more than one message of the server holds (tens of KiB).
    ///
    /// # Errors
    /// Whatever should end the backup.
    fn file_data(&mut self, data: &[u8]) -> Result<(), BoxError>;

    /// The present file is complete: exactly its `size` bytes were given.
    ///
    /// # Errors
    /// Whatever should end the backup.
    fn file_end(&mut self) -> Result<(), BoxError>;

    /// Bytes of all archives received so far, and the estimate of all (which the former may pass, as the cluster grows).
    fn progress(&mut self, bytes_done: u64, bytes_total: u64) {
        let _ = (bytes_done, bytes_total);
    }

    /// Called last, once: everything was given.
    ///
    /// # Errors
    /// Whatever should make [`base_backup`](crate::base_backup) fail.
    fn end(&mut self, end: &BackupEnd) -> Result<(), BoxError>;
}

/// How far a sink is with the WAL given to it. Each is the position after the last byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Positions {
    /// Taken over.
    pub written: Lsn,
    /// Durable: survives a loss of power. The server relies on it and may remove WAL before it.
    pub flushed: Lsn,
    /// Visible to readers.
    pub applied: Lsn,
}

/// Receives WAL.
pub trait WalSink {
    /// Where streaming must begin; asked anew for each connection, whose calls of [`write`](WalSink::write) begin exactly there.
    ///
    /// After a base backup this is its start, or the beginning of the WAL segment that holds it. Later it is the end of what never has to be asked for again; it is
    /// also asked after each [`flush`](WalSink::flush), because the server may remove WAL before the flush position that it hears: it hears no position beyond this one.
    fn start_lsn(&self) -> Lsn;

    /// From where on the server's WAL is to be compared with what there is, before streaming goes on at [`start_lsn`](WalSink::start_lsn). Two servers can
    /// have timelines of the same number that begin at the same place and are not the same. The server must still have the WAL from here on, which it
    /// has within the segment of the byte before [`start_lsn`](WalSink::start_lsn).
    fn compare_from(&self) -> Lsn {
        self.start_lsn()
    }

    /// Compares the server's WAL from `lsn` on with what there is; the answer is where they differ. It ends at [`start_lsn`](WalSink::start_lsn) or before.
    ///
    /// # Errors
    /// Whatever should end the receiver for good.
    fn compare(&mut self, lsn: Lsn, wal: &[u8]) -> Result<Option<Lsn>, BoxError> {
        let _ = (lsn, wal);
        Ok(None)
    }

    /// The next bytes of WAL, beginning at `lsn`: contiguous with the call before, or at [`start_lsn`](WalSink::start_lsn) in a new connection.
    ///
    /// # Errors
    /// Whatever should end the receiver: for good, or for some time if it is [`Passing`](crate::Passing).
    fn write(&mut self, lsn: Lsn, wal: &[u8]) -> Result<(), BoxError>;

    /// Makes durable what was written and says how far everything is. A position past the last byte given in this connection counts as that byte's. Called when no more WAL waits in the socket, or after some MiB without such a pause;
    /// also, with nothing new written, before each report to the server: then it should be cheap.
    ///
    /// # Errors
    /// Whatever should end the receiver: for good, or for some time if it is [`Passing`](crate::Passing).
    fn flush(&mut self) -> Result<Positions, BoxError>;

    /// Begins to make durable what was written, and says how far everything is by now. Called in the place of [`flush`](WalSink::flush) while more WAL waits in the
    /// socket: so the sink need not wait for the disk, and what was begun here is ended by a later call of this or of `flush`, which comes in any case.
    /// By default it is `flush`.
    ///
    /// # Errors
    /// As [`flush`](WalSink::flush).
    fn begin_flush(&mut self) -> Result<Positions, BoxError> {
        self.flush()
    }

    /// All WAL of the timeline was given and flushed, and the server goes on with the next one, whose history file this is. It may have been more: what
    /// follows `switch_lsn` is void, and never reaches [`start_lsn`](WalSink::start_lsn). Answers whether to go on with that
    /// timeline, from [`start_lsn`](WalSink::start_lsn) on, which must be `switch_lsn` then; by default the receiver ends here.
    ///
    /// # Errors
    /// Whatever should end the receiver for good.
    fn timeline_ended(&mut self, switch: &TimelineSwitch, history: &TimelineHistory) -> Result<bool, BoxError> {
        let _ = (switch, history);
        Ok(false)
    }
}
