//! The oracle: PostgreSQL itself, restored from a base backup and stopped at an LSN.
//!
//! Recovery with `recovery_target_lsn = X` and `recovery_target_inclusive = off` ends before the first record that *starts* at or
//! after X (`recoveryStopsBefore`): every record that ends at or before X is replayed, and no other. The server then shuts
//! down (`recovery_target_action`), and that writes its buffers to the files only if it has replayed a checkpoint record newer
//! than its last restartpoint (`CreateRestartPoint`). Nothing else makes restartpoints here, so that between the LSNs asked for
//! there must lie a checkpoint, redo pointer included; whether the files were written is checked in the log every time.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use pgdata::Lsn;

use crate::pg_install::run;
use crate::tablespaces::TablespaceLink;
use crate::{Cluster, PgInstall, Process, RunAs};

/// How long replaying up to the next LSN may take.
const REPLAY: Duration = Duration::from_secs(300);

/// A data directory that follows its primary's WAL from one LSN to the next. While it does, the primary has to be stopped if
/// the workload makes tablespaces: see [`crate::TablespaceLink`].
#[derive(Debug)]
pub struct Standby {
    install: PgInstall,
    dir: PathBuf,
    wal: Vec<PathBuf>,
    tablespaces: TablespaceLink,
    at: Option<Lsn>,
}

impl Standby {
    /// Unpacks a base backup (a directory with `base.tar`, and `OID.tar` for each tablespace) into the new directory `dir`.
    /// `primary`'s `pg_wal` is where the standby finds the WAL, so the primary has to be flushed past the LSNs asked for.
    ///
    /// # Errors
    /// If the backup cannot be unpacked.
    pub fn unpack(backup: &Path, dir: &Path, primary: &Cluster) -> Result<Standby> {
        let standby = Standby::empty(dir, primary)?;
        unpack_tar(&backup.join("base.tar"), &standby.data())?;
        for entry in fs::read_dir(backup)? {
            let path = entry?.path();
            let oid = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            if oid.parse::<u32>().is_ok() {
                let location = standby.dir.join(format!("tablespace-{oid}"));
                unpack_tar(&path, &location)?;
                let link = standby.data().join("pg_tblspc").join(oid);
                fs::remove_file(&link).ok();
                fs::create_dir_all(standby.data().join("pg_tblspc"))?;
                symlink(&location, &link)?;
            }
        }
        standby.settle_in()?;
        Ok(standby)
    }

    /// Takes a base backup of its own with `pg_basebackup` into the new directory `dir`.
    ///
    /// # Errors
    /// If `pg_basebackup` fails.
    pub fn from_backup_of(primary: &Cluster, dir: &Path) -> Result<Standby> {
        let tapes = dir.with_extension("tar");
        RunAs::server_user().make_dir(&tapes)?;
        let mut command = primary.client("pg_basebackup");
        command.args(["--format=tar", "--wal-method=none", "--checkpoint=fast", "--no-sync", "--pgdata"]).arg(&tapes);
        run(&mut command)?;
        Standby::unpack(&tapes, dir, primary)
    }

    fn empty(dir: &Path, primary: &Cluster) -> Result<Standby> {
        let user = RunAs::server_user();
        user.make_dir(dir)?;
        user.make_dir(&dir.join("data"))?;
        Ok(Standby {
            install: primary.install().clone(),
            dir: dir.to_owned(),
            wal: vec![primary.data().join("pg_wal")],
            tablespaces: primary.tablespaces().clone(),
            at: None,
        })
    }

    /// Makes the unpacked files a data directory of the servers' user that starts in recovery.
    fn settle_in(&self) -> Result<()> {
        // Tablespaces are already where they belong; the map would send recovery to the primary's.
        fs::remove_file(self.data().join("tablespace_map")).ok();
        fs::remove_file(self.data().join("postgresql.auto.conf")).ok();
        fs::write(self.data().join("recovery.signal"), "")?;
        fs::create_dir_all(self.data().join("pg_wal"))?;
        fs::set_permissions(self.data(), fs::Permissions::from_mode(0o700))?;
        Ok(RunAs::server_user().own_all(&self.dir)?)
    }

    /// The data directory.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// Finds WAL and timeline history in `cluster`'s `pg_wal` too: that of a copy of the primary that was promoted.
    pub fn follow(&mut self, cluster: &Cluster) {
        self.wal.push(cluster.data().join("pg_wal"));
        self.tablespaces = cluster.tablespaces().clone();
    }

    /// The command that finds WAL for recovery.
    pub(crate) fn restore_command(&self) -> String {
        let copies: Vec<String> = self.wal.iter().map(|wal| format!("cp \"{}/%f\" \"%p\"", wal.display())).collect();
        format!("restore_command = '{}'\n", copies.join(" 2>/dev/null || "))
    }

    /// The LSN that the files are at.
    #[must_use]
    pub fn at(&self) -> Option<Lsn> {
        self.at
    }

    /// Replays every record that ends at or before `lsn`, writes all pages to the files and stops.
    ///
    /// # Errors
    /// If `lsn` is not reached exactly, or no checkpoint lies between the last LSN and this one.
    pub fn advance(&mut self, lsn: Lsn) -> Result<()> {
        ensure!(self.at.is_none_or(|at| at < lsn), "the standby is at {:?} and cannot go to {lsn}", self.at);
        self.tablespaces.point_at(&self.dir.join("ts"))?;
        fs::write(self.data().join("postgresql.conf"), self.config(lsn))?;
        let mut command = self.install.command("postgres");
        command.arg("-D").arg(self.data());
        let mut server = Process::start("the standby", &mut command, &self.dir.join("log"))?;
        server.wait(REPLAY)?;
        let log = server.log_text()?;
        let position =
            log.split("recovery stopping before WAL location (LSN) \"").nth(1).and_then(|rest| rest.split('"').next());
        let Some(position) = position else { bail!("the standby did not reach {lsn}:\n{log}") };
        let stopped: Lsn = position.parse()?;
        // Only a page header may lie between the end of one record and the start of the next.
        ensure!(stopped.bytes_since(lsn) <= 40, "the standby stopped at {stopped}: {lsn} is not the end of a record");
        ensure!(
            log.matches("restartpoint complete").count() == 1,
            "the standby at {lsn} did not write its pages to the files exactly once; is there a checkpoint since {:?}?\n{log}",
            self.at
        );
        self.at = Some(lsn);
        Ok(())
    }

    fn config(&self, lsn: Lsn) -> String {
        format!(
            "listen_addresses = ''\nunix_socket_directories = '{}'\nfsync = off\nhot_standby = off\nautovacuum = off\n\
             shared_buffers = 64MB\nmax_wal_size = 100GB\ncheckpoint_timeout = 1d\nmax_prepared_transactions = 100\n\
             log_checkpoints = on\nallow_in_place_tablespaces = on\n{}\
             recovery_target_lsn = '{lsn}'\nrecovery_target_inclusive = off\nrecovery_target_action = shutdown\n",
            self.dir.display(),
            self.restore_command()
        )
    }
}

/// Unpacks an archive that PostgreSQL made.
fn unpack_tar(archive: &Path, into: &Path) -> Result<()> {
    fs::create_dir_all(into)?;
    let file = File::open(archive).with_context(|| archive.display().to_string())?;
    let mut archive = tar::Archive::new(std::io::BufReader::new(file));
    archive.set_preserve_mtime(false);
    archive.unpack(into).with_context(|| format!("unpacking into {}", into.display()))
}
