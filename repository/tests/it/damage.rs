//! Damaged files, and records that cannot be taken: seen, contained, and nothing destroyed.

use std::fs::{self, File};
use std::path::Path;

use pgdata::Lsn;
use repository::{IngestError, RepositoryError};

use crate::fixture::{FIRST, Home, SEGMENT, Wal, attach, check, commits, damage, segment_file};

#[test]
fn a_damaged_byte_in_a_complete_segment_ends_what_can_be_read() {
    let home = Home::new();
    let mut wal = Wal::new();
    wal.fill(3 * SEGMENT);
    let timeline = attach(&home.open(), "main");
    wal.send(&timeline, wal.end());
    let at = Lsn(FIRST.0 + SEGMENT + 5000);
    damage(timeline.dir(), at);
    let before = fs::read(segment_file(timeline.dir(), at)).expect("a segment");

    let timeline = home.open().timeline("default", "main").expect("opened");
    let fault = timeline.fault().expect("a fault").to_string();
    assert!(fault.contains("000000010000000000000004"), "{fault}");
    let last = timeline.last_record_lsn();
    assert!(last > FIRST && last <= at, "{last}");
    assert!(fault.contains(&format!("behind {last},")), "{fault}");
    check(&timeline, &wal, last);
    assert!(commits(&timeline, wal.end()).is_err());

    let refused = timeline.ingest().write(last, wal.slice(last, wal.end())).expect_err("a fault");
    assert!(matches!(refused, IngestError::Stopped(_)), "{refused}");
    assert!(timeline.ingest().flush().is_err());
    assert_eq!(fs::read(segment_file(timeline.dir(), at)).expect("a segment"), before);
    assert!(segment_file(timeline.dir(), wal.end()).exists());
}

/// What was acknowledged and does not decode any more is no torn write. It is named and asked for again, and nothing is thrown away before that has
/// come.
#[test]
fn acknowledged_wal_that_is_gone_from_the_last_segment_is_named_and_asked_for_again() {
    let damages: [fn(&Path, Lsn); 4] = [
        damage,
        |dir, at| File::options().write(true).open(segment_file(dir, at)).unwrap().set_len(at.0 % SEGMENT).unwrap(),
        |dir, at| fs::write(segment_file(dir, at), b"").unwrap(),
        |dir, at| fs::remove_file(segment_file(dir, at)).unwrap(),
    ];
    for damage in damages {
        let home = Home::new();
        let mut wal = Wal::new();
        wal.fill(SEGMENT + SEGMENT / 2);
        let timeline = attach(&home.open(), "main");
        wal.send(&timeline, wal.end());
        assert!(timeline.lost_wal().is_none());
        let at = Lsn(FIRST.0 + SEGMENT + 100_000);
        damage(timeline.dir(), at);
        let before = fs::read(segment_file(timeline.dir(), at)).ok();

        let timeline = home.open().timeline("default", "main").expect("opened");
        let last = timeline.ingest().resume_lsn();
        assert!(timeline.fault().is_none() && last <= at);
        let lost = timeline.lost_wal().expect("something is lost");
        assert_eq!((lost.file.as_str(), lost.last, lost.acknowledged), ("000000010000000000000004", last, wal.end()));
        check(&timeline, &wal, last);
        timeline.ingest().flush().expect("nothing new");
        assert_eq!(fs::read(segment_file(timeline.dir(), at)).ok(), before);
        // Half of it is not all of it, for the next process too.
        wal.send(&timeline, Lsn(at.0 + 50_000));
        assert!(timeline.lost_wal().is_some());
        let timeline = home.open().timeline("default", "main").expect("opened");
        assert!(timeline.lost_wal().is_some());
        wal.send(&timeline, wal.end());
        assert!(timeline.lost_wal().is_none());
        check(&timeline, &wal, wal.end());
        assert!(home.open().timeline("default", "main").expect("opened").lost_wal().is_none());
    }
}

/// Without the note it cannot be told from a torn write, and is asked for again all the same.
#[test]
fn without_the_note_of_what_was_flushed_damage_is_taken_for_a_torn_write() {
    for note in [None, Some("flushed 0000000000400000 crc32c 00000000\n")] {
        let home = Home::new();
        let mut wal = Wal::new();
        wal.fill(30_000);
        let timeline = attach(&home.open(), "main");
        wal.send(&timeline, wal.end());
        damage(timeline.dir(), Lsn(FIRST.0 + 20_000));
        let path = timeline.dir().join("versions/flushed");
        match note {
            None => fs::remove_file(path).expect("removed"),
            Some(note) => fs::write(path, note).expect("written"),
        }
        let timeline = home.open().timeline("default", "main").expect("opened");
        assert!(timeline.fault().is_none() && timeline.lost_wal().is_none());
        wal.send(&timeline, wal.end());
        check(&timeline, &wal, wal.end());
    }
}

#[test]
fn a_timeline_with_a_missing_segment_does_not_keep_the_others_from_being_served() {
    let home = Home::new();
    let mut wal = Wal::new();
    wal.fill(3 * SEGMENT);
    let repository = home.open();
    let (good, bad) = (attach(&repository, "good"), attach(&repository, "bad"));
    wal.send(&good, wal.end());
    wal.send(&bad, wal.end());
    fs::remove_file(segment_file(bad.dir(), Lsn(FIRST.0 + SEGMENT))).expect("removed");

    let repository = home.open();
    check(&repository.timeline("default", "good").expect("opened"), &wal, wal.end());
    let [broken] = repository.broken() else { panic!("one is broken") };
    assert_eq!((broken.name.as_str(), broken.id), ("bad", bad.id()));
    for name in ["bad", &bad.id().to_string()] {
        let error = repository.timeline("default", name).expect_err("broken").to_string();
        assert!(error.contains("000000010000000000000004"), "{error}");
    }
    assert!(matches!(repository.reserve("bad"), Err(RepositoryError::Exists(_))));
}

#[test]
fn damaged_metadata_breaks_its_own_timeline_only() {
    for file in ["versions/timeline.json", "branch.json"] {
        let home = Home::new();
        let repository = home.open();
        let (good, bad) = (attach(&repository, "good"), attach(&repository, "bad"));
        fs::write(bad.dir().join(file), "{").expect("damaged");
        let repository = home.open();
        assert_eq!(repository.timeline("default", "good").expect("opened").id(), good.id());
        assert_eq!(repository.broken().len(), 1);
        assert!(matches!(repository.timeline("default", &bad.id().to_string()), Err(RepositoryError::Broken(_))));
        assert!(repository.unfinished().is_empty());
    }
}

#[test]
fn after_a_panic_while_wal_was_taken_up_a_timeline_takes_no_more_until_a_restart() {
    let home = Home::new();
    let mut wal = Wal::new();
    wal.fill(30_000);
    let timeline = attach(&home.open(), "main");
    wal.send(&timeline, wal.end());
    let last = wal.end();
    wal.fill(30_000);
    let panicked = std::thread::scope(|scope| {
        let holder = scope.spawn(|| {
            let mut ingest = timeline.ingest();
            ingest.write(last, wal.slice(last, Lsn(last.0 + 1000))).expect("written");
            panic!("in the middle of it");
        });
        holder.join()
    });
    assert!(panicked.is_err());
    let refused = timeline.ingest().flush().expect_err("who knows what was done");
    assert!(matches!(&refused, IngestError::Stopped(cause) if matches!(**cause, IngestError::Panicked)), "{refused}");
    assert!(timeline.fault().is_some());
    check(&timeline, &wal, last);

    let timeline = home.open().timeline("default", "main").expect("opened");
    assert!(timeline.fault().is_none());
    wal.send(&timeline, wal.end());
    check(&timeline, &wal, wal.end());
}

/// In a flush that is done step by step, and in one by several threads.
#[test]
fn a_record_that_is_not_understood_stops_the_timeline_now_and_after_a_restart() {
    not_understood(30_000);
    not_understood(2_000_000);
}

fn not_understood(before: u64) {
    let home = Home::new();
    let mut wal = Wal::new();
    wal.fill(before);
    let good = wal.end();
    wal.nonsense();
    wal.commit();
    wal.fill(before);
    let timeline = attach(&home.open(), "main");
    timeline.ingest().write(FIRST, wal.slice(FIRST, wal.end())).expect("written");
    let refused = timeline.ingest().flush().expect_err("nonsense");
    assert!(matches!(refused, IngestError::Stopped(_)), "{refused}");
    assert!(timeline.ingest().write(good, wal.slice(good, wal.end())).is_err());
    assert_eq!(timeline.last_record_lsn(), good);
    check(&timeline, &wal, good);

    let timeline = home.open().timeline("default", "main").expect("opened");
    assert!(timeline.fault().is_some());
    assert_eq!(timeline.last_record_lsn(), good);
    check(&timeline, &wal, good);
    assert!(timeline.ingest().write(good, wal.slice(good, wal.end())).is_err());
}

/// A new tenant beside the old one would look like an empty server.
#[test]
fn a_tenant_that_lost_its_name_is_an_error_and_a_begun_one_is_finished() {
    let home = Home::new();
    let wal = Wal::new();
    let timeline = attach(&home.open(), "main");
    wal.send(&timeline, wal.end());
    let tenant = timeline.dir().ancestors().nth(2).expect("a tenant's directory").to_owned();
    fs::remove_file(tenant.join("tenant.json")).expect("removed");
    let refused = home.try_open().expect_err("no name");
    assert!(matches!(&refused, RepositoryError::NamelessTenant { .. }), "{refused}");
    assert!(refused.to_string().contains("tenant.json"), "{refused}");

    fs::remove_dir_all(tenant.join("timelines")).expect("removed");
    let (name, id) = (home.open().tenant().0.to_owned(), home.open().tenant().1);
    assert_eq!((name.as_str(), tenant.ends_with(id.to_string())), ("default", true));
}
