//! Where receiving goes on after a restart.

use std::fs::{self, OpenOptions};
use std::io::Write;

use pgdata::Lsn;
use proptest::prelude::*;
use repository::IngestError;

use crate::fixture::{FIRST, Home, SEGMENT, START, Wal, attach, check, segment_file};

#[test]
fn a_partial_record_comes_again_after_a_restart() {
    let home = Home::new();
    let mut wal = Wal::new();
    wal.fill(30_000);
    let whole = wal.end();
    wal.noop(5000);
    wal.commit();
    let timeline = attach(&home.open(), "main");
    wal.send(&timeline, Lsn(whole.0 + 3000));
    assert_eq!((timeline.last_record_lsn(), timeline.ingest().resume_lsn()), (whole, whole));

    let timeline = home.open().timeline("default", "main").expect("opened");
    assert_eq!((timeline.last_record_lsn(), timeline.ingest().resume_lsn()), (whole, whole));
    wal.send(&timeline, wal.end());
    check(&timeline, &wal, wal.end());
}

#[test]
fn a_partial_record_comes_again_after_a_lost_connection() {
    let home = Home::new();
    let mut wal = Wal::new();
    wal.fill(30_000);
    let whole = wal.end();
    wal.noop(5000);
    wal.commit();
    let timeline = attach(&home.open(), "main");
    wal.send(&timeline, Lsn(whole.0 + 3000));
    wal.send(&timeline, wal.end());
    check(&timeline, &wal, wal.end());
    assert_eq!(fs::read(segment_file(timeline.dir(), FIRST)).expect("a segment"), wal.slice(FIRST, wal.end()));
}

#[test]
fn only_what_continues_is_taken() {
    let home = Home::new();
    let mut wal = Wal::new();
    wal.fill(30_000);
    let timeline = attach(&home.open(), "main");
    wal.send(&timeline, wal.end());
    for wrong in [wal.end().0 - 8, wal.end().0 + 8, START.0] {
        let refused = timeline.ingest().write(Lsn(wrong), &[0; 8]).expect_err("a gap or an overlap");
        assert!(matches!(refused, IngestError::Position { .. }), "{refused}");
    }
}

#[test]
fn garbage_behind_the_last_record_is_replaced() {
    for garbage in [vec![0; 20_000], vec![0xAB; 20_000]] {
        let home = Home::new();
        let mut wal = Wal::new();
        wal.fill(30_000);
        let whole = wal.end();
        let timeline = attach(&home.open(), "main");
        wal.send(&timeline, whole);
        let path = segment_file(timeline.dir(), whole);
        OpenOptions::new().append(true).open(&path).and_then(|mut f| f.write_all(&garbage)).expect("appended");

        let timeline = home.open().timeline("default", "main").expect("opened");
        assert!(timeline.fault().is_none() && timeline.lost_wal().is_none());
        assert_eq!((timeline.last_record_lsn(), timeline.ingest().resume_lsn()), (whole, whole));
        wal.fill(30_000);
        wal.send(&timeline, wal.end());
        check(&timeline, &wal, wal.end());
        assert_eq!(fs::read(&path).expect("a segment"), wal.slice(FIRST, wal.end()));
    }
}

/// A record that had only begun in the segment before: its first part is durable, its rest is what the crash tore.
#[test]
fn a_torn_record_across_two_segments_comes_again() {
    for torn in [0u8, 0xAB] {
        let home = Home::new();
        let mut wal = Wal::new();
        wal.fill(SEGMENT - 40_000);
        let begin = wal.noop(80_000).start;
        wal.commit();
        let timeline = attach(&home.open(), "main");
        let second = Lsn(FIRST.0 + SEGMENT);
        wal.send(&timeline, Lsn(second.0 + 20_000));
        assert_eq!(timeline.last_record_lsn(), begin);
        fs::write(segment_file(timeline.dir(), second), [torn; 20_000]).expect("torn");

        let timeline = home.open().timeline("default", "main").expect("opened");
        assert!(timeline.fault().is_none() && timeline.lost_wal().is_none(), "{:?}", timeline.fault());
        assert_eq!(timeline.ingest().resume_lsn(), begin);
        wal.send(&timeline, wal.end());
        check(&timeline, &wal, wal.end());
    }
}

#[test]
fn a_segment_that_ended_early_is_acknowledged_as_far_as_it_has_arrived() {
    let home = Home::new();
    let mut wal = Wal::new();
    wal.fill(30_000);
    let switched = wal.switch();
    let next_segment = wal.end();
    wal.commit();
    let timeline = attach(&home.open(), "main");
    let partly = Lsn(switched.0 + 1000);
    wal.send(&timeline, switched);
    let progress = timeline.ingest().flush().expect("flushed");
    assert_eq!((progress.flushed, progress.applied), (switched, next_segment));
    wal.send(&timeline, partly);

    let timeline = home.open().timeline("default", "main").expect("opened");
    assert_eq!((timeline.last_record_lsn(), timeline.ingest().resume_lsn()), (next_segment, partly));
    wal.send(&timeline, wal.end());
    check(&timeline, &wal, wal.end());
    assert_eq!(fs::read(segment_file(timeline.dir(), FIRST)).expect("a segment"), wal.slice(FIRST, next_segment));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// However the bytes come, and whatever a crash leaves of those that were not acknowledged.
    #[test]
    fn what_was_acknowledged_is_there_after_a_crash(
        pieces in prop::collection::vec(prop_oneof![6 => 1usize..60_000, 1 => 200_000usize..1_500_000], 1..40),
        kept in 0.0..1.0f64,
        switch in any::<bool>(),
    ) {
        let home = Home::new();
        let mut wal = Wal::new();
        wal.fill(700_000);
        if switch {
            wal.switch();
        }
        wal.fill(1_500_000);
        let timeline = attach(&home.open(), "main");
        let mut at = FIRST;
        let mut acknowledged = FIRST;
        for piece in pieces {
            let end = Lsn((at.0 + piece as u64).min(wal.end().0));
            timeline.ingest().write(at, wal.slice(at, end)).unwrap();
            // As at full speed, or as when no more has come.
            let progress = match piece % 2 {
                0 => timeline.ingest().begin_flush().unwrap(),
                _ => timeline.ingest().flush().unwrap(),
            };
            prop_assert!(progress.flushed >= acknowledged && progress.flushed <= end);
            (at, acknowledged) = (end, progress.flushed);
        }
        acknowledged = acknowledged.max(timeline.ingest().flush().unwrap().flushed);
        // Of the bytes behind what was acknowledged, in the last segment, a crash leaves any number.
        let path = segment_file(timeline.dir(), Lsn(at.0 - 1));
        let length = fs::metadata(&path).unwrap().len();
        let safe = length.saturating_sub(at.bytes_since(acknowledged));
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(safe + ((length - safe) as f64 * kept) as u64).unwrap();

        let timeline = home.open().timeline("default", "main").unwrap();
        prop_assert!(timeline.fault().is_none() && timeline.lost_wal().is_none());
        prop_assert!(timeline.ingest().resume_lsn() >= acknowledged);
        wal.send(&timeline, wal.end());
        prop_assert_eq!(timeline.last_record_lsn(), wal.end());
        check(&timeline, &wal, wal.end());
    }
}
