//! A crash in the middle of a record, whose first part is in the WAL for ever.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use postgres::Client;
use rustix::process::{Pid, Signal, kill_process};

use super::super::DATABASE;
use crate::Cluster;
use crate::process::POLL;

/// Bytes in the record: many segments, so that there is time to interrupt it.
const RECORD: u64 = 200 << 20;
/// How far the WAL must be flushed into the record; then its first part has also been sent to whoever follows.
const INTO: i64 = 20 << 20;
/// How long anything here may take.
const LIMIT: Duration = Duration::from_secs(60);

/// Kills the process that writes a long record when a part of it is flushed, which makes the whole server recover. Recovery marks the
/// part with an `XLOG_OVERWRITE_CONTRECORD` record.
pub fn in_a_record(cluster: &Cluster) -> Result<()> {
    let mut watch = cluster.connect(DATABASE)?;
    let mut writer = cluster.connect(DATABASE)?;
    let pid: i32 = writer.query_one("SELECT pg_backend_pid()", &[])?.get(0);
    let pid = Pid::from_raw(pid).context("a process id")?;
    let start = flushed(&mut watch)?;
    let statement = format!("SELECT pg_logical_emit_message(false, 'torn', repeat('x', {RECORD}))");
    let writing = thread::spawn(move || writer.batch_execute(&statement));
    let limit = Instant::now() + LIMIT;
    while flushed(&mut watch)? < start + INTO {
        ensure!(!writing.is_finished() && Instant::now() < limit, "the long record cannot be interrupted");
    }
    kill_process(pid, Signal::KILL)?;
    let written = writing.join().expect("the writer does not panic");
    ensure!(written.is_err(), "the long record was whole before its writer was killed");
    recovered(cluster, watch, limit)
}

/// The end of the flushed WAL, in bytes.
fn flushed(client: &mut Client) -> Result<i64> {
    let position = "SELECT (pg_current_wal_flush_lsn() - '0/0')::bigint";
    Ok(client.query_one(position, &[])?.get(0))
}

/// Waits until the server, which ends all sessions when it sees the crash, accepts connections again.
fn recovered(cluster: &Cluster, mut old: Client, limit: Instant) -> Result<()> {
    let crashed = |client: Result<Client>| client.and_then(|mut client| Ok(client.batch_execute("SELECT 1")?)).is_err();
    while old.batch_execute("SELECT 1").is_ok() {
        ensure!(Instant::now() < limit, "PostgreSQL does not see the crash of a process");
        thread::sleep(POLL);
    }
    while crashed(cluster.connect(DATABASE)) {
        ensure!(Instant::now() < limit, "PostgreSQL does not recover from the crash of a process");
        thread::sleep(POLL);
    }
    Ok(())
}
