//! Base backups that become timelines, and those that do not.

use std::error::Error;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use pgdata::{Fork, Lsn, PAGE_SIZE, PageKey, PgVersion, RelTag};
use repository::{AttachTimelineError, Engines, Options, ReadError, Repository, RepositoryError, StateError};
use walredo::Redo;

use crate::fixture::{Home, START, Wal, attach, begin, check, commits};

#[test]
fn what_was_attached_and_ingested_is_read_at_every_lsn() {
    let home = Home::new();
    let repository = home.open();
    let timeline = attach(&repository, "main");
    let mut wal = Wal::new();
    wal.fill(3 << 20);
    wal.send(&timeline, wal.end());
    assert_eq!(timeline.last_record_lsn(), wal.end());
    check(&timeline, &wal, wal.end());
    let table = RelTag { spc: 1663, db: 5, rel: 16384, fork: Fork::Main };
    let mut page = [0; PAGE_SIZE];
    timeline.get_page(PageKey::relation(table, 1), wal.end(), &mut page).expect("a page of the backup");
    assert_eq!(page, [3; PAGE_SIZE]);
}

#[test]
fn nothing_is_read_before_the_end_of_the_backup() {
    let home = Home::new();
    let repository = home.open();
    let mut wal = Wal::new();
    let (before, consistent) = (wal.commit(), wal.commit());
    let timeline = begin(&repository, "main").finish(consistent).expect("attached");
    wal.send(&timeline, before);
    let early = commits(&timeline, before).expect_err("not consistent");
    assert!(matches!(early, ReadError::Lookup(repository::LookupError::Lsn(StateError::BeforeConsistent { .. }))));
    wal.send(&timeline, consistent);
    assert_eq!(commits(&timeline, consistent).expect("consistent"), 2);
    assert!(commits(&timeline, before).is_err());
}

#[test]
fn a_dropped_attach_leaves_nothing() {
    let home = Home::new();
    let repository = home.open();
    drop(begin(&repository, "main"));
    assert_eq!(timeline_dirs(home.path()), 0);
    attach(&repository, "main");
}

#[test]
fn a_killed_attach_is_no_timeline_at_the_next_start() {
    let home = Home::new();
    // A process that is killed runs no destructors.
    std::mem::forget(begin(&home.open(), "main"));
    let repository = home.open();
    assert!(matches!(repository.timeline("default", "main"), Err(RepositoryError::NoTimeline(_))));
    let [left] = repository.unfinished() else { panic!("one directory is left") };
    repository.remove_unfinished(left).expect("removed");
    assert_eq!(timeline_dirs(home.path()), 0);
    attach(&repository, "main");
}

/// As for a version whose server programs are not installed.
struct NoEngines;

impl Engines for NoEngines {
    fn engine(&self, _: PgVersion, _: &[u8]) -> Result<Arc<dyn Redo>, Box<dyn Error + Send + Sync>> {
        Err("no programs".into())
    }
}

#[test]
fn a_backup_without_an_engine_is_refused_and_leaves_nothing() {
    let home = Home::new();
    let repository = Repository::open(home.path(), Box::new(NoEngines), Options::default()).expect("opened");
    for _ in 0..2 {
        let refused = begin(&repository, "main").finish(START).expect_err("no engine");
        assert!(matches!(refused, AttachTimelineError::Open(_)), "{refused}");
        assert_eq!(timeline_dirs(home.path()), 0);
    }
}

#[test]
fn a_name_is_taken_once() {
    let home = Home::new();
    let repository = home.open();
    let reserved = repository.reserve("main").expect("free");
    assert!(matches!(repository.reserve("main"), Err(RepositoryError::Exists(_))));
    drop(reserved);
    attach(&repository, "main");
    assert!(matches!(repository.reserve("main"), Err(RepositoryError::Exists(_))));
}

#[test]
fn only_the_owner_may_read_what_is_kept() {
    let home = Home::new();
    let timeline = attach(&home.open(), "main");
    let wal = {
        let mut wal = Wal::new();
        wal.commit();
        wal
    };
    wal.send(&timeline, wal.end());
    each_entry(home.path(), &mut |path| {
        let mode = fs::symlink_metadata(path).expect("an entry").permissions().mode();
        assert_eq!(mode & 0o077, 0, "{} has mode {mode:o}", path.display());
    });
}

fn each_entry(dir: &Path, visit: &mut dyn FnMut(&Path)) {
    for entry in fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        visit(&path);
        if path.is_dir() {
            each_entry(&path, visit);
        }
    }
}

fn timeline_dirs(home: &Path) -> usize {
    let tenants = fs::read_dir(home.join("tenants")).expect("tenants");
    tenants
        .map(|tenant| fs::read_dir(tenant.expect("a tenant").path().join("timelines")).expect("timelines").count())
        .sum()
}

#[test]
fn the_first_bytes_are_asked_for_from_the_start_of_their_segment() {
    let home = Home::new();
    let timeline = attach(&home.open(), "main");
    assert_eq!(timeline.ingest().resume_lsn(), Lsn(START.0 - 40));
    assert_eq!(timeline.last_record_lsn(), START);
}
