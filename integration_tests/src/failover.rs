//! Copies of a primary that take its place.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use pgdata::Lsn;

use crate::pg_install::run;
use crate::{Cluster, ClusterOptions, RunAs, Standby, until};

impl Cluster {
    /// Makes a hot standby in the new directory `dir` that streams from `primary`, which must run and have no tablespaces, and starts it.
    /// `options` are those that the primary was made with, or others for the standby.
    ///
    /// # Errors
    /// If it does not come up.
    pub fn standby_of(primary: &Cluster, dir: &Path, options: &ClusterOptions) -> Result<Cluster> {
        let mut standby = Cluster::in_dir(primary.install().clone(), dir)?;
        let mut command = primary.client("pg_basebackup");
        command.args(["--checkpoint=fast", "--no-sync", "--wal-method=none", "--pgdata"]).arg(standby.data());
        run(&mut command)?;
        RunAs::server_user().own_all(standby.data())?;
        standby.write_config(options)?;
        standby.append_config(&format!(
            "primary_conninfo = '{}'\nwal_retrieve_retry_interval = '100ms'",
            primary.conninfo()
        ))?;
        fs::write(standby.data().join("standby.signal"), "")?;
        standby.start()?;
        Ok(standby)
    }

    /// Makes a copy of a stopped `primary` in the new directory `dir`, out of a base backup (as for [`Standby::unpack`]) and the WAL in its `pg_wal`
    /// and those of `others`, and starts it: as a standby that waits to be promoted, or, with `at_once`, to be a primary on a new timeline
    /// as soon as it has come to the end of the WAL. Its tablespaces are its own.
    ///
    /// # Errors
    /// If it does not come up.
    pub fn restored(
        primary: &Cluster,
        others: &[&Cluster],
        backup: &Path,
        dir: &Path,
        options: &ClusterOptions,
        at_once: bool,
    ) -> Result<Cluster> {
        let mut unpacked = Standby::unpack(backup, dir, primary)?;
        others.iter().for_each(|other| unpacked.follow(other));
        let mut copy = Cluster::in_dir(primary.install().clone(), dir)?;
        let origin = others.last().copied().unwrap_or(primary);
        copy.tablespaces = origin.tablespaces().of_copy(&dir.join("ts-own"));
        copy.write_config(options)?;
        copy.append_config(&unpacked.restore_command())?;
        if !at_once {
            fs::rename(copy.data().join("recovery.signal"), copy.data().join("standby.signal"))?;
        }
        copy.start()?;
        Ok(copy)
    }

    /// Waits until this standby has replayed all WAL up to `lsn`.
    ///
    /// # Errors
    /// If it does not come there.
    pub fn replayed(&self, lsn: Lsn) -> Result<()> {
        let mut client = self.connect("postgres")?;
        let replayed = format!("SELECT pg_last_wal_replay_lsn() >= '{lsn}'");
        until("the standby has replayed the WAL", || {
            Ok(client.query_one(&replayed, &[])?.get::<_, bool>(0).then_some(()))
        })
    }

    /// Makes a standby a primary on a new timeline, once it has replayed all WAL up to `lsn`.
    ///
    /// # Errors
    /// If it does not come there, or is no standby.
    pub fn promote_at(&self, lsn: Lsn) -> Result<()> {
        self.replayed(lsn)?;
        self.promote()
    }

    /// Waits until recovery has ended, and tells the timeline.
    ///
    /// # Errors
    /// If the server does not answer.
    pub fn timeline(&self) -> Result<u32> {
        let mut client = self.connect("postgres")?;
        until("recovery has ended", || {
            Ok((!client.query_one("SELECT pg_is_in_recovery()", &[])?.get::<_, bool>(0)).then_some(()))
        })?;
        let row = client.query_one("SELECT timeline_id FROM pg_control_checkpoint()", &[])?;
        let checkpoint: i32 = row.get(0);
        let name: String = client.query_one("SELECT pg_walfile_name(pg_current_wal_insert_lsn())", &[])?.get(0);
        let timeline = u32::from_str_radix(&name[..8], 16).context("a strange file name")?;
        ensure!(timeline >= checkpoint as u32, "the WAL is of timeline {timeline}, the checkpoint of {checkpoint}");
        Ok(timeline)
    }
}
