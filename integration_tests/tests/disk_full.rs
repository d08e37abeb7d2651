//! The pageserver's disk is full: nothing is acknowledged that is not on it, reads go on, and when there is room again so does the rest.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context, Result, ensure};
use integration_tests::{ClusterOptions, Lab, Mount, PageSource, TIMELINE, in_scratch, until};
use pgdata::{Lsn, RelTag};
use postgres::Client;

/// Writes WAL without waiting for the pageserver.
const WORK: &str =
    "SET synchronous_commit = local; INSERT INTO t SELECT i, repeat('x', 500) FROM generate_series(1, 20000) i";

#[test]
fn wal_is_taken_again_when_there_is_room() {
    in_scratch("disk-full", |dir| {
        let Some(disk) = Mount::memory(&dir.join("pageserver"), 96)? else { return Ok(()) };
        let mut lab = Lab::start(dir, &ClusterOptions::default())?;
        let path = lab.primary.psql("postgres", "CREATE TABLE t (i int, x text); SELECT pg_relation_filepath('t')")?;
        let table: RelTag = path.trim().replace("base", "1663").parse()?;
        lab.attach()?;
        lab.primary.psql("postgres", "INSERT INTO t VALUES (0, 'early')")?;
        let early = lab.primary.current_lsn()?;
        let pages = lab.pages()?.relation_pages(table, 0, 1, early)?;
        lab.primary
            .psql("postgres", "ALTER SYSTEM SET synchronous_standby_names = 'pageserver'; SELECT pg_reload_conf()")?;

        let (process, mut noted) = (lab.pageserver.id()?, Vec::new());
        for restart in [false, true] {
            let ballast = disk.fill(1 << 20)?;
            lab.primary.psql("postgres", WORK)?;
            await_full(&lab)?;
            if restart {
                lab.pageserver.kill9()?;
                lab.pageserver.start()?;
                await_full(&lab)?;
            }
            let commit = waiting_commit(&lab)?;
            let (told, seen) = (told(&mut lab.primary.connect("postgres")?)?, lab.pageserver.timeline(TIMELINE)?);
            ensure!(told <= seen.last_record_lsn, "the primary was told {told}, and there is {seen:?}");
            ensure!(lab.pages()?.relation_pages(table, 0, 1, early)? == pages, "the page of {early} has changed");

            ballast.drop_it()?;
            commit.join().expect("no panic")?;
            until("the pageserver streams again", || {
                Ok((lab.pageserver.timeline(TIMELINE)?.state == "streaming").then_some(()))
            })?;
            lab.primary.psql("postgres", "CHECKPOINT; INSERT INTO t VALUES (1, 'later')")?;
            noted.push(lab.primary.current_lsn()?);
            lab.primary.psql("postgres", "CHECKPOINT")?;
            ensure!(restart || lab.pageserver.id()? == process, "the pageserver is another process");
        }
        lab.compare(&noted, 0).map(drop)
    });
}

#[test]
fn an_attach_that_finds_no_room_leaves_nothing_behind() {
    in_scratch("disk-full-attach", |dir| {
        let Some(disk) = Mount::memory(&dir.join("pageserver"), 64)? else { return Ok(()) };
        let lab = Lab::start(dir, &ClusterOptions::default())?;
        for left in [0, 12 << 20] {
            let ballast = disk.fill(left)?;
            let failed = lab.pageserver.try_cli(&["attach", TIMELINE, "--primary", &lab.relay.conninfo()])?;
            let said = String::from_utf8_lossy(&failed.stderr).into_owned();
            ensure!(!failed.status.success() && said.contains("No space left on device"), "{said}");
            let slots = lab.primary.psql("postgres", "SELECT slot_name FROM pg_replication_slots")?;
            ensure!(slots.is_empty(), "there are slots left: {slots}");
            let remains = timeline_dirs(disk.path())?;
            ensure!(remains.is_empty(), "there is something left: {remains:?}");
            ensure!(lab.pageserver.timelines()?.is_empty());
            ballast.drop_it()?;
        }
        lab.pageserver.attach(TIMELINE, &lab.relay.conninfo())
    });
}

/// Waits until the server says that it has no room.
fn await_full(lab: &Lab) -> Result<()> {
    until("the pageserver says that its disk is full", || {
        let timeline = lab.pageserver.timeline(TIMELINE)?;
        Ok((timeline.state == "retrying" && timeline.detail.contains("No space left on device")).then_some(()))
    })
}

/// Up to where the primary thinks that it need not keep WAL any more: what it was told to be durable.
fn told(client: &mut Client) -> Result<Lsn> {
    let row = client.query_one("SELECT restart_lsn::text FROM pg_replication_slots", &[])?;
    Ok(row.get::<_, &str>(0).parse()?)
}

/// A commit that waits for the pageserver, in another thread.
fn waiting_commit(lab: &Lab) -> Result<thread::JoinHandle<Result<()>>> {
    let mut client = lab.primary.connect("postgres")?;
    let pid: i32 = client.query_one("SELECT pg_backend_pid()", &[])?.get(0);
    let commit = thread::spawn(move || Ok(client.batch_execute("INSERT INTO t VALUES (-1, 'waits')")?));
    let mut observer = lab.primary.connect("postgres").context("an observer")?;
    let waits = "SELECT FROM pg_stat_activity WHERE pid = $1 AND wait_event = 'SyncRep'";
    until("the commit waits", || Ok(observer.query_opt(waits, &[&pid])?.map(drop)))?;
    Ok(commit)
}

fn timeline_dirs(data: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for tenant in fs::read_dir(data.join("tenants"))? {
        for timeline in fs::read_dir(tenant?.path().join("timelines"))? {
            found.push(timeline?.path());
        }
    }
    Ok(found)
}
