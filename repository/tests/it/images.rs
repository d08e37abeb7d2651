//! Images of pages: made in the background, read like any other page, gone with the WAL that they were made of.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use pgdata::{Lsn, Page, PgVersion};
use repository::{Engines, Options, Repository};
use walredo::{Redo, RedoError, RedoRequest};

use crate::fixture::{Counters, FIRST, Home, SEGMENT, Wal, attach, check, segment_file};

/// As many as may be.
fn options() -> Options {
    Options { image_percent: 10_000, page_bytes: 0, ..Options::default() }
}

fn open(home: &Home) -> Arc<Repository> {
    Repository::open(home.path(), Box::new(Counters), options()).expect("opened")
}

/// Waits until the thread has kept so many images.
fn wait_for_images(timeline: &repository::Timeline, images: usize) {
    until(&format!("{images} images"), || timeline.status().images >= images);
}

fn until(what: &str, done: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < deadline, "after a minute there is no sign of {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn pages_with_many_records_get_images_and_are_what_they_were() {
    let (home, mut wal) = (Home::new(), Wal::new());
    let repository = open(&home);
    let timeline = attach(&repository, "main");
    let mut images = 0;
    for _ in 0..10 {
        for _ in 0..40 {
            wal.commit();
        }
        wal.send(&timeline, wal.end());
        images += 1;
        wait_for_images(&timeline, images);
        check(&timeline, &wal, wal.end());
    }
    let images = timeline.status().images;
    drop((timeline, repository));
    let timeline = open(&home).timeline("default", "main").expect("it is there");
    assert_eq!(timeline.status().images, images);
    check(&timeline, &wal, wal.end());
}

#[test]
fn images_wait_until_a_timeline_has_caught_up() {
    let (home, mut wal) = (Home::new(), Wal::new());
    let repository = open(&home);
    let timeline = attach(&repository, "main");
    // Much at once, in several flushes.
    wal.fill(12 << 20);
    let mut ingest = timeline.ingest();
    for at in (FIRST.0..wal.end().0).step_by(5 << 20).map(Lsn) {
        let end = Lsn((at.0 + (5 << 20)).min(wal.end().0));
        ingest.write(at, wal.slice(at, end)).expect("written");
        ingest.flush().expect("flushed");
    }
    drop(ingest);
    wait_for_images(&timeline, 1);
    check(&timeline, &wal, wal.end());
}

/// An engine that panics in the thread that makes images, as long as it is told to; how often it did.
#[derive(Clone, Default)]
struct Panicking(Arc<(AtomicBool, AtomicUsize)>);

impl Redo for Panicking {
    fn redo(&self, _: &RedoRequest<'_>, _: &mut Page) -> Result<(), RedoError> {
        let (panics, count) = &*self.0;
        if panics.load(Relaxed) && std::thread::current().name() == Some("images") {
            count.fetch_add(1, Relaxed);
            panic!("told to");
        }
        Ok(())
    }
}

impl Engines for Panicking {
    fn engine(&self, _: PgVersion, _: &[u8]) -> Result<Arc<dyn Redo>, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Arc::new(self.clone()))
    }
}

#[test]
fn a_page_that_redo_does_not_get_over_costs_no_other_image() {
    let (home, mut wal, engine) = (Home::new(), Wal::new(), Panicking::default());
    let (panics, count) = &*engine.0;
    panics.store(true, Relaxed);
    let repository = Repository::open(home.path(), Box::new(engine.clone()), options()).expect("opened");
    let timeline = attach(&repository, "main");
    wal.fill(SEGMENT / 4);
    wal.send(&timeline, wal.end());
    until("a panic", || count.load(Relaxed) > 0);
    panics.store(false, Relaxed);
    wal.fill(SEGMENT / 4);
    wal.send(&timeline, wal.end());
    wait_for_images(&timeline, 1);
}

#[test]
fn none_are_made_if_none_may_be_and_what_is_there_counts_later() {
    let (home, mut wal) = (Home::new(), Wal::new());
    let none = Options { image_percent: 0, ..options() };
    let repository = Repository::open(home.path(), Box::new(Counters), none).expect("opened");
    let timeline = attach(&repository, "main");
    wal.fill(100_000);
    wal.send(&timeline, wal.end());
    assert_eq!((timeline.make_images().expect("nothing to do"), timeline.status().images), (0, 0));
    drop((timeline, repository));
    // The thread may have been there first.
    let timeline = open(&home).timeline("default", "main").expect("it is there");
    timeline.make_images().expect("made");
    wait_for_images(&timeline, 1);
    check(&timeline, &wal, wal.end());
}

#[test]
fn images_go_with_the_wal_that_they_were_made_of() {
    let (home, mut wal) = (Home::new(), Wal::new());
    let repository = open(&home);
    let timeline = attach(&repository, "main");
    wal.fill(SEGMENT / 4);
    wal.send(&timeline, wal.end());
    wait_for_images(&timeline, 1);
    let keep = wal.end();
    wal.fill(SEGMENT / 4);
    wal.send(&timeline, wal.end());
    wait_for_images(&timeline, 2);
    let dir = timeline.dir().to_owned();
    drop((timeline, repository));
    // The end of the log is gone, and the sender goes on in another way.
    let file = segment_file(&dir, FIRST);
    let bytes = fs::read(&file).expect("a segment");
    fs::write(&file, &bytes[..(keep.0 - FIRST.0) as usize]).expect("written");
    let repository = open(&home);
    let timeline = repository.timeline("default", "main").expect("it is there");
    assert!(timeline.lost_wal().is_some());
    let mut other = Wal::new();
    other.fill(SEGMENT / 4);
    assert_eq!(other.end(), keep);
    // So much later comes each commit that an image of the WAL that is gone would count several too many.
    other.noop(50_000);
    other.fill(SEGMENT / 4);
    other.send(&timeline, other.end());
    check(&timeline, &other, other.end());
    drop((timeline, repository));
    let timeline = open(&home).timeline("default", "main").expect("it is there");
    assert!(timeline.status().images > 0);
    check(&timeline, &other, other.end());
}
