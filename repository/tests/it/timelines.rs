//! The source goes on with another of PostgreSQL's timelines.

use pgdata::wal::SegmentSize;
use pgdata::{Lsn, PgVersion};
use repository::{IngestError, Timeline};
use wal_decoder::rmgr::{RM_XACT_ID, RM_XLOG_ID};
use wal_decoder::{NewRecord, WalError, WalIdentity, WalWriter};

use crate::fixture::{FIRST, Home, SEGMENT, SYSTEM_ID, Wal, attach, check, commits, segment_size};

const END_OF_RECOVERY: u8 = 0x90;

/// WAL of timeline 2 behind a record that starts at `prev` and ends at `begin`: some records, then what says that recovery ended, then more.
struct Second {
    writer: WalWriter,
    begin: Lsn,
    /// The end of the first record, and of that which names the timeline.
    first: Lsn,
    named: Lsn,
}

impl Second {
    fn new(begin: Lsn, prev: Lsn) -> Second {
        let segment_size: SegmentSize = segment_size();
        let identity = WalIdentity { version: PgVersion::V15, timeline: 2, system_id: SYSTEM_ID, segment_size };
        let mut writer = WalWriter::new(identity, begin, prev).expect("a start");
        let mut append = |xid, info, rmid, main_data: &[u8]| {
            writer.append(&NewRecord { xid, info, rmid, main_data }).expect("a record").lsn
        };
        let first = append(5000, 0, RM_XACT_ID, &[0; 8]);
        let named = [&[0; 8][..], &2u32.to_le_bytes(), &1u32.to_le_bytes()].concat();
        let named = append(0, END_OF_RECOVERY, RM_XLOG_ID, &named);
        for xid in 5001..5040 {
            append(xid, 0, RM_XACT_ID, &[0; 8]);
            append(0, 0x20, RM_XLOG_ID, &[7; 60_000]);
        }
        Second { writer, begin, first, named }
    }

    fn history(&self) -> Vec<u8> {
        format!("1\t{}\tno recovery target specified\n", self.begin).into_bytes()
    }

    fn send(&self, timeline: &Timeline) {
        let mut ingest = timeline.ingest();
        let from = ingest.resume_lsn();
        ingest.write(from, &self.writer.bytes()[from.bytes_since(self.begin) as usize..]).expect("written");
        ingest.flush().expect("flushed");
    }
}

/// WAL of timeline 1, a position in the middle of its last record, and a timeline that begins before that record.
fn parting() -> (Wal, Lsn, Second) {
    let mut wal = Wal::new();
    wal.fill(SEGMENT + 30_000);
    let last = wal.noop(100);
    let sent = Lsn(last.lsn.0 + 3000);
    wal.noop(5000);
    (wal, sent, Second::new(last.lsn, last.start))
}

/// The same, with who has received it up to that position.
fn first(home: &Home) -> (Wal, std::sync::Arc<Timeline>, Second) {
    let (wal, sent, second) = parting();
    let timeline = attach(&home.open(), "main");
    wal.send(&timeline, sent);
    (wal, timeline, second)
}

#[test]
fn what_was_not_whole_at_the_switch_is_void_and_the_rest_goes_on() {
    let home = Home::new();
    let (wal, timeline, second) = first(&home);
    assert!(timeline.status().wal_end > second.begin);
    timeline.ingest().switch_timeline(2, &second.history()).expect("switched");
    assert_eq!(timeline.ingest().resume_lsn(), second.begin);
    second.send(&timeline);
    let end = second.writer.position();
    for timeline in [timeline, home.open().timeline("default", "main").expect("opened")] {
        assert!(timeline.fault().is_none());
        assert_eq!(timeline.last_record_lsn(), end);
        check(&timeline, &wal, second.begin);
        let before = wal.commits_up_to(second.begin);
        assert_eq!(commits(&timeline, second.first).expect("readable"), before + 1);
        assert_eq!(commits(&timeline, end).expect("readable"), before + 40);
        let at = |lsn| {
            let counters = timeline.cluster(lsn).expect("a state").counters;
            (timeline.pg_timeline_at(lsn), counters.timeline, counters.prev_timeline)
        };
        assert_eq!([at(second.begin), at(second.first), at(second.named)], [(1, 1, 1), (2, 2, 1), (2, 2, 1)]);
        let mut bytes = vec![0; end.bytes_since(FIRST) as usize];
        assert!(timeline.read_wal(FIRST, &mut bytes).expect("read"));
        assert!(bytes == [wal.slice(FIRST, second.begin), second.writer.bytes()].concat());
    }
}

#[test]
fn what_waits_for_a_flush_counts_at_the_switch() {
    let home = Home::new();
    let (wal, sent, second) = parting();
    let timeline = attach(&home.open(), "main");
    timeline.ingest().write(FIRST, wal.slice(FIRST, sent)).expect("written");
    timeline.ingest().switch_timeline(2, &second.history()).expect("switched");
    second.send(&timeline);
    for timeline in [timeline, home.open().timeline("default", "main").expect("opened")] {
        assert_eq!(timeline.last_record_lsn(), second.writer.position());
        check(&timeline, &wal, second.begin);
    }
}

#[test]
fn what_was_received_stays_if_the_new_timeline_leaves_it_out() {
    let home = Home::new();
    let (mut wal, timeline, second) = first(&home);
    wal.commit();
    wal.send(&timeline, wal.end());
    let refused = timeline.ingest().switch_timeline(2, &second.history()).expect_err("records behind the switch");
    let text = refused.to_string();
    assert!(
        matches!(refused, IngestError::Diverged { timeline: 1, next: 2, begin, held } if (begin, held) == (second.begin, wal.end()))
    );
    assert!(text.contains(&second.begin.to_string()) && text.contains(&wal.end().to_string()), "{text}");
    check(&timeline, &wal, wal.end());
    wal.fill(10_000);
    wal.send(&timeline, wal.end());
    check(&timeline, &wal, wal.end());
    assert_eq!(timeline.pg_timelines().last(), 1);
}

#[test]
fn a_timeline_does_not_begin_before_all_of_the_last_one_is_there() {
    let home = Home::new();
    let (_, timeline, second) = first(&home);
    let later = Second::new(Lsn(second.begin.0 + 8), second.begin);
    let refused = timeline.ingest().switch_timeline(2, &later.history()).expect_err("a gap");
    assert!(matches!(refused, IngestError::NotReached { .. }), "{refused}");
    let refused = timeline.ingest().switch_timeline(2, b"1\tnowhere\n").expect_err("no history");
    assert!(matches!(refused, IngestError::Log(_)), "{refused}");
}

#[test]
fn wal_of_another_timeline_is_not_taken() {
    let home = Home::new();
    let (mut wal, timeline, second) = first(&home);
    wal.fill(20_000);
    timeline.ingest().switch_timeline(2, &second.history()).expect("switched");
    let mut ingest = timeline.ingest();
    ingest.write(second.begin, wal.slice(second.begin, wal.end())).expect("written");
    let refused = ingest.flush().expect_err("WAL of timeline 1");
    let IngestError::Stopped(cause) = &refused else { panic!("{refused}") };
    assert!(matches!(**cause, IngestError::Wal(WalError::WrongTimeline { got: 1, expected: 2, .. })), "{cause}");
}
