//! The end of the WAL: the pages that lead to the backup's LSN, and the shutdown checkpoint that lies there.

use pgdata::wal::{LongPageHeader, PageFlags, PageHeader, SegmentSize, WAL_PAGE_SIZE};
use pgdata::{CheckPoint, Lsn};
use wal_decoder::{NewRecord, WalError, WalIdentity, WalStream, WalWriter, rmgr};

use crate::BackupError;

/// `XLOG_CHECKPOINT_SHUTDOWN` of `catalog/pg_control.h`.
pub(crate) const CHECKPOINT_SHUTDOWN: u8 = 0x00;
/// `XLOG_CHECKPOINT_ONLINE`.
pub(crate) const CHECKPOINT_ONLINE: u8 = 0x10;

/// Where the WAL before a backup ends, and where its checkpoint record starts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    /// The end of the record before, rounded up to eight: at a page's start, its header is still to come.
    pub end: Lsn,
    /// The checkpoint record's first byte: behind the page header, if there is one to come.
    pub start: Lsn,
}

impl Place {
    /// The place at `lsn`. A position within a page header, or directly behind it, is no record's end, but what a server calls
    /// its insert position: it stands for the page's start. `None` where no record can lie.
    pub fn at(lsn: Lsn, size: SegmentSize) -> Option<Place> {
        if lsn == Lsn::INVALID || lsn.0 > u64::MAX >> 1 {
            return None;
        }
        let lsn = lsn.align_up();
        let (in_page, header) = (lsn.0 % WAL_PAGE_SIZE as u64, size.page_header_len(lsn) as u64);
        if in_page > header {
            return Some(Place { end: lsn, start: lsn });
        }
        let page = lsn.0 - in_page;
        Some(Place { end: Lsn(page), start: Lsn(page + header) })
    }

    /// The start of the segment that the checkpoint record starts in.
    pub fn segment_start(self, size: SegmentSize) -> Lsn {
        Lsn(self.end.0 - u64::from(size.offset_of(self.end)))
    }
}

/// The WAL from `place.end` to the end of the checkpoint record: with the page headers before and within it.
pub(crate) fn checkpoint_wal(
    identity: WalIdentity,
    place: Place,
    prev: Lsn,
    check_point: &CheckPoint,
) -> Result<Vec<u8>, WalError> {
    let mut writer = WalWriter::new(identity, place.end, prev)?;
    let main_data = check_point.to_bytes(identity.version);
    let record = NewRecord { xid: 0, info: CHECKPOINT_SHUTDOWN, rmid: rmgr::RM_XLOG_ID, main_data: &main_data };
    let written = writer.append(&record)?;
    debug_assert_eq!(written.start, place.start);
    Ok(writer.bytes().to_vec())
}

/// A WAL page at `address` with a header and nothing else: what stands where the history is not kept.
pub(crate) fn empty_page(identity: WalIdentity, address: Lsn) -> Vec<u8> {
    let WalIdentity { version, timeline, system_id, segment_size } = identity;
    let first = segment_size.offset_of(address) == 0;
    let header = PageHeader {
        version,
        flags: PageFlags(0),
        timeline,
        address,
        rem_len: 0,
        long: first.then_some(LongPageHeader { system_id, segment_size }),
    };
    let mut page = Vec::with_capacity(WAL_PAGE_SIZE);
    header.write(&mut page);
    page.resize(WAL_PAGE_SIZE, 0);
    page
}

/// Reads along as a segment's WAL is copied, and finds the last record before the end.
pub(crate) struct History {
    lsn: Lsn,
    size: SegmentSize,
    stream: WalStream,
    last: Option<Lsn>,
    /// Where the record ends that reaches into the segment from before.
    leading_end: Option<Lsn>,
}

impl History {
    /// Begins at the start of a segment; `first` is the segment's first bytes, at least a page header of them.
    pub fn begin(identity: WalIdentity, start: Lsn, lsn: Lsn, first: &[u8]) -> Result<History, BackupError> {
        let size = identity.segment_size;
        let header = PageHeader::parse(first, start, size).map_err(|source| BackupError::WalPage { lsn, source })?;
        let behind = Lsn(start.0 + header.len() as u64);
        let contrecord = header.flags.has(PageFlags::CONTRECORD);
        let leading_end = if contrecord { size.record_end(behind, header.rem_len) } else { None };
        let stream = WalStream::new(start, size.bytes(), identity.version)
            .map_err(|source| BackupError::Wal { lsn, source })?
            .expect_system_id(identity.system_id);
        Ok(History { lsn, size, stream, last: None, leading_end: leading_end.map(Lsn::align_up) })
    }

    /// Takes the next bytes.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), BackupError> {
        let mut whole = self.stream.feed(bytes);
        loop {
            match whole.next_record() {
                Ok(Some(record)) => self.last = Some(record.start),
                Ok(None) => return Ok(()),
                Err(source) => return Err(BackupError::Wal { lsn: self.lsn, source }),
            }
        }
    }

    /// Where the last record starts, if one does in this segment.
    ///
    /// # Errors
    /// If no record ends where the WAL fed ends.
    pub fn finish(self) -> Result<Option<Lsn>, BackupError> {
        let fed_to = self.stream.fed_to();
        let ends_at = match self.last {
            Some(_) => self.stream.decoded_to(),
            None => self.leading_end.unwrap_or(self.stream.decoded_to()),
        };
        let boundary = Place::at(fed_to, self.size).map(|place| place.end);
        if boundary != Some(ends_at) {
            return Err(BackupError::NoRecordEnd { lsn: self.lsn, last: ends_at });
        }
        Ok(self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pgdata::PgVersion;
    use proptest::prelude::*;

    const MIB: u64 = 1 << 20;
    /// Bytes of a checkpoint record, rounded up to eight.
    const RECORD: u64 = 120;

    fn identity(version: PgVersion) -> WalIdentity {
        WalIdentity { version, timeline: 3, system_id: 42, segment_size: SegmentSize::new(1 << 20).unwrap() }
    }

    fn check_point(place: Place) -> CheckPoint {
        CheckPoint { redo: place.start, next_xid: 1234, ..CheckPoint::initial(PgVersion::V15) }
    }

    /// A server reads the header of the segment first, then the record where `pg_control` says that it is.
    fn reads_back(version: PgVersion, lsn: Lsn) {
        let identity = identity(version);
        let place = Place::at(lsn, identity.segment_size).unwrap();
        let prev = Lsn(lsn.0 - 64);
        let wal = checkpoint_wal(identity, place, prev, &check_point(place)).unwrap();
        let mut stream = WalStream::new(place.end, identity.segment_size.bytes(), version).unwrap();
        let mut whole = stream.feed(&wal);
        let record = whole.next_record().unwrap().expect("a whole record");
        assert_eq!((record.start, record.lsn), (place.start, Lsn(place.end.0 + wal.len() as u64)), "at {lsn}");
        let parsed = wal_decoder::Record::parse(version, record.lsn, record.bytes).unwrap();
        assert_eq!((parsed.rmid, parsed.info, parsed.xid, parsed.prev), (0, 0, 0, prev));
        assert_eq!(CheckPoint::parse(version, parsed.main_data).unwrap().redo, place.start);
    }

    #[test]
    fn a_record_starts_at_the_lsn_or_behind_the_header_of_its_page() {
        let size = SegmentSize::new(1 << 20).unwrap();
        for (lsn, end, start) in [
            (3 * MIB, 3 * MIB, 3 * MIB + 40),
            (3 * MIB + 8, 3 * MIB, 3 * MIB + 40),
            (3 * MIB + 40, 3 * MIB, 3 * MIB + 40),
            (3 * MIB + 48, 3 * MIB + 48, 3 * MIB + 48),
            (3 * MIB + 8192, 3 * MIB + 8192, 3 * MIB + 8192 + 24),
            (3 * MIB + 8192 + 24, 3 * MIB + 8192, 3 * MIB + 8192 + 24),
            (3 * MIB + 8192 + 32, 3 * MIB + 8192 + 32, 3 * MIB + 8192 + 32),
            (3 * MIB + 8185, 3 * MIB + 8192, 3 * MIB + 8192 + 24),
            (4 * MIB - 8, 4 * MIB - 8, 4 * MIB - 8),
        ] {
            assert_eq!(Place::at(Lsn(lsn), size), Some(Place { end: Lsn(end), start: Lsn(start) }), "{}", Lsn(lsn));
        }
        assert_eq!(Place::at(Lsn::INVALID, size), None);
        assert_eq!(Place::at(Lsn::MAX, size), None);
    }

    #[test]
    fn records_are_read_back_from_all_kinds_of_places() {
        for version in PgVersion::ALL {
            for lsn in [3 * MIB, 3 * MIB + 8192, 3 * MIB + 400, 4 * MIB - 8, 4 * MIB - RECORD, 4 * MIB - RECORD + 8] {
                reads_back(version, Lsn(lsn));
            }
        }
    }

    #[test]
    fn a_record_at_a_segments_end_goes_on_in_the_next_segment() {
        let identity = identity(PgVersion::V15);
        let place = Place::at(Lsn(4 * MIB - 16), identity.segment_size).unwrap();
        let wal = checkpoint_wal(identity, place, Lsn(3 * MIB), &check_point(place)).unwrap();
        let header = PageHeader::parse(&wal[16..], Lsn(4 * MIB), identity.segment_size).unwrap();
        assert_eq!(header.rem_len, 114 - 16);
        assert_eq!(header.long, Some(LongPageHeader { system_id: 42, segment_size: identity.segment_size }));
        assert_eq!(header.timeline, 3);
    }

    #[test]
    fn empty_pages_have_right_headers() {
        let identity = identity(PgVersion::V17);
        for address in [3 * MIB, 3 * MIB + 8192] {
            let page = empty_page(identity, Lsn(address));
            assert_eq!(page.len(), WAL_PAGE_SIZE);
            let header = PageHeader::parse(&page, Lsn(address), identity.segment_size).unwrap();
            assert_eq!((header.version, header.timeline, header.rem_len), (PgVersion::V17, 3, 0));
            assert!(page[header.len()..].iter().all(|&byte| byte == 0));
        }
    }

    /// Writes records of these lengths from `start` on, and returns where each of them starts and ends.
    fn history(start: Lsn, lengths: &[usize]) -> (Vec<u8>, Vec<(Lsn, Lsn)>) {
        let mut writer = WalWriter::new(identity(PgVersion::V15), start, Lsn(start.0 - 32)).unwrap();
        let mut places = Vec::new();
        for &length in lengths {
            let data = vec![7; length];
            let record = NewRecord { xid: 0, info: 0, rmid: rmgr::RM_LOGICALMSG_ID, main_data: &data };
            let written = writer.append(&record).unwrap();
            places.push((written.start, written.lsn));
        }
        (writer.bytes().to_vec(), places)
    }

    fn last_record(segment: Lsn, wal: &[u8], end: Lsn) -> Result<Option<Lsn>, BackupError> {
        let wal = &wal[..end.bytes_since(segment) as usize];
        let mut history = History::begin(identity(PgVersion::V15), segment, end, &wal[..wal.len().min(5000)])?;
        for piece in wal.chunks(5000) {
            history.feed(piece)?;
        }
        history.finish()
    }

    #[test]
    fn the_last_record_before_the_end_is_found() {
        let (wal, places) = history(Lsn(3 * MIB), &[10, 20_000, 300, 1]);
        for (start, end) in places {
            assert_eq!(last_record(Lsn(3 * MIB), &wal, end).unwrap(), Some(start));
        }
    }

    #[test]
    fn a_record_from_the_segment_before_may_be_the_last() {
        let start = Lsn(4 * MIB - 80);
        let (wal, places) = history(start, &[30_000, 50]);
        let segment = &wal[80..];
        assert_eq!(last_record(Lsn(4 * MIB), segment, places[0].1).unwrap(), None);
        assert_eq!(last_record(Lsn(4 * MIB), segment, places[1].1).unwrap(), Some(places[1].0));
        let torn = last_record(Lsn(4 * MIB), segment, Lsn(places[0].1.0 - 8));
        assert!(matches!(torn, Err(BackupError::NoRecordEnd { .. })), "{torn:?}");
    }

    #[test]
    fn the_middle_of_a_record_is_no_place_for_a_checkpoint() {
        let (wal, places) = history(Lsn(3 * MIB), &[10, 20_000, 300]);
        let torn = Lsn(places[1].0.0 + 9000);
        let error = last_record(Lsn(3 * MIB), &wal, torn).unwrap_err();
        assert!(matches!(error, BackupError::NoRecordEnd { last, .. } if last == places[0].1), "{error}");
    }

    #[test]
    fn another_clusters_wal_is_refused() {
        let (mut wal, places) = history(Lsn(3 * MIB), &[10]);
        wal[24] ^= 1;
        assert!(matches!(last_record(Lsn(3 * MIB), &wal, places[0].1), Err(BackupError::Wal { .. })));
    }

    proptest! {
        #[test]
        fn every_place_reads_back(offset in 64u64..3 * MIB) {
            reads_back(PgVersion::V16, Lsn(2 * MIB + offset));
        }

        #[test]
        fn history_and_checkpoint_make_one_chain(lengths in prop::collection::vec(1usize..30_000, 1..12)) {
            let (mut wal, places) = history(Lsn(3 * MIB), &lengths);
            let (last, end) = places[places.len() - 1];
            let identity = identity(PgVersion::V15);
            prop_assert_eq!(last_record(Lsn(3 * MIB), &wal, end).unwrap(), Some(last));
            let place = Place::at(end, identity.segment_size).unwrap();
            wal.extend(checkpoint_wal(identity, place, last, &check_point(place)).unwrap());
            let mut stream = WalStream::new(Lsn(3 * MIB), 1 << 20, PgVersion::V15).unwrap();
            let mut whole = stream.feed(&wal);
            let mut starts = Vec::new();
            while let Some(record) = whole.next_record().unwrap() {
                starts.push(record.start);
            }
            prop_assert_eq!(starts.len(), places.len() + 1);
            prop_assert_eq!(starts.last(), Some(&place.start));
        }
    }
}
