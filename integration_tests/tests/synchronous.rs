//! The pageserver as a synchronous standby: commits wait for it, for as long as it takes and no longer.

use std::path::Path;
use std::thread;

use anyhow::{Context, Result, ensure};
use integration_tests::{Cluster, ClusterOptions, Lab, TIMELINE, in_scratch, until};
use pgdata::Lsn;
use postgres::Client;

/// Nothing that happens at intervals comes within a test: neither our reports, nor the primary's wish for one.
const NO_INTERVALS: &str =
    "[receiver]\napplication_name = 'elephant'\nstatus_interval_seconds = 86400\ntimeout_seconds = 86400\n";

/// A primary that waits for its pageserver.
fn start(dir: &Path) -> Result<Lab> {
    let mut lab = Lab::start(dir, &ClusterOptions::default().with("wal_sender_timeout", "0"))?;
    lab.pageserver.sigterm()?;
    lab.pageserver.configure(NO_INTERVALS)?;
    lab.pageserver.start()?;
    lab.attach()?;
    lab.primary.psql("postgres", "CREATE TABLE t (id int)")?;
    lab.primary.psql("postgres", "ALTER SYSTEM SET synchronous_standby_names = 'elephant'; SELECT pg_reload_conf()")?;
    let mut client = lab.primary.connect("postgres")?;
    let synchronous = "SELECT FROM pg_stat_replication WHERE application_name = 'elephant' AND sync_state = 'sync'";
    until("the primary waits for its standby", || Ok(client.query_opt(synchronous, &[])?.map(drop)))?;
    Ok(lab)
}

/// Commits, and tells where the transaction's first record ends: the commit's is behind it.
fn commit(client: &mut Client, id: i32) -> Result<Lsn> {
    let row = client.query_one(
        "WITH row AS (INSERT INTO t VALUES ($1)) SELECT pg_logical_emit_message(true, 'commit', '')::text",
        &[&id],
    )?;
    Ok(row.get::<_, &str>(0).parse()?)
}

/// A position that the primary was told: `flush_lsn` or `replay_lsn`.
fn told(client: &mut Client, column: &str) -> Result<Lsn> {
    let row = client.query_one(&format!("SELECT {column}::text FROM pg_stat_replication"), &[])?;
    Ok(row.get::<_, &str>(0).parse()?)
}

/// If a commit had to wait for anything but its own flush, the first would hang until its statement's timeout.
#[test]
fn commits_wait_for_the_flush_and_for_no_interval() {
    in_scratch("synchronous", |dir| {
        let lab = start(dir)?;
        let mut client = lab.primary.connect("postgres")?;
        let mut observer = lab.primary.connect("postgres")?;
        for (level, column) in [("on", "flush_lsn"), ("remote_apply", "replay_lsn")] {
            client.batch_execute(&format!("SET synchronous_commit = {level}"))?;
            for id in 0..100 {
                let lsn = commit(&mut client, id)?;
                let told = told(&mut observer, column)?;
                ensure!(told >= lsn, "{level}: commit {id} behind {lsn} returned when {column} was {told}");
                if level == "remote_apply" {
                    let seen = lab.pageserver.timeline(TIMELINE)?.last_record_lsn;
                    ensure!(seen >= lsn, "commit {id} behind {lsn} returned when readers saw {seen}");
                }
            }
        }
        Ok(())
    });
}

#[test]
fn commits_wait_while_the_pageserver_hears_nothing_or_is_away() {
    in_scratch("synchronous-wait", |dir| {
        let mut lab = start(dir)?;
        lab.relay.hold(true);
        let held = waiting_commit(&lab.primary, 1)?;
        lab.relay.hold(false);
        held.join().expect("no panic")?;

        lab.pageserver.kill9()?;
        let away = waiting_commit(&lab.primary, 2)?;
        lab.pageserver.start()?;
        let lsn = away.join().expect("no panic")?;
        let seen = lab.pageserver.timeline(TIMELINE)?.last_record_lsn;
        ensure!(seen >= lsn, "the commit behind {lsn} returned when the pageserver had come to {seen}");
        Ok(())
    });
}

/// Begins a commit in another thread, and returns once the primary says that it waits for its standby.
fn waiting_commit(primary: &Cluster, id: i32) -> Result<thread::JoinHandle<Result<Lsn>>> {
    let mut client = primary.connect("postgres")?;
    let pid: i32 = client.query_one("SELECT pg_backend_pid()", &[])?.get(0);
    let commit = thread::spawn(move || commit(&mut client, id));
    let mut observer = primary.connect("postgres").context("an observer")?;
    let waits = "SELECT FROM pg_stat_activity WHERE pid = $1 AND wait_event = 'SyncRep'";
    until("the commit waits", || Ok(observer.query_opt(waits, &[&pid])?.map(drop)))?;
    Ok(commit)
}
