//! What befalls a primary, and the way to it: restarts, crashes, a slot that is dropped, another cluster at its address, a network that breaks in
//! the middle of a record. Nothing is lost, nothing is wrong, and the status says what goes on.

use std::fs;

use anyhow::{Result, ensure};
use integration_tests::{Cluster, ClusterOptions, Lab, OneTable, TIMELINE, in_scratch, until};
use pgdata::Lsn;

/// Compares the pageserver's WAL files with the primary's, up to an LSN that both have.
fn same_wal(lab: &Lab, from: Lsn, to: Lsn) -> Result<()> {
    let segment = 16 << 20;
    let ours = lab.pageserver.wal_files()?;
    for segno in from.0 / segment..=(to.0 - 1) / segment {
        let name = format!("{:08X}{:08X}{:08X}", 1, segno / 256, segno % 256);
        let length = (to.0 - segno * segment).min(segment) as usize;
        let ours = fs::read(ours.join(&name))?;
        let theirs = fs::read(lab.primary.data().join("pg_wal").join(&name))?;
        ensure!(ours.len() >= length && ours[..length] == theirs[..length], "{name} differs before {to}");
    }
    Ok(())
}

#[test]
fn restarts_and_crashes_of_the_primary_are_waited_for() {
    in_scratch("primary-ends", |dir| {
        let mut lab = Lab::start(dir, &ClusterOptions::default())?;
        let table = OneTable::make(&lab.primary)?;
        lab.attach()?;
        let first = table.update(&lab.primary)?;
        let old = table.page(&lab, first)?;
        for crash in [false, true, false, true] {
            // A transaction that is not flushed: its WAL is lost with the server, or part of it.
            let mut session = lab.primary.connect("postgres")?;
            session.batch_execute("BEGIN; CREATE TABLE u AS SELECT * FROM generate_series(1, 5000)")?;
            if crash {
                lab.primary.kill9()?
            } else {
                lab.primary.stop()?
            }
            lab.await_status("retrying", &["attempt"])?;
            ensure!(table.page(&lab, first)? == old, "pages change while the primary is away");
            lab.primary.start()?;
            let lsn = table.update(&lab.primary)?;
            ensure!(table.page(&lab, lsn)? == table.on_disk(&lab.primary)?, "the page is not the primary's");
            lab.await_status("streaming", &[])?;
        }
        let end = table.update(&lab.primary)?;
        table.page(&lab, end)?;
        same_wal(&lab, first, end)
    });
}

#[test]
fn a_dropped_slot_is_an_error_that_the_command_follow_cures() {
    in_scratch("slot", |dir| {
        let mut lab = Lab::start(dir, &ClusterOptions::default())?;
        let table = OneTable::make(&lab.primary)?;
        lab.attach()?;
        let before = table.update(&lab.primary)?;
        let old = table.page(&lab, before)?;
        lab.relay.refuse(true);
        lab.relay.cut();
        let drop = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots";
        until("the slot is free", || {
            let active = lab.primary.psql("postgres", "SELECT active FROM pg_replication_slots")?;
            Ok((active.trim() == "f").then_some(()))
        })?;
        lab.primary.psql("postgres", drop)?;
        lab.relay.refuse(false);
        let words = ["replication slot", "does not exist", "pageserver follow main makes it anew"];
        lab.await_status("failed", &words)?;
        ensure!(table.page(&lab, before)? == old, "pages change when the slot is gone");
        lab.pageserver.cli(&["follow", TIMELINE])?;
        lab.await_status("streaming", &[])?;
        let lsn = table.update(&lab.primary)?;
        ensure!(table.page(&lab, lsn)? == table.on_disk(&lab.primary)?, "the page is not the primary's");

        // Once the WAL is gone, the command says so, and leaves no slot behind.
        lab.pageserver.sigterm()?;
        lab.primary.psql("postgres", drop)?;
        lab.primary.psql("postgres", "ALTER SYSTEM SET wal_keep_size = 0; ALTER SYSTEM SET max_wal_size = '64MB'")?;
        lab.primary.psql("postgres", "SELECT pg_reload_conf()")?;
        for _ in 0..3 {
            lab.primary.psql("postgres", "UPDATE t SET n = n + 1; SELECT pg_switch_wal(); CHECKPOINT")?;
        }
        lab.pageserver.start()?;
        lab.await_status("failed", &words)?;
        let output = lab.pageserver.try_cli(&["follow", TIMELINE])?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(!output.status.success() && said.contains("already removed the WAL"), "follow says {said}");
        lab.await_status("failed", &words)?;
        let slots = lab.primary.psql("postgres", "SELECT count(*) FROM pg_replication_slots")?;
        ensure!(slots.trim() == "0", "{slots} slots are left behind");
        ensure!(table.page(&lab, lsn)? != old && table.page(&lab, before)? == old, "what was received cannot be read");
        Ok(())
    });
}

#[test]
fn another_cluster_at_the_same_address_is_refused_and_stays_so() {
    in_scratch("reinitialised", |dir| {
        let mut lab = Lab::start(dir, &ClusterOptions::default())?;
        let table = OneTable::make(&lab.primary)?;
        lab.attach()?;
        let before = table.update(&lab.primary)?;
        let old = table.page(&lab, before)?;
        let other = Cluster::start_new(&dir.join("other"), &ClusterOptions::default())?;
        lab.primary.stop()?;
        lab.relay.point_at(other.port());
        let words = ["another cluster", "system identifier", "pageserver follow main --primary"];
        lab.await_status("failed", &words)?;
        lab.pageserver.kill9()?;
        lab.pageserver.start()?;
        lab.await_status("failed", &words)?;
        ensure!(table.page(&lab, before)? == old, "what was received cannot be read");
        let output = lab.pageserver.try_cli(&["follow", TIMELINE])?;
        ensure!(!output.status.success(), "another cluster is followed");
        let slots = other.psql("postgres", "SELECT count(*) FROM pg_replication_slots")?;
        ensure!(slots.trim() == "0", "the other cluster has got {slots} slots");
        // The right one is back.
        lab.primary.start()?;
        lab.relay.point_at(lab.primary.port());
        lab.pageserver.cli(&["follow", TIMELINE])?;
        let lsn = table.update(&lab.primary)?;
        ensure!(table.page(&lab, lsn)? == table.on_disk(&lab.primary)?, "the page is not the primary's");
        Ok(())
    });
}

/// The connection breaks after some bytes of a message of WAL, at many places.
#[test]
fn a_network_that_breaks_in_the_middle_of_a_record_loses_nothing() {
    in_scratch("cut", |dir| {
        let mut lab = Lab::start(dir, &ClusterOptions::default())?;
        let table = OneTable::make(&lab.primary)?;
        lab.attach()?;
        let first = table.update(&lab.primary)?;
        table.page(&lab, first)?;
        let mut pages = Vec::new();
        for cut in 0..12 {
            lab.relay.cut_after(3000 + 7919 * cut);
            let big = format!("SELECT pg_logical_emit_message(true, 'big', repeat('x', {}))", 40_000 + 9001 * cut);
            lab.primary.psql("postgres", &big)?;
            let lsn = table.update(&lab.primary)?;
            pages.push((lsn, table.page(&lab, lsn)?));
            ensure!(pages[cut].1 == table.on_disk(&lab.primary)?, "the page is not the primary's after cut {cut}");
        }
        ensure!(lab.relay.cuts() == 12, "the network broke {} times", lab.relay.cuts());
        same_wal(&lab, first, pages[11].0)?;
        lab.pageserver.kill9()?;
        lab.pageserver.start()?;
        for (lsn, was) in pages {
            ensure!(table.page(&lab, lsn)? == was, "a restart changed the page at {lsn}");
        }
        Ok(())
    });
}
