//! A backup of a server that was shut down: what the stock server says of it, starting from it, working on it.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use basebackup::{Backup, BackupError, DataSource, Options};
use integration_tests::{Cluster, ClusterOptions, in_scratch, run};
use pgdata::wal::SegmentSize;

use crate::support::{FileSource, check, controldata, populate, restore, start, waldump};

fn options() -> ClusterOptions {
    ClusterOptions::default().with("autovacuum", "off")
}

/// A stopped cluster with everything in it, and its files.
fn stopped(dir: &Path, options: &ClusterOptions) -> Result<(Cluster, FileSource)> {
    let mut cluster = Cluster::start_new(&dir.join("origin"), options)?;
    populate(&cluster, &cluster.tablespace_location("ts")?)?;
    cluster.stop()?;
    let source = FileSource::open(cluster.data())?;
    Ok((cluster, source))
}

/// The value of a line of `pg_controldata`.
fn value<'a>(controldata: &'a str, name: &str) -> Result<&'a str> {
    let line = controldata.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.map(str::trim).with_context(|| format!("no {name:?} in {controldata}"))
}

#[test]
fn with_the_wal_that_leads_to_it() {
    in_scratch("backup-wal", |dir| {
        let (cluster, source) = stopped(dir, &options())?;
        let backup = Backup::new(&source, &Options::default())?;
        let mut restored = restore(cluster.install(), &backup, &dir.join("clone"))?;

        let controldata = controldata(&restored)?;
        ensure!(value(&controldata, "Database cluster state")? == "shut down", "{controldata}");
        let redo = backup.check_point().redo.to_string();
        ensure!(value(&controldata, "Latest checkpoint location")? == redo, "{controldata}");
        ensure!(value(&controldata, "Latest checkpoint's REDO location")? == redo, "{controldata}");
        ensure!(!controldata.contains("WARNING"), "{controldata}");

        let lines = waldump(&restored, &backup, SegmentSize::DEFAULT)?;
        ensure!(lines.len() > 10, "the segment has no history: {lines:?}");
        let last = &lines[lines.len() - 1];
        let prev = source.state().control.check_point;
        ensure!(last.contains("CHECKPOINT_SHUTDOWN"), "{last}");
        ensure!(last.contains(&format!("prev {:X}/{:08X}", prev.0 >> 32, prev.0 as u32)), "{last}");

        start(&mut restored)?;
        check(&mut restored)
    });
}

#[test]
fn without_wal_and_with_checksums() {
    in_scratch("backup-checksums", |dir| {
        let (cluster, mut source) = stopped(dir, &options().with_checksums())?;
        source.knows_wal = false;
        let backup = Backup::new(&source, &Options::default())?;
        let mut restored = restore(cluster.install(), &backup, &dir.join("clone"))?;
        restored.verify_checksums()?;
        start(&mut restored)?;
        check(&mut restored)?;
        restored.stop()?;
        ensure!(restored.verify_checksums()?, "it has no checksums any more");
        Ok(())
    });
}

#[test]
fn a_tablespace_linked_elsewhere_and_small_segments() {
    in_scratch("backup-links", |dir| {
        let (cluster, source) = stopped(dir, &ClusterOptions { wal_segment_mb: 1, ..options() })?;
        let plain = Backup::new(&source, &Options::default())?;
        let oid = std::fs::read_dir(cluster.data().join("pg_tblspc"))?
            .map(|entry| Ok(entry?))
            .find(|entry: &Result<std::fs::DirEntry>| entry.as_ref().is_ok_and(|entry| entry.path().is_symlink()))
            .context("no link")??
            .file_name();
        let oid: u32 = oid.to_str().context("an oid")?.parse()?;
        ensure!(matches!(plain.write_tablespace(oid, Vec::new()), Err(BackupError::NotLinked { .. })));

        let target = dir.join("clone/elsewhere");
        let links = BTreeMap::from([(oid, target.display().to_string())]);
        let backup = Backup::new(&source, &Options { links, ..Options::default() })?;
        let mut restored = restore(cluster.install(), &backup, &dir.join("clone"))?;
        ensure!(std::fs::read_link(restored.data().join(format!("pg_tblspc/{oid}")))? == target);
        start(&mut restored)?;
        check(&mut restored)
    });
}

/// `pg_resetwal` sets counters as high as years of work would; the backup carries them on.
#[test]
fn high_counters_and_commit_timestamps() {
    in_scratch("backup-counters", |dir| {
        let options = options().with("track_commit_timestamp", "on");
        let mut cluster = Cluster::init(&dir.join("origin"), &options)?;
        // Each is the first of an SLRU segment, which the server makes when it needs it.
        let mut reset = cluster.install().command("pg_resetwal");
        reset.args(["-e", "5", "-x", "1048576000", "-m", "1048576000,1", "-O", "1047040000", "-o", "3000000000"]);
        run(reset.args(["-l", "0000000100000AAA000000F0", "-D"]).arg(cluster.data()))?;
        cluster.start()?;
        populate(&cluster, &cluster.tablespace_location("ts")?)?;
        let stamp = "SELECT pg_xact_commit_timestamp(xmin) FROM t WHERE id = 5";
        let expected = cluster.psql("postgres", stamp)?.trim_end().to_owned();
        cluster.stop()?;

        let source = FileSource::open(cluster.data())?;
        let counters = &source.cluster().map_err(anyhow::Error::from_boxed)?.counters;
        ensure!(counters.next_xid > 5 << 32 | 1_048_576_000, "{counters:?}");
        ensure!(counters.next_multi > 1_048_576_000 && counters.next_multi_offset > 1_047_040_000, "{counters:?}");
        let backup = Backup::new(&source, &Options::default())?;
        let mut restored = restore(cluster.install(), &backup, &dir.join("clone"))?;
        let controldata = controldata(&restored)?;
        let next = format!("5:{}", counters.next_xid as u32);
        ensure!(value(&controldata, "Latest checkpoint's NextXID")? == next, "{controldata}");
        let multi = value(&controldata, "Latest checkpoint's NextMultiXactId")?;
        ensure!(multi == counters.next_multi.to_string(), "{controldata}");
        ensure!(value(&controldata, "Latest checkpoint's NextMultiOffset")? == counters.next_multi_offset.to_string());
        ensure!(value(&controldata, "Latest checkpoint's NextOID")? == counters.next_oid.to_string());

        start(&mut restored)?;
        restored.expect("postgres", stamp, &expected)?;
        check(&mut restored)
    });
}
