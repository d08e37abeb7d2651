//! A data directory unpacked from a backup, and the stock server that is started from it.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use basebackup::Backup;
use integration_tests::{Cluster, PgInstall, RunAs, run};
use pgdata::wal::SegmentSize;

/// Unpacks a backup into the new directory `dir`; tablespaces that are links are unpacked where they lead.
pub fn restore(install: &PgInstall, backup: &Backup<'_>, dir: &Path) -> Result<Cluster> {
    RunAs::server_user().make_dir(dir)?;
    unpack(backup.write(Vec::new())?, &dir.join("data"))?;
    for (oid, target) in backup.tablespaces() {
        if let Some(target) = target {
            unpack(backup.write_tablespace(oid, Vec::new())?, Path::new(target))?;
        }
    }
    let clone = Cluster::adopt(install, dir)?;
    clone.append_config("shared_buffers = 8MB\nallow_in_place_tablespaces = off")?;
    Ok(clone)
}

/// Starts it, without a complaint.
pub fn start(clone: &mut Cluster) -> Result<()> {
    clone.start()?;
    let log = clone.log_text()?;
    ensure!(!log.contains("PANIC") && !log.contains("FATAL"), "the log has:\n{log}");
    Ok(())
}

/// What `pg_waldump` makes of the segment that the backup ends in: a line for each record.
pub fn waldump(clone: &Cluster, backup: &Backup<'_>, size: SegmentSize) -> Result<Vec<String>> {
    let check_point = backup.check_point();
    let name = size.file_name(check_point.timeline, size.segment_of(check_point.redo));
    let mut command = clone.install().command("pg_waldump");
    // It ends with an error: behind the last record there are zeros.
    let output = command.arg(clone.data().join("pg_wal").join(name)).output()?;
    let lines: Vec<String> = String::from_utf8(output.stdout)?.lines().map(str::to_owned).collect();
    ensure!(!lines.is_empty(), "pg_waldump: {}", String::from_utf8_lossy(&output.stderr));
    Ok(lines)
}

/// What `pg_controldata` says, before the server has run.
pub fn controldata(clone: &Cluster) -> Result<String> {
    let output = run(clone.install().command("pg_controldata").arg(clone.data()))?;
    Ok(String::from_utf8(output.stdout)?)
}

fn unpack(tar: Vec<u8>, target: &Path) -> Result<()> {
    fs::create_dir_all(target)?;
    let mut archive = tar::Archive::new(&tar[..]);
    archive.set_preserve_permissions(true);
    archive.unpack(target).with_context(|| format!("unpacking into {}", target.display()))?;
    // The archive says so of its own directory, but this library leaves that one alone.
    Ok(fs::set_permissions(target, std::os::unix::fs::PermissionsExt::from_mode(0o700))?)
}
