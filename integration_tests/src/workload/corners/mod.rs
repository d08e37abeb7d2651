//! Work for a primary whose counters stand before a boundary: SLRUs grow into new segments, wrap around and are truncated; the server
//! crashes, also in the middle of a record; settings change.

mod crash;
mod ids;

use anyhow::{Context, Result, bail, ensure};
use pgdata::Lsn;

use super::{DATABASE, note};
use crate::{Cluster, WalDump, end_of_record_before};

const SETUP: &str = include_str!("setup.sql");
const CONVERSIONS: &str = include_str!("conversions.sql");
const IMAGES: &str = include_str!("images.sql");
const LOGICAL: &str = include_str!("logical.sql");
const NO_IMAGES: &str = include_str!("no_images.sql");

/// The kinds of records that this work must bring about, as [`crate::DumpedRecord::kind`] names them.
pub const KINDS: &[&str] = &[
    "CLOG ZEROPAGE",
    "CLOG TRUNCATE",
    "CommitTs ZEROPAGE",
    "CommitTs TRUNCATE",
    "MultiXact ZERO_OFF_PAGE",
    "MultiXact ZERO_MEM_PAGE",
    "MultiXact CREATE_ID",
    "MultiXact TRUNCATE_ID",
    "Transaction PREPARE",
    "Transaction COMMIT_PREPARED",
    "Transaction ABORT_PREPARED",
    "Transaction ABORT",
    "Heap2 NEW_CID",
    "Heap2 REWRITE",
    "XLOG CHECKPOINT_SHUTDOWN",
    "XLOG OVERWRITE_CONTRECORD",
    "XLOG PARAMETER_CHANGE",
    "XLOG FPW_CHANGE",
    "XLOG FPI_FOR_HINT",
];

/// Works through all of it. Returns LSNs to compare at, each after a checkpoint and in ascending order.
///
/// # Errors
/// The primary's.
pub fn run(cluster: &mut Cluster) -> Result<Vec<Lsn>> {
    let mut noted = Vec::new();
    cluster.psql(DATABASE, SETUP)?;
    ids::cross(cluster)?;
    noted.push(note(cluster)?);

    cluster.restart()?;
    noted.push(note(cluster)?);
    cluster.kill9()?;
    cluster.start()?;
    ids::settle_prepared(cluster)?;
    noted.push(note(cluster)?);

    cluster.freeze_everything()?;
    noted.push(note(cluster)?);

    crash::in_a_record(cluster)?;
    noted.push(note(cluster)?);

    for value in ["off", "on"] {
        noted.push(switch_commit_timestamps(cluster, value)?);
        cluster.kill9()?;
        cluster.start()?;
        ids::burn(cluster, 900)?;
        noted.push(note(cluster)?);
    }

    for method in compressions(cluster, "wal_compression")? {
        set(cluster, "wal_compression", &method)?;
        cluster.psql(DATABASE, IMAGES)?;
    }
    noted.push(note(cluster)?);

    for method in compressions(cluster, "default_toast_compression")? {
        cluster.psql(DATABASE, &format!("SET default_toast_compression = {method};\n{CONVERSIONS}"))?;
    }
    noted.push(note(cluster)?);

    cluster.psql(DATABASE, LOGICAL)?;
    noted.push(note(cluster)?);

    // No LSN is noted while there are no images: see `choose_lsns`.
    set(cluster, "full_page_writes", "off")?;
    cluster.psql(DATABASE, NO_IMAGES)?;
    set(cluster, "full_page_writes", "on")?;
    noted.push(note(cluster)?);

    cluster.freeze_everything()?;
    noted.push(note(cluster)?);
    Ok(noted)
}

/// Switches commit timestamps by a restart and works a little. Returns the end of the shutdown checkpoint's record: a standby has to stop
/// there. Without that, pages of `pg_commit_ts` in its buffers outlive the removal of their files when the WAL says that
/// commit timestamps are off (`DeactivateCommitTs` leaves the buffers alone), and are written to new files later: what is on
/// disk then is no matter of the WAL alone.
fn switch_commit_timestamps(cluster: &mut Cluster, value: &str) -> Result<Lsn> {
    cluster.append_config(&format!("track_commit_timestamp = {value}\nwal_level = logical"))?;
    cluster.restart()?;
    let end = end_of_last_checkpoint(cluster)?;
    cluster.psql(DATABASE, "INSERT INTO burnt VALUES (1); INSERT INTO burnt VALUES (2)")?;
    Ok(end)
}

/// The end of the last checkpoint's record, with others after it.
fn end_of_last_checkpoint(cluster: &Cluster) -> Result<Lsn> {
    let now = cluster.current_lsn()?;
    let row = cluster.connect(DATABASE)?.query_one(
        "SELECT checkpoint_lsn::text, pg_size_bytes(current_setting('wal_segment_size')) FROM pg_control_checkpoint()",
        &[],
    )?;
    let (start, segment_size): (&str, i64) = (row.get(0), row.get(1));
    let records = WalDump::new(cluster.install(), &cluster.data().join("pg_wal")).records(start.parse()?, now)?;
    let [checkpoint, next, ..] = records.as_slice() else { bail!("no record follows the checkpoint at {start}") };
    ensure!(checkpoint.is_checkpoint(), "no checkpoint's record, but {}", checkpoint.line);
    Ok(end_of_record_before(next.start, segment_size as u64))
}

/// The values that a setting for compression can have with this server.
fn compressions(cluster: &Cluster, setting: &str) -> Result<Vec<String>> {
    let values = "SELECT unnest(enumvals) FROM pg_settings WHERE name = $1";
    let rows = cluster.connect(DATABASE)?.query(values, &[&setting])?;
    let all: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    println!("{setting}: {all:?}");
    Ok(all)
}

/// Changes a setting for all processes. The checkpoint makes sure that the checkpointer has taken note.
fn set(cluster: &Cluster, name: &str, value: &str) -> Result<()> {
    let mut client = cluster.connect(DATABASE)?;
    client.batch_execute(&format!("ALTER SYSTEM SET {name} = {value}"))?;
    client.batch_execute("SELECT pg_reload_conf()")?;
    client.batch_execute("CHECKPOINT").with_context(|| format!("setting {name} to {value}"))
}
