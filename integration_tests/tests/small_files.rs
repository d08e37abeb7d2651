//! What a data directory has beside pages: relation maps, `PG_VERSION` files, two-phase state, and the control file. At each noted
//! LSN the repository (as a library) must have what a standby stopped there has on disk.

mod fed;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use fed::StockEngine;
use integration_tests::workload::{self, Workload};
use integration_tests::{Cluster, Standby, in_scratch};
use pgdata::{CheckPoint, ControlFile, Lsn, tablespace_directory};
use repository::Timeline;

#[test]
fn maps_versions_two_phase_and_control_state_are_a_standbys() {
    in_scratch("small_files", run);
}

fn run(dir: &Path) -> Result<()> {
    let mut primary = Cluster::start_new(&dir.join("primary"), &workload::options())?;
    let mut work = Workload::set_up(&primary)?;
    fed::take_backup(&primary, &dir.join("backup"))?;
    let consistent = primary.current_lsn()?;
    work.round()?;
    let noted = work.noted().to_vec();
    let mut standby = Standby::unpack(&dir.join("backup"), &dir.join("standby"), &primary)?;
    primary.stop()?;
    let control = ControlFile::parse(&fs::read(primary.data().join("global/pg_control"))?)?;

    let engine = StockEngine::of(&primary)?;
    let timeline = fed::attach(&dir.join("repository"), engine, &dir.join("backup"), consistent)?;
    fed::ingest(&timeline, &primary.data().join("pg_wal"), control.check_point)?;
    let mut prepared = 0;
    for lsn in noted {
        standby.advance(lsn)?;
        prepared += compare(&timeline, &standby.data(), lsn)?;
    }
    ensure!(prepared > 0, "no transaction was prepared at any of the LSNs");
    shutdown_counters(&timeline, &control)
}

/// Compares all small files and the settings at an LSN. Answers how many two-phase files there were.
fn compare(timeline: &Timeline, standby: &Path, lsn: Lsn) -> Result<usize> {
    let theirs = small_files(timeline, standby)?;
    let mut ours = BTreeMap::new();
    for name in timeline.blobs(lsn)?.into_iter().filter(|name| is_compared(name)) {
        let content = timeline.blob(&name, lsn)?.with_context(|| format!("{name} is listed and not there"))?;
        ours.insert(name, content);
    }
    let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    ensure!(
        names(&ours) == names(&theirs),
        "at {lsn}: ours are {:?}, the standby's {:?}",
        names(&ours),
        names(&theirs)
    );
    for (name, content) in &theirs {
        ensure!(ours[name] == *content, "{name} at {lsn} differs from the standby's");
    }
    settings(timeline, standby, lsn)?;
    let prepared = theirs.keys().filter(|name| name.starts_with("pg_twophase/")).count();
    println!("{lsn}: {} small files are equal, {prepared} of them two-phase state", theirs.len());
    Ok(prepared)
}

fn is_compared(name: &str) -> bool {
    name.starts_with("pg_twophase/") || name.ends_with("/pg_filenode.map") || name.ends_with("/PG_VERSION")
}

/// The standby's files of these kinds, by their paths.
fn small_files(timeline: &Timeline, data: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut places = vec!["global".to_owned(), "pg_twophase".to_owned()];
    let mut tablespaces = vec!["base".to_owned()];
    for link in fs::read_dir(data.join("pg_tblspc"))? {
        let oid = link?.file_name().into_string().ok().context("a strange name")?;
        tablespaces.push(format!("pg_tblspc/{oid}/{}", tablespace_directory(timeline.info().version)));
    }
    for place in tablespaces.into_iter().filter(|place| data.join(place).exists()) {
        for database in fs::read_dir(data.join(&place))? {
            places.push(format!("{place}/{}", database?.file_name().to_string_lossy()));
        }
    }
    let mut files = BTreeMap::new();
    for place in places.into_iter().filter(|place| data.join(place).is_dir()) {
        for file in fs::read_dir(data.join(&place))? {
            let name = format!("{place}/{}", file?.file_name().to_string_lossy());
            if is_compared(&name) {
                files.insert(name.clone(), fs::read(data.join(&name))?);
            }
        }
    }
    Ok(files)
}

/// Identity and settings are those of the standby's control file.
fn settings(timeline: &Timeline, standby: &Path, lsn: Lsn) -> Result<()> {
    let theirs = ControlFile::parse(&fs::read(standby.join("global/pg_control"))?)?;
    let ours = timeline.cluster(lsn)?;
    ensure!(ours.control.system_identifier == theirs.system_identifier, "another cluster");
    let of = |control: &ControlFile| {
        (
            [control.wal_level, control.max_connections, control.max_worker_processes, control.max_wal_senders],
            [control.max_prepared_xacts, control.max_locks_per_xact],
            [control.wal_log_hints, control.track_commit_timestamp, control.data_checksums()],
        )
    };
    ensure!(
        of(&ours.control) == of(&theirs),
        "settings at {lsn}: ours {:?}, theirs {:?}",
        of(&ours.control),
        of(&theirs)
    );
    // The standby's counters are those of the checkpoint before the LSN.
    ensure!(ours.counters.next_xid >= theirs.check_point_copy.next_xid, "next_xid at {lsn} is behind the checkpoint's");
    ensure!(ours.counters.redo == theirs.check_point_copy.redo, "the last checkpoint at {lsn} is another one");
    Ok(())
}

/// Before the shutdown checkpoint, the counters are what that checkpoint then says.
fn shutdown_counters(timeline: &Timeline, control: &ControlFile) -> Result<()> {
    let end = timeline.last_record_lsn();
    // Only a page header may lie between the last record and the checkpoint's.
    ensure!(
        control.check_point.bytes_since(end) <= 40,
        "the last record ends at {end}, not at the shutdown checkpoint"
    );
    let (ours, theirs) = (timeline.cluster(end)?.counters, &control.check_point_copy);
    let of = |c: &CheckPoint| {
        (
            c.next_xid,
            c.next_multi,
            c.next_multi_offset,
            c.oldest_xid,
            c.oldest_xid_db,
            c.oldest_multi,
            c.oldest_multi_db,
        )
    };
    ensure!(of(&ours) == of(theirs), "counters at {end}: ours {:?}, the checkpoint's {:?}", of(&ours), of(theirs));
    // Oids are logged ahead, in steps.
    ensure!(ours.next_oid >= theirs.next_oid, "next_oid is {}, the checkpoint's {}", ours.next_oid, theirs.next_oid);
    Ok(())
}
