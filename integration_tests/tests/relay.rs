//! The relay is sound: a base backup that passes through it arrives unchanged, and the copy that it keeps is the same.

use std::fs;

use anyhow::ensure;
use integration_tests::{Cluster, ClusterOptions, Relay, RunAs, in_scratch, run};

#[test]
fn a_base_backup_passes_unchanged_and_is_kept() {
    in_scratch("relay", |dir| {
        let primary = Cluster::start_new(&dir.join("primary"), &ClusterOptions::default())?;
        let location = primary.tablespace_location("located")?;
        primary.psql("postgres", &format!("CREATE TABLESPACE located LOCATION '{}'", location.display()))?;
        let relay = Relay::start(primary.port(), &dir.join("backups"))?;
        let out = dir.join("out");
        RunAs::server_user().make_dir(&out)?;
        let mut command = primary.install().command("pg_basebackup");
        command.args(["--format=tar", "--wal-method=none", "--checkpoint=fast", "--no-sync", "--pgdata"]).arg(&out);
        run(command.args(["--dbname", &relay.conninfo()]))?;
        let kept = relay.base_backup()?;
        let mut archives = 0;
        for entry in fs::read_dir(&kept)? {
            let name = entry?.file_name();
            let (kept, arrived) = (fs::read(kept.join(&name))?, fs::read(out.join(&name))?);
            // pg_basebackup itself adds empty blocks that end an archive.
            let rest = arrived.strip_prefix(kept.as_slice());
            ensure!(rest.is_some_and(|rest| rest.iter().all(|&byte| byte == 0)), "{name:?} differs");
            archives += 1;
        }
        ensure!(archives == 2, "{archives} archives for a cluster with one tablespace");
        Ok(())
    });
}

#[test]
fn connections_are_cut_and_refused() {
    in_scratch("relay-cut", |dir| {
        let primary = Cluster::start_new(&dir.join("primary"), &ClusterOptions::default())?;
        let relay = Relay::start(primary.port(), &dir.join("backups"))?;
        let connect = || postgres::Client::connect(&format!("{} dbname=postgres", relay.conninfo()), postgres::NoTls);
        let mut client = connect()?;
        client.batch_execute("SELECT 1")?;
        relay.cut();
        ensure!(client.batch_execute("SELECT 1").is_err(), "the connection is not cut");
        relay.refuse(true);
        ensure!(connect().is_err(), "a connection is not refused");
        relay.refuse(false);
        Ok(connect()?.batch_execute("SELECT 1")?)
    });
}
