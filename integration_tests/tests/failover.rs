//! The primary is lost and a standby takes its place: the pageserver goes on with the new timeline, or says why it must not.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use integration_tests::{Cluster, ClusterOptions, Lab, OneTable, RunAs, TIMELINE, in_scratch};
use pgdata::Lsn;

/// A standby streams from the primary, too, and is promoted behind the address that the pageserver follows.
#[test]
fn a_standby_promoted_behind_the_same_address_is_followed() {
    in_scratch("promoted", |dir| {
        let options = ClusterOptions::default();
        let mut lab = Lab::start(dir, &options)?;
        let second = Cluster::standby_of(&lab.primary, &dir.join("second"), &options)?;
        let table = OneTable::make(&lab.primary)?;
        lab.attach()?;
        let before = table.update(&lab.primary)?;
        let old = table.page(&lab, before)?;
        lab.primary.stop()?;
        second.promote_at(before)?;
        lab.relay.point_at(second.port());
        let after = table.update(&second)?;
        let new = table.page(&lab, after)?;
        ensure!(new == table.on_disk(&second)?, "the page is not the new primary's");

        lab.pageserver.kill9()?;
        lab.pageserver.start()?;
        ensure!(table.page(&lab, before)? == old && table.page(&lab, after)? == new, "a restart changed pages");
        ensure!(table.page(&lab, table.update(&second)?)? != new, "nothing comes after the restart");
        Ok(())
    });
}

fn follow(lab: &Lab, more: &[&str]) -> Result<String> {
    let words = [&["follow", TIMELINE], more].concat();
    Ok(String::from_utf8(lab.pageserver.cli(&words)?)?)
}

fn refused(lab: &Lab, more: &[&str], reasons: &[&str]) -> Result<()> {
    let words = [&["follow", TIMELINE], more].concat();
    let output = lab.pageserver.try_cli(&words)?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(!output.status.success(), "{words:?} succeeds: {}", String::from_utf8_lossy(&output.stdout));
    ensure!(reasons.iter().all(|reason| said.contains(reason)), "{words:?} says {said:?}, not {reasons:?}");
    Ok(())
}

/// The pageserver follows a standby, which is promoted while WAL streams from it.
#[test]
fn a_standby_that_is_followed_is_promoted() {
    in_scratch("cascade", |dir| {
        let options = ClusterOptions::default();
        let mut lab = Lab::start(dir, &options)?;
        let table = OneTable::make(&lab.primary)?;
        let second = Cluster::standby_of(&lab.primary, &dir.join("second"), &options)?;
        lab.relay.point_at(second.port());
        lab.pageserver.attach(TIMELINE, &lab.relay.conninfo())?;
        let before = table.update(&lab.primary)?;
        let old = table.page(&lab, before)?;
        lab.primary.kill9()?;
        second.promote_at(before)?;
        let after = table.update(&second)?;
        ensure!(table.page(&lab, after)? == table.on_disk(&second)?, "the page is not the promoted server's");
        ensure!(table.page(&lab, before)? == old, "the failover changed a page before it");
        lab.await_status("streaming", &["timeline 2"])?;
        ensure!(lab.pageserver.log_text()?.matches("there was a failover").count() == 1, "not one failover");
        Ok(())
    });
}

/// With several hosts in the connection string nobody has to do anything, whichever of them is the primary, and the slot is made there.
#[test]
fn several_hosts_make_a_failover_automatic() {
    in_scratch("hosts", |dir| {
        let options = ClusterOptions::default();
        let mut lab = Lab::start(dir, &options)?;
        let table = OneTable::make(&lab.primary)?;
        let second = Cluster::standby_of(&lab.primary, &dir.join("second"), &options)?;
        let ports = format!("{},{}", second.port(), lab.primary.port());
        let hosts = format!("host=127.0.0.1,127.0.0.1 port={ports} user=postgres target_session_attrs=read-write");
        lab.pageserver.attach(TIMELINE, &hosts)?;
        let before = table.update(&lab.primary)?;
        table.page(&lab, before)?;
        lab.primary.stop()?;
        second.promote_at(before)?;
        let after = table.update(&second)?;
        ensure!(table.page(&lab, after)? == table.on_disk(&second)?, "the page is not the new primary's");
        // The old one comes back as it was: it is on the old timeline, and nobody follows it.
        lab.primary.start()?;
        lab.pageserver.kill9()?;
        lab.pageserver.start()?;
        let later = table.update(&second)?;
        ensure!(
            table.page(&lab, later)? == table.on_disk(&second)?,
            "the page is not the new primary's after a restart"
        );
        let slots = second.psql("postgres", "SELECT count(*) FROM pg_replication_slots WHERE active")?;
        ensure!(slots.trim() == "1", "the new primary has {slots} active slots");
        Ok(())
    });
}

/// An operator says which server it is now. Others are refused, with reasons.
#[test]
fn the_command_follow_leads_to_another_server() {
    in_scratch("follow", |dir| {
        let options = ClusterOptions::default();
        let mut lab = Lab::start(dir, &options)?;
        let table = OneTable::make(&lab.primary)?;
        let second = Cluster::standby_of(&lab.primary, &dir.join("second"), &options)?;
        let third = Cluster::standby_of(&lab.primary, &dir.join("third"), &options)?;
        let stranger = Cluster::start_new(&dir.join("stranger"), &options)?;
        lab.attach()?;
        let before = table.update(&lab.primary)?;
        table.page(&lab, before)?;
        refused(&lab, &["--primary", &stranger.conninfo()], &["another cluster", "system identifier"])?;
        // As a standby of the same timeline it is as good as the primary.
        let said = follow(&lab, &["--primary", &second.conninfo(), "--slot", "elsewhere"])?;
        ensure!(said.contains(&second.port().to_string()) && said.contains("timeline 1"), "{said}");
        lab.primary.stop()?;
        lab.await_status("streaming", &[])?;
        second.promote_at(before)?;
        let after = table.update(&second)?;
        let new = table.page(&lab, after)?;
        ensure!(new == table.on_disk(&second)?, "the page is not the new primary's");

        // Another standby, promoted for itself at the same place, has the same timelines and another history.
        third.promote_at(before)?;
        third.psql("postgres", "CREATE TABLE more AS SELECT * FROM generate_series(1, 10000)")?;
        refused(&lab, &["--primary", &third.conninfo()], &["is not the WAL that was received", "another history"])?;
        let slots = third.psql("postgres", "SELECT count(*) FROM pg_replication_slots")?;
        ensure!(slots.trim() == "0", "a refusal leaves {slots} slots behind");
        lab.primary.start()?;
        refused(&lab, &["--primary", &lab.primary.conninfo()], &["timeline 1", "before timeline 2", "old copy"])?;
        // A refusal changes nothing.
        let later = table.update(&second)?;
        ensure!(table.page(&lab, later)? == table.on_disk(&second)?, "the page is not the new primary's");
        lab.pageserver.kill9()?;
        lab.pageserver.start()?;
        ensure!(
            table.page(&lab, table.update(&second)?)? != new && table.page(&lab, after)? == new,
            "a restart followed another"
        );
        Ok(())
    });
}

/// The standby that takes over never had what the pageserver has received: readers may have seen it, so it is not taken back.
#[test]
fn what_the_new_primary_never_had_is_kept_and_it_is_refused() {
    in_scratch("diverged", |dir| {
        let options = ClusterOptions::default();
        let mut lab = Lab::start(dir, &options)?;
        let table = OneTable::make(&lab.primary)?;
        let mut second = Cluster::standby_of(&lab.primary, &dir.join("second"), &options)?;
        lab.attach()?;
        let common = table.update(&lab.primary)?;
        second.replayed(common)?;
        second.stop()?;
        let lost = table.update(&lab.primary)?;
        let old = table.page(&lab, lost)?;
        lab.primary.kill9()?;
        second.append_config("primary_conninfo = ''")?;
        second.start()?;
        second.promote_at(common)?;
        lab.relay.point_at(second.port());
        let held = lab.pageserver.timeline(TIMELINE)?.last_record_lsn;
        let words = ["left the history", &held.to_string(), "timeline 2", "attach it anew under another name"];
        lab.await_status("failed", &words)?;
        for _ in 0..2 {
            ensure!(table.page(&lab, lost)? == old, "what readers have seen is gone");
            refused(&lab, &[], &words)?;
            lab.pageserver.kill9()?;
            lab.pageserver.start()?;
            lab.await_status("failed", &words)?;
        }
        // The new primary under a name of its own.
        lab.pageserver.attach("second", &second.conninfo())?;
        Ok(())
    });
}

/// A clone of a moment after the failover is on the new timeline, and has its history, so that a standby of its own can stream from it; one of a moment
/// before is on the old one.
#[test]
fn clones_are_on_the_timeline_of_their_moment() {
    in_scratch("clones", |dir| {
        let options = ClusterOptions::default();
        let mut lab = Lab::start(dir, &options)?;
        let second = Cluster::standby_of(&lab.primary, &dir.join("second"), &options)?;
        let table = OneTable::make(&lab.primary)?;
        lab.attach()?;
        let before = table.update(&lab.primary)?;
        lab.primary.stop()?;
        second.promote_at(before)?;
        lab.relay.point_at(second.port());
        let after = table.update(&second)?;
        for (name, lsn, timeline, n) in [("before", before, 1, "2"), ("after", after, 2, "3")] {
            let clone = start_clone(&lab, &dir.join(name), lsn, &[])?;
            ensure!(clone.timeline()? == timeline, "the clone of {name} is on another timeline");
            ensure!(clone.psql("postgres", "SELECT n FROM t")?.trim() == n, "the clone of {name} has another row");
            let standby = Cluster::standby_of(&clone, &dir.join(format!("of-{name}")), &options)?;
            standby.replayed(table.update(&clone)?)?;
        }
        Ok(())
    });
}

/// Starts what `basebackup` makes of a moment, in the new directory `home`.
fn start_clone(lab: &Lab, home: &Path, lsn: Lsn, more: &[&str]) -> Result<Cluster> {
    RunAs::server_user().make_dir(home)?;
    let (data, at) = (home.join("data"), lsn.to_string());
    let target = data.to_str().context("a strange path")?;
    lab.pageserver.cli(&[&["basebackup", TIMELINE, "-D", target, "--at", &at], more].concat())?;
    let mut clone = Cluster::adopt(lab.primary.install(), home)?;
    clone.start()?;
    Ok(clone)
}

/// A primary that was a standby once has a history from before the pageserver came, and so have the clones of it: their standbys ask for
/// the history file.
#[test]
fn clones_have_the_history_from_before_the_attach() {
    in_scratch("older", |dir| {
        let options = ClusterOptions::default();
        let mut lab = Lab::start(dir, &options)?;
        let table = OneTable::make(&lab.primary)?;
        let mut second = Cluster::standby_of(&lab.primary, &dir.join("second"), &options)?;
        let on_first = table.update(&lab.primary)?;
        lab.primary.stop()?;
        second.promote_at(on_first)?;
        lab.relay.point_at(second.port());
        lab.pageserver.attach(TIMELINE, &lab.relay.conninfo())?;
        let third = Cluster::standby_of(&second, &dir.join("third"), &options)?;
        let on_second = table.update(&second)?;
        second.stop()?;
        third.promote_at(on_second)?;
        lab.relay.point_at(third.port());
        let on_third = table.update(&third)?;
        for (name, lsn, timeline) in [("on-2", on_second, 2), ("on-3", on_third, 3)] {
            let clone = start_clone(&lab, &dir.join(name), lsn, &[])?;
            ensure!(clone.timeline()? == timeline, "the clone {name} is on another timeline");
            let standby = Cluster::standby_of(&clone, &dir.join(format!("of-{name}")), &options)?;
            standby.replayed(table.update(&clone)?)?;
        }
        Ok(())
    });
}

/// Right after a failover the last checkpoint is of the old timeline: a standby of such a moment replays from there over to the new one.
#[test]
fn a_standby_of_a_moment_before_the_first_checkpoint_of_a_new_timeline() {
    in_scratch("unchecked", |dir| {
        let options = ClusterOptions::default().with("checkpoint_timeout", "1h").with("bgwriter_lru_maxpages", "0");
        let mut lab = Lab::start(dir, &options)?;
        let table = OneTable::make(&lab.primary)?;
        let second = Cluster::standby_of(&lab.primary, &dir.join("second"), &options)?;
        lab.attach()?;
        // What the checkpoint after the promotion has to write, as slowly as its hour allows.
        lab.primary.psql("postgres", "CREATE TABLE dirty AS SELECT repeat('x', 1000) FROM generate_series(1, 5000)")?;
        let before = lab.primary.current_lsn()?;
        lab.primary.stop()?;
        second.promote_at(before)?;
        lab.relay.point_at(second.port());
        second.psql("postgres", "UPDATE t SET n = 7")?;
        let lsn = second.current_lsn()?;
        let checkpoint = second.psql("postgres", "SELECT timeline_id FROM pg_control_checkpoint()")?;
        ensure!(checkpoint.trim() == "1", "there has been a checkpoint already");
        table.page(&lab, lsn)?;

        let conninfo = second.conninfo();
        let more = ["--standby", "--primary-conninfo", &conninfo];
        let mut standby = start_clone(&lab, &dir.join("standby"), lsn, &more)?;
        standby.replayed(table.update(&second)?)?;
        standby.expect("postgres", "SELECT n FROM t", "8")?;
        standby.expect("postgres", "SELECT received_tli FROM pg_stat_wal_receiver", "2")?;
        standby.restart()?;
        standby.promote()?;
        ensure!(standby.timeline()? == 3, "it was promoted to another timeline");
        // And a cluster of its own.
        let clone = start_clone(&lab, &dir.join("clone"), lsn, &[])?;
        ensure!(clone.timeline()? == 2, "the clone is on another timeline");
        clone.expect("postgres", "SELECT n FROM t", "7")
    });
}
