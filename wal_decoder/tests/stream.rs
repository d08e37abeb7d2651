//! The stream decoder over WAL that the crate's own writer made, whole and damaged.

use pgdata::wal::{
    PageFlags, PageHeaderError, RECORD_HEADER, RecordBytesError, SegmentSize, WAL_PAGE_SIZE, strip_page_headers,
    verify_record_crc,
};
use pgdata::{Lsn, PgVersion};
use proptest::prelude::*;
use wal_decoder::{NewRecord, WalError, WalIdentity, WalStream, WalWriter, rmgr};

const MIB: u64 = 1 << 20;
const START: Lsn = Lsn(7 * MIB);
const PREV: Lsn = Lsn(7 * MIB - 32);
const VERSION: PgVersion = PgVersion::V16;
const PAGE: usize = WAL_PAGE_SIZE;

fn identity() -> WalIdentity {
    WalIdentity { version: VERSION, timeline: 1, system_id: 42, segment_size: SegmentSize::new(1 << 20).unwrap() }
}

fn writer() -> WalWriter {
    WalWriter::new(identity(), START, PREV).unwrap()
}

fn message(main_data: &[u8]) -> NewRecord<'_> {
    NewRecord { xid: 9, info: 0, rmid: rmgr::RM_LOGICALMSG_ID, main_data }
}

const SWITCH: NewRecord<'_> = NewRecord { xid: 0, info: rmgr::XLOG_SWITCH, rmid: rmgr::RM_XLOG_ID, main_data: &[] };

fn stream(start: Lsn) -> WalStream {
    WalStream::new(start, 1 << 20, VERSION).unwrap()
}

/// Start, LSN and bytes of a record.
type Whole = (Lsn, Lsn, Vec<u8>);

/// Feeds, and polls until there is no more.
fn drain(stream: &mut WalStream, fed: &[u8], into: &mut Vec<Whole>) -> Result<(), WalError> {
    let mut whole = stream.feed(fed);
    while let Some(raw) = whole.next_record()? {
        into.push((raw.start, raw.lsn, raw.bytes.to_vec()));
    }
    Ok(())
}

/// Feeds all at once.
fn decode(start: Lsn, wal: &[u8]) -> (Vec<Whole>, Result<(), WalError>) {
    let (mut stream, mut records) = (stream(start), Vec::new());
    let end = drain(&mut stream, wal, &mut records);
    (records, end)
}

/// WAL of three records; the middle one runs over pages.
fn three() -> (WalWriter, [Lsn; 3]) {
    let mut writer = writer();
    let starts = [100, 20_000, 300].map(|len| writer.append(&message(&vec![len as u8; len])).unwrap().start);
    (writer, starts)
}

/// Where a position is in WAL that begins at [`START`].
fn at(lsn: Lsn) -> usize {
    lsn.bytes_since(START) as usize
}

#[test]
fn records_come_with_their_positions_and_bytes() {
    let (writer, starts) = three();
    let (records, end) = decode(START, writer.bytes());
    assert_eq!(end, Ok(()));
    assert_eq!(records.iter().map(|record| record.0).collect::<Vec<_>>(), starts);
    assert_eq!(records[0].1, starts[1]);
    assert_eq!(records[2].1, writer.position());
    assert_eq!(records[1].2.len(), RECORD_HEADER + 5 + 20_000);
    for record in &records {
        verify_record_crc(&record.2).unwrap();
    }
}

#[test]
fn positions_tell_what_was_fed_and_decoded() {
    let (writer, starts) = three();
    let mut stream = stream(START);
    assert_eq!((stream.fed_to(), stream.decoded_to()), (START, START));
    let mut whole = stream.feed(&writer.bytes()[..at(starts[1]) + 10]);
    assert!(whole.next_record().unwrap().is_some());
    assert!(whole.next_record().unwrap().is_none());
    drop(whole);
    assert_eq!((stream.fed_to(), stream.decoded_to()), (Lsn(starts[1].0 + 10), starts[1]));
    assert_eq!(stream.timeline(), 1);
}

#[test]
fn a_record_is_given_out_before_its_padding_is_fed() {
    let mut writer = writer();
    writer.append(&message(b"x")).unwrap();
    let len = 40 + RECORD_HEADER + 3;
    let (records, _) = decode(START, &writer.bytes()[..len]);
    assert_eq!(records.len(), 1);
    assert_eq!(decode(START, &writer.bytes()[..len - 1]), (vec![], Ok(())));
}

#[test]
fn a_header_may_be_split_over_pages() {
    for room in [8, 16, 24] {
        let mut writer = writer();
        // The first record ends `room` bytes before its page does.
        writer.append(&message(&vec![1; PAGE - 40 - RECORD_HEADER - 5 - room])).unwrap();
        let split = writer.append(&message(b"split")).unwrap();
        assert_eq!(split.start, Lsn(START.0 + (PAGE - room) as u64));
        let (records, end) = decode(START, writer.bytes());
        assert_eq!((records.len(), end), (2, Ok(())));
        assert_eq!(records[1].0, split.start);
    }
}

#[test]
fn a_record_that_fills_its_page_ends_at_the_pages_end() {
    let mut writer = writer();
    let first = writer.append(&message(&vec![1; PAGE - 40 - RECORD_HEADER - 5])).unwrap();
    let second = writer.append(&message(b"next")).unwrap();
    assert_eq!((first.lsn, second.start), (Lsn(START.0 + PAGE as u64), Lsn(START.0 + PAGE as u64 + 24)));
    let (records, end) = decode(START, writer.bytes());
    assert_eq!((records[0].1, records[1].0, end), (first.lsn, second.start, Ok(())));
    let mut resumed = WalStream::after_record(first.start, first.lsn, 1 << 20, VERSION).unwrap();
    assert_eq!(resumed.feed(&writer.bytes()[PAGE..]).next_record().unwrap().unwrap().start, second.start);
}

#[test]
fn records_run_over_segments() {
    let mut writer = writer();
    let long = vec![3; 5 * MIB as usize];
    let written = writer.append(&message(&long)).unwrap();
    writer.append(&message(b"next")).unwrap();
    let (records, end) = decode(START, writer.bytes());
    assert_eq!((records.len(), end), (2, Ok(())));
    assert_eq!((records[0].0, records[0].1), (written.start, written.lsn));
}

#[test]
fn a_switch_ends_with_its_segment_whatever_follows_it() {
    for filler in [0, 0xAB] {
        let mut writer = writer();
        let switch = writer.append(&SWITCH).unwrap();
        let void = at(writer.position());
        writer.fill_segment();
        let next = writer.append(&message(b"next")).unwrap();
        let mut wal = writer.bytes().to_vec();
        wal[void..MIB as usize].fill(filler);
        let (records, end) = decode(START, &wal);
        assert_eq!(end, Ok(()));
        assert_eq!((records[0].0, records[0].1), (switch.start, Lsn(START.0 + MIB)));
        assert_eq!(records[1].0, next.start);
    }
}

#[test]
fn a_stream_may_start_in_the_void_behind_a_switch() {
    let mut writer = writer();
    let switch = writer.append(&SWITCH).unwrap();
    writer.fill_segment();
    let next = writer.append(&message(b"next")).unwrap();
    for from in [switch.lsn, Lsn(switch.lsn.0 + 3), Lsn(START.0 + PAGE as u64), Lsn(START.0 + MIB - 64)] {
        let (records, end) = decode(from, &writer.bytes()[at(from)..]);
        assert_eq!((records.len(), end), (1, Ok(())), "from {from}");
        assert_eq!(records[0].0, next.start);
    }
}

#[test]
fn records_lost_in_zeros_at_the_start_are_noticed() {
    let (mut writer, starts) = three();
    let lost = starts[2];
    writer.append(&SWITCH).unwrap();
    writer.fill_segment();
    let next = writer.append(&message(b"next")).unwrap();
    let mut wal = writer.bytes().to_vec();
    wal[at(lost)..MIB as usize].fill(0);
    let (records, end) = decode(lost, &wal[at(lost)..]);
    assert_eq!(records, []);
    let Err(WalError::FirstPrev { start, from, .. }) = end else { panic!("{end:?}") };
    assert_eq!((start, from), (next.start, lost));
}

#[test]
fn a_continuation_at_the_start_is_skipped() {
    let (writer, starts) = three();
    for page in [1, 2] {
        let from = Lsn(START.0 + (page * PAGE) as u64);
        let (records, end) = decode(from, &writer.bytes()[at(from)..]);
        assert_eq!((records.len(), records[0].0, end), (1, starts[2], Ok(())));
    }
}

#[test]
fn a_continuation_behind_a_record_is_an_error() {
    let (writer, _) = three();
    let page = Lsn(START.0 + PAGE as u64);
    let mut stream = WalStream::after_record(START, page, 1 << 20, VERSION).unwrap();
    assert!(matches!(
        stream.feed(&writer.bytes()[PAGE..]).next_record(),
        Err(WalError::Continuation { expected: 0, .. })
    ));
}

#[test]
fn no_stream_starts_inside_a_page_header() {
    for offset in [8, 32, PAGE as u64 + 16] {
        let start = Lsn(START.0 + offset);
        assert_eq!(WalStream::new(start, 1 << 20, VERSION).err(), Some(WalError::Start { start }));
    }
    assert!(matches!(WalStream::new(START, 12345, VERSION), Err(WalError::Layout(_))));
    assert!(matches!(WalStream::new(Lsn::MAX, 1 << 20, VERSION), Err(WalError::Overflow { .. })));
}

/// An unfinished record whose rest is voided, as a primary does after a crash: the page where the rest should be begins anew.
fn overwritten(voids: Lsn) -> (Vec<u8>, [Lsn; 3]) {
    let mut before = writer();
    let first = before.append(&message(b"first")).unwrap();
    let aborted = before.append(&message(&[5; 20_000])).unwrap();
    let page = Lsn(START.0 + 2 * PAGE as u64);
    let mut after = WalWriter::new(identity(), page, first.start).unwrap();
    let main_data = [&voids.0.to_le_bytes()[..], &[0; 8]].concat();
    let info = rmgr::XLOG_OVERWRITE_CONTRECORD;
    let record = NewRecord { xid: 0, info, rmid: rmgr::RM_XLOG_ID, main_data: &main_data };
    let overwrite = after.append(&record).unwrap();
    let mut wal = [&before.bytes()[..2 * PAGE], after.bytes()].concat();
    wal[2 * PAGE + 2] |= PageFlags::OVERWRITE_CONTRECORD as u8;
    (wal, [first.start, aborted.start, overwrite.start])
}

#[test]
fn an_overwritten_record_is_dropped() {
    let aborted = overwritten(Lsn(0)).1[1];
    let (wal, [first, _, overwrite]) = overwritten(aborted);
    let (records, end) = decode(START, &wal);
    assert_eq!(end, Ok(()));
    assert_eq!(records.iter().map(|record| record.0).collect::<Vec<_>>(), [first, overwrite]);
    // Also by who starts inside of it.
    let (records, end) = decode(Lsn(START.0 + PAGE as u64), &wal[PAGE..]);
    assert_eq!((records.len(), records[0].0, end), (1, overwrite, Ok(())));
}

#[test]
fn the_overwriting_record_must_name_the_overwritten_one() {
    let (wal, [_, aborted, overwrite]) = overwritten(Lsn(0x1234));
    let end = decode(START, &wal).1;
    assert_eq!(end, Err(WalError::Overwrite { start: overwrite, got: Lsn(0x1234), expected: aborted }));
}

#[test]
fn zeros_behind_the_last_record_are_the_end() {
    let (mut writer, _) = three();
    let end = writer.position();
    writer.fill_segment();
    let (records, error) = decode(START, writer.bytes());
    assert_eq!((records.len(), error), (3, Err(WalError::EndOfWal { lsn: end })));
    assert!(error.unwrap_err().is_end_of_wal());
}

#[test]
fn a_page_never_written_ends_the_wal_where_the_unfinished_record_starts() {
    let (writer, starts) = three();
    let mut wal = writer.bytes().to_vec();
    wal[PAGE..].fill(0);
    let (records, error) = decode(START, &wal);
    assert_eq!((records.len(), error), (1, Err(WalError::EndOfWal { lsn: starts[1] })));
}

#[test]
fn pages_of_a_recycled_segment_are_the_end() {
    let mut writer = writer();
    writer.append(&message(&vec![1; PAGE - 40 - RECORD_HEADER - 5])).unwrap();
    let older = WalWriter::new(identity(), Lsn(3 * MIB + PAGE as u64), Lsn(3 * MIB)).and_then(|mut older| {
        older.append(&message(b"older"))?;
        Ok(older.bytes().to_vec())
    });
    let (records, error) = decode(START, &[writer.bytes(), &older.unwrap()].concat());
    let page = Lsn(START.0 + PAGE as u64);
    let expected = PageHeaderError::Address { page, got: Lsn(3 * MIB + PAGE as u64) };
    assert_eq!((records.len(), error), (1, Err(WalError::Page(expected))));
    assert!(error.unwrap_err().is_end_of_wal());
}

/// Decodes the three records with some bytes at `offset` changed.
fn damaged(offset: usize, bytes: &[u8]) -> (usize, WalError) {
    let (writer, _) = three();
    let mut wal = writer.bytes().to_vec();
    wal[offset..offset + bytes.len()].copy_from_slice(bytes);
    let (records, end) = decode(START, &wal);
    (records.len(), end.expect_err("damage"))
}

#[test]
fn damage_is_named() {
    let [first, second, third] = three().1;
    let page = Lsn(START.0 + PAGE as u64);
    assert!(matches!(damaged(at(third) + 40, &[0xFF]), (2, WalError::Crc { start, .. }) if start == third));
    assert!(matches!(damaged(at(second) + 12_000, &[0xFF]), (1, WalError::Crc { start, .. }) if start == second));
    let prev = WalError::Prev { start: third, got: Lsn(1), expected: second };
    assert_eq!(damaged(at(third) + 8, &1u64.to_le_bytes()), (2, prev));
    assert_eq!(damaged(at(third) + 17, &[99]), (2, WalError::Rmgr { start: third, rmid: 99 }));
    let max = 1020 * MIB as u32;
    let length = |got| WalError::RecordLength { start: third, got, min: 24, max };
    assert_eq!(damaged(at(third), &23u32.to_le_bytes()), (2, length(23)));
    assert_eq!(damaged(at(third), &u32::MAX.to_le_bytes()), (2, length(u32::MAX)));
    let first_prev = WalError::FirstPrev { start: first, got: START, from: START };
    assert_eq!(damaged(at(first) + 8, &START.0.to_le_bytes()), (0, first_prev));
    let version = WalError::Version { page, got: PgVersion::V15, expected: VERSION };
    assert_eq!(damaged(PAGE, &[0x10]), (1, version));
    let version = WalError::Version { page: START, got: PgVersion::V17, expected: VERSION };
    assert_eq!(damaged(0, &[0x16]), (0, version));
    assert!(matches!(damaged(PAGE + 16, &[0]), (1, WalError::Continuation { .. })));
    assert!(matches!(damaged(PAGE + 2, &[0]), (1, WalError::Continuation { got: 0, .. })));
    assert_eq!(damaged(PAGE + 4, &[0]), (1, WalError::Timeline { page, got: 0, before: 1 }));
}

#[test]
fn an_unsupported_version_is_named() {
    let (_, error) = damaged(0, &[0x0D, 0xD1]);
    assert!(error.to_string().contains("0xD10D belongs to no supported PostgreSQL version"), "{error}");
}

#[test]
fn a_segment_of_another_cluster_is_refused() {
    let mut writer = writer();
    writer.append(&message(&vec![1; MIB as usize])).unwrap();
    let second = Lsn(START.0 + MIB);
    let mut wal = writer.bytes().to_vec();
    wal[MIB as usize + 24] = 43;
    assert_eq!(decode(START, &wal).1, Err(WalError::SystemId { page: second, got: 43, expected: 42 }));
    let mut stream = stream(START).expect_system_id(41);
    let error = WalError::SystemId { page: START, got: 42, expected: 41 };
    assert_eq!(stream.feed(writer.bytes()).next_record().err(), Some(error));
}

#[test]
fn a_failed_stream_stays_failed() {
    let (writer, _) = three();
    let mut stream = stream(START);
    let mut wal = writer.bytes().to_vec();
    wal[0] = 0;
    let error = stream.feed(&wal).next_record().unwrap_err();
    assert_eq!(stream.feed(writer.bytes()).next_record().unwrap_err(), error);
    assert_eq!(stream.fed_to(), Lsn(START.0 + wal.len() as u64));
}

#[test]
fn a_record_is_read_back_from_the_wal_alone() {
    let (writer, starts) = three();
    let size = identity().segment_size;
    let mut out = Vec::new();
    for (start, lsn, bytes) in decode(START, writer.bytes()).0 {
        strip_page_headers(&writer.bytes()[at(start)..], start, bytes.len() as u32, size, &mut out).unwrap();
        assert_eq!(out, bytes);
        assert_eq!(size.record_end(start, bytes.len() as u32).unwrap().align_up(), lsn);
    }
    let (from, len) = (&writer.bytes()[at(starts[1])..at(starts[2]) - 10], 20_029);
    let truncated = strip_page_headers(from, starts[1], len, size, &mut out);
    assert_eq!(truncated, Err(RecordBytesError::Truncated { start: starts[1], len, at: Lsn(starts[2].0 - 10) }));
    let wrong = strip_page_headers(&writer.bytes()[at(starts[1])..], starts[1], len + 1, size, &mut out);
    assert!(matches!(wrong, Err(RecordBytesError::Continuation { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever the pieces, the records are the same as when all is fed at once.
    #[test]
    fn feed_sizes_do_not_matter(
        lengths in prop::collection::vec(prop_oneof![8 => 0..400usize, 2 => 400..9000usize, 1 => 9000..60_000usize], 1..40),
        switch_after in prop::option::of(0..40usize),
        pieces in prop::collection::vec(prop_oneof![1..10usize, 10..9000usize], 1..50),
    ) {
        let mut writer = writer();
        let mut expected = Vec::new();
        for (index, &len) in lengths.iter().enumerate() {
            let written = writer.append(&message(&vec![len as u8; len])).unwrap();
            expected.push((written.start, written.lsn));
            if Some(index) == switch_after {
                let switch = writer.append(&SWITCH).unwrap();
                writer.fill_segment();
                expected.push((switch.start, writer.position()));
            }
        }
        let (whole, end) = decode(START, writer.bytes());
        prop_assert_eq!(end, Ok(()));
        prop_assert_eq!(whole.iter().map(|record| (record.0, record.1)).collect::<Vec<_>>(), expected);
        let (mut stream, mut records, mut rest) = (stream(START), Vec::new(), writer.bytes());
        for piece in pieces.iter().cycle() {
            let (piece, behind) = rest.split_at((*piece).min(rest.len()));
            drain(&mut stream, piece, &mut records).unwrap();
            rest = behind;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(records, whole);
    }

    /// A changed byte never goes unnoticed in a record, and never makes a record out of others.
    #[test]
    fn a_changed_byte_gives_no_other_record(position in 0usize..29_000, change in 1u8..) {
        let (writer, _) = three();
        let (whole, _) = decode(START, writer.bytes());
        let mut wal = writer.bytes().to_vec();
        let position = position % wal.len();
        wal[position] ^= change;
        let (records, _) = decode(START, &wal);
        prop_assert!(records.len() <= whole.len());
        prop_assert_eq!(&records[..], &whole[..records.len()]);
    }
}

/// What is not asked for waits for the next feed, however much it is.
#[test]
fn records_that_nobody_asked_for_come_later() {
    let (writer, starts) = three();
    let (head, tail) = writer.bytes().split_at(at(starts[2]) + 10);
    let mut stream = stream(START);
    drop(stream.feed(head));
    assert_eq!((stream.fed_to(), stream.decoded_to()), (Lsn(starts[2].0 + 10), START));
    let mut records = Vec::new();
    drain(&mut stream, tail, &mut records).unwrap();
    assert_eq!(records, decode(START, writer.bytes()).0);
}

/// Records within a page are read where they were fed.
#[test]
fn a_record_in_one_page_is_not_copied() {
    let (writer, starts) = three();
    let wal = writer.bytes();
    let mut stream = stream(START);
    let mut whole = stream.feed(wal);
    let mut places = Vec::new();
    while let Some(raw) = whole.next_record().unwrap() {
        places.push(raw.bytes.as_ptr());
    }
    let there = starts.map(|start| wal[at(start)..].as_ptr());
    assert_eq!((places[0], places[2]), (there[0], there[2]));
    assert_ne!(places[1], there[1]);
}
