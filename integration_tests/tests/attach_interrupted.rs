//! The pageserver is killed in the middle of an attach's copy: the slot that it made on the primary does not stay there for ever.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use integration_tests::{ClusterOptions, Lab, TIMELINE, in_scratch, until};

#[test]
fn the_slot_of_a_killed_attach_is_dropped_when_the_primary_can_be_reached() {
    in_scratch("attach-interrupted", |dir| {
        let lab = &mut Lab::start(dir, &ClusterOptions::default())?;
        // Enough to copy that the copy can be seen and stopped.
        lab.primary.psql("postgres", "CREATE TABLE t AS SELECT repeat('x', 1000) FROM generate_series(1, 150000)")?;
        let remains = killed_in_the_copy(lab)?;
        ensure!(slots(lab)? == 1, "there is no slot that could be left behind");

        // As long as nobody can be told to drop the slot, what is known of it stays.
        lab.relay.cut();
        lab.relay.refuse(true);
        lab.pageserver.start()?;
        ensure!(lab.pageserver.timelines()?.is_empty(), "an unfinished attach is a timeline");
        let log = lab.pageserver.log_text()?;
        ensure!(log.contains("may still be on its primary"), "nothing is said of the slot:\n{log}");
        ensure!(remains.join("primary.json").exists() && !remains.join("versions").exists());
        ensure!(slots(lab)? == 1);

        lab.pageserver.kill9()?;
        lab.relay.refuse(false);
        lab.pageserver.start()?;
        ensure!(slots(lab)? == 0, "the slot is still there");
        ensure!(!remains.exists(), "{} is still there", remains.display());
        lab.attach()?;
        ensure!(slots(lab)? == 1);
        Ok(())
    });
}

/// Kills the server when a part of the copy is there, and nothing more can come. The attach's directory.
fn killed_in_the_copy(lab: &mut Lab) -> Result<std::path::PathBuf> {
    let mut attach = lab.pageserver.cli_command(&["attach", TIMELINE, "--primary", &lab.relay.conninfo()])?;
    let mut attach = attach.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let dir = until("some of the copy is there", || {
        let Ok(dir) = lab.pageserver.timeline_dir(TIMELINE) else { return Ok(None) };
        Ok((bytes_in(&dir.join("versions/layers")) > 1 << 20).then_some(dir))
    })?;
    lab.relay.hold(true);
    ensure!(!dir.join("versions/timeline.json").exists(), "the copy was too fast to be interrupted");
    lab.pageserver.kill9()?;
    lab.relay.hold(false);
    ensure!(!attach.wait().context("the attach")?.success(), "an attach to a killed server succeeds");
    Ok(dir)
}

fn bytes_in(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten();
    entries.filter_map(|entry| Some(entry.ok()?.metadata().ok()?.len())).sum()
}

fn slots(lab: &Lab) -> Result<usize> {
    Ok(lab.primary.psql("postgres", "SELECT count(*) FROM pg_replication_slots")?.trim().parse()?)
}
