//! Backups of moments in the history of a server that never stopped: out of a repository, at LSNs in the middle of its work.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, ensure};
use basebackup::{Backup, BackupError, DataSource, Options};
use integration_tests::{Cluster, ClusterOptions, current_lsn, in_scratch};
use pgdata::Lsn;
use pgdata::wal::SegmentSize;
use repository::Timeline;

use crate::support::{TimelineAt, WithoutWal, check, follow, populate, start, waldump};

/// Starts a server from a backup at `lsn`.
fn restore(cluster: &Cluster, timeline: &Arc<Timeline>, lsn: Lsn, with_wal: bool, dir: &Path) -> Result<Cluster> {
    let source = TimelineAt { timeline: Arc::clone(timeline), lsn };
    let source: Box<dyn DataSource> = if with_wal { Box::new(source) } else { Box::new(WithoutWal(source)) };
    let backup = Backup::new(&*source, &Options::default())?;
    let mut restored = crate::support::restore(cluster.install(), &backup, dir)?;
    // In pages with headers alone, `pg_waldump` finds no first record from which to go on.
    if with_wal || SegmentSize::DEFAULT.offset_of(lsn) == 0 {
        let lines = waldump(&restored, &backup, SegmentSize::DEFAULT)?;
        ensure!(lines[lines.len() - 1].contains("CHECKPOINT_SHUTDOWN"), "{lines:?}");
    }
    restored.verify_checksums()?;
    start(&mut restored)?;
    Ok(restored)
}

/// In the middle of a transaction, before and after it, after a switch of segments, and at the very start of one.
#[test]
fn a_server_starts_from_every_moment() {
    in_scratch("backup-moments", |dir| {
        let options = ClusterOptions::default().with_checksums().with("track_commit_timestamp", "on");
        let cluster = Cluster::start_new(&dir.join("origin"), &options)?;
        let location = cluster.tablespace_location("ts")?;
        let mut moments = Vec::new();
        let timeline = follow(&cluster, &dir.join("history"), || {
            populate(&cluster, &location)?;
            let mut client = cluster.connect("postgres")?;
            let mut other = cluster.connect("postgres")?;
            moments.push(current_lsn(&mut client)?);
            let mut transaction = client.transaction()?;
            transaction
                .batch_execute("UPDATE t SET v = 'lost' WHERE id < 5000; CREATE TABLE lost AS SELECT * FROM t")?;
            moments.push(current_lsn(&mut other)?);
            transaction.rollback()?;
            // A switch moves its end to the start of the next segment: it is the last record before the moment.
            client.batch_execute("SELECT pg_switch_wal()")?;
            let switched = cluster.current_lsn()?;
            let segment = u64::from(SegmentSize::DEFAULT.bytes());
            moments.push(Lsn(switched.0 / segment * segment));
            client.batch_execute(
                "CHECKPOINT; INSERT INTO t SELECT i FROM generate_series(-1000, -500) i; DELETE FROM t WHERE id < -10",
            )?;
            moments.push(current_lsn(&mut client)?);
            cluster.current_lsn()
        })?;
        for (number, &lsn) in moments.iter().enumerate() {
            let at_start = SegmentSize::DEFAULT.offset_of(lsn) == 0;
            let with_wal = number > 0 && !at_start;
            let mut restored = restore(&cluster, &timeline, lsn, with_wal, &dir.join(format!("clone{number}")))?;
            restored.expect("postgres", "SELECT count(*) FROM t WHERE v = 'lost'", "0")?;
            restored.expect("postgres", "SELECT to_regclass('lost') IS NULL", "t")?;
            check(&mut restored)?;
            restored.stop()?;
            ensure!(restored.verify_checksums()?, "it has no checksums any more");
        }
        torn_record(&timeline, moments[3])
    });
}

/// Eight bytes before the end of a record there is no place for a checkpoint.
fn torn_record(timeline: &Arc<Timeline>, lsn: Lsn) -> Result<()> {
    let source = TimelineAt { timeline: Arc::clone(timeline), lsn: Lsn(lsn.0 - 8) };
    let error = Backup::new(&source, &Options::default())?.write(std::io::sink());
    ensure!(matches!(error, Err(BackupError::NoRecordEnd { .. })), "the middle of a record was taken for an end");
    Ok(())
}
