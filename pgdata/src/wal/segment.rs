//! Segments: their sizes and file names, and where in them a record ends.

use super::page::{LONG_PAGE_HEADER, SHORT_PAGE_HEADER, WAL_PAGE_SIZE};
use crate::Lsn;

/// A value that the layout of the WAL does not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WalLayoutError {
    /// `wal_segment_size` outside its bounds.
    #[error("{0} is not a WAL segment size: expected a power of two from 1048576 (1 MiB) to 1073741824 (1 GiB)")]
    SegmentSize(u32),
}

/// The size of a cluster's WAL segments: a power of two from 1 MiB to 1 GiB (`IsValidWalSegSize`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SegmentSize(u32);

const PAGE: u64 = WAL_PAGE_SIZE as u64;
/// Bytes for records in a page that is not a segment's first.
const USABLE: u64 = PAGE - SHORT_PAGE_HEADER as u64;
/// How much shorter a segment's first page is.
const LONG_EXTRA: u64 = (LONG_PAGE_HEADER - SHORT_PAGE_HEADER) as u64;

impl SegmentSize {
    /// The size that `initdb` chooses unless told otherwise: 16 MiB.
    pub const DEFAULT: SegmentSize = SegmentSize(16 << 20);

    /// A size in bytes.
    ///
    /// # Errors
    /// [`WalLayoutError::SegmentSize`] if PostgreSQL does not allow it.
    pub const fn new(bytes: u32) -> Result<Self, WalLayoutError> {
        if bytes.is_power_of_two() && bytes >= 1 << 20 && bytes <= 1 << 30 {
            Ok(SegmentSize(bytes))
        } else {
            Err(WalLayoutError::SegmentSize(bytes))
        }
    }

    /// The size in bytes.
    #[must_use]
    pub const fn bytes(self) -> u32 {
        self.0
    }

    /// The number of the segment that holds the byte at `lsn`.
    #[must_use]
    pub const fn segment_of(self, lsn: Lsn) -> u64 {
        lsn.0 / self.0 as u64
    }

    /// The position of a segment's first byte, or `None` past the end of the WAL's numbers.
    #[must_use]
    pub const fn start_of(self, segno: u64) -> Option<Lsn> {
        match segno.checked_mul(self.0 as u64) {
            Some(lsn) => Some(Lsn(lsn)),
            None => None,
        }
    }

    /// How far into its segment a position is.
    #[must_use]
    pub const fn offset_of(self, lsn: Lsn) -> u32 {
        (lsn.0 % self.0 as u64) as u32
    }

    /// `lsn` itself if a segment starts there, else the start of the next segment: what an `XLOG_SWITCH` record moves its end
    /// to. `None` past the end of the WAL's numbers.
    #[must_use]
    pub const fn round_up(self, lsn: Lsn) -> Option<Lsn> {
        match self.offset_of(lsn) {
            0 => Some(lsn),
            offset => lsn.checked_add((self.0 - offset) as u64),
        }
    }

    /// The length of the header of the page that `lsn` lies in: 40 on a segment's first page, else 24.
    #[must_use]
    pub const fn page_header_len(self, lsn: Lsn) -> usize {
        if (self.offset_of(lsn) as usize) < WAL_PAGE_SIZE { LONG_PAGE_HEADER } else { SHORT_PAGE_HEADER }
    }

    /// Whether a record can start at `lsn`: a multiple of eight behind the header of its page.
    #[must_use]
    pub const fn is_record_start(self, lsn: Lsn) -> bool {
        lsn.is_aligned() && lsn.0 % PAGE >= self.page_header_len(lsn) as u64
    }

    /// The position after the last byte of a record of `len` bytes that starts at `start`, page headers included. The record's
    /// LSN is this rounded up to eight ([`Lsn::align_up`]), but for `XLOG_SWITCH`: see [`SegmentSize::round_up`]. A record that
    /// fills its last page ends at that page's end, before the next header. `None` if no record can start there, or if its end
    /// is past the end of the WAL's numbers.
    #[must_use]
    pub fn record_end(self, start: Lsn, len: u32) -> Option<Lsn> {
        if !self.is_record_start(start) {
            return None;
        }
        let end = self.usable_before(start).checked_add(u64::from(len))?;
        self.end_of_usable(end)
    }

    /// Where the record of `len` bytes starts that has this LSN: the other way round than [`SegmentSize::record_end`] with
    /// [`Lsn::align_up`]. `None` if there can be no such record.
    #[must_use]
    pub fn record_start(self, lsn: Lsn, len: u32) -> Option<Lsn> {
        let in_page = lsn.0 % PAGE;
        let before = match in_page {
            _ if !lsn.is_aligned() => return None,
            // A record that fills its last page.
            0 => self.usable_before_page(lsn),
            _ if in_page <= self.page_header_len(lsn) as u64 => return None,
            _ => self.usable_before(lsn),
        };
        let start = self.start_of_usable(before.checked_sub(Lsn(u64::from(len)).align_up().0)?)?;
        (len > 0).then_some(start)
    }

    /// How many bytes for records lie before one that starts at `start` (`XLogRecPtrToBytePos`): a record's place in WAL without its page headers.
    /// Each record starts where the one before ends, rounded up to eight, unless that one ended its segment early. `None` if no record can
    /// start there.
    #[must_use]
    pub const fn record_position(self, start: Lsn) -> Option<u64> {
        if self.is_record_start(start) { Some(self.usable_before(start)) } else { None }
    }

    /// Bytes for records in one segment.
    const fn usable_per_segment(self) -> u64 {
        (self.0 as u64 / PAGE) * USABLE - LONG_EXTRA
    }

    /// How many bytes for records lie before a position behind its page's header (`XLogRecPtrToBytePos`).
    const fn usable_before(self, lsn: Lsn) -> u64 {
        let offset = self.offset_of(lsn) as u64;
        let (page, in_page) = (offset / PAGE, offset % PAGE);
        let in_segment = page * USABLE + in_page - SHORT_PAGE_HEADER as u64 - LONG_EXTRA;
        self.segment_of(lsn) * self.usable_per_segment() + in_segment
    }

    /// How many bytes for records lie before the start of a page.
    const fn usable_before_page(self, lsn: Lsn) -> u64 {
        let page = self.offset_of(lsn) as u64 / PAGE;
        let in_segment = if page == 0 { 0 } else { page * USABLE - LONG_EXTRA };
        self.segment_of(lsn) * self.usable_per_segment() + in_segment
    }

    /// The position of the byte for records that so many come before (`XLogBytePosToRecPtr`).
    fn start_of_usable(self, count: u64) -> Option<Lsn> {
        let (segno, left) = (count / self.usable_per_segment(), count % self.usable_per_segment());
        let in_pages = left + LONG_EXTRA;
        let offset = in_pages / USABLE * PAGE + SHORT_PAGE_HEADER as u64 + in_pages % USABLE;
        self.start_of(segno)?.checked_add(offset)
    }

    /// The position behind the `count`th byte for records (`XLogBytePosToEndRecPtr`), `count` > 0 but for an empty record.
    fn end_of_usable(self, count: u64) -> Option<Lsn> {
        let (segno, left) = (count / self.usable_per_segment(), count % self.usable_per_segment());
        let offset = if left == 0 {
            0
        } else {
            let in_pages = left + LONG_EXTRA;
            match in_pages % USABLE {
                0 => in_pages / USABLE * PAGE,
                rest => in_pages / USABLE * PAGE + SHORT_PAGE_HEADER as u64 + rest,
            }
        };
        self.start_of(segno)?.checked_add(offset)
    }

    /// The name of a segment file: timeline, and the segment's number as two parts, each as eight hexadecimal digits.
    #[must_use]
    pub fn file_name(self, timeline: u32, segno: u64) -> String {
        let per_id = self.segments_per_id();
        format!("{timeline:08X}{:08X}{:08X}", segno / per_id, segno % per_id)
    }

    /// The timeline and segment number in a file name, or `None` if it is not a segment's name for this size.
    #[must_use]
    pub fn parse_file_name(self, name: &str) -> Option<(u32, u64)> {
        let digits = name.len() == 24 && name.bytes().all(|b| matches!(b, b'0'..=b'9' | b'A'..=b'F'));
        if !digits {
            return None;
        }
        let part = |at: usize| u32::from_str_radix(&name[at..at + 8], 16).ok();
        let (timeline, id, segment) = (part(0)?, u64::from(part(8)?), u64::from(part(16)?));
        (segment < self.segments_per_id()).then_some((timeline, id * self.segments_per_id() + segment))
    }

    /// Segments in 4 GiB of WAL: what the last eight digits of a file name count.
    const fn segments_per_id(self) -> u64 {
        (1 << 32) / self.0 as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_powers_of_two_within_bounds_are_sizes() {
        for shift in 20..=30 {
            assert_eq!(SegmentSize::new(1 << shift).unwrap().bytes(), 1 << shift);
        }
        for bytes in [0, 1, 8192, 1 << 19, (1 << 20) + 1, 3 << 20, 1 << 31, u32::MAX] {
            assert_eq!(SegmentSize::new(bytes), Err(WalLayoutError::SegmentSize(bytes)));
        }
    }

    #[test]
    fn file_names_are_those_of_postgres() {
        let mib16 = SegmentSize::DEFAULT;
        assert_eq!(mib16.file_name(1, 1), "000000010000000000000001");
        assert_eq!(mib16.file_name(0x1F, 0x1_23), "0000001F0000000100000023");
        let mib1 = SegmentSize::new(1 << 20).unwrap();
        assert_eq!(mib1.file_name(2, 0x1ABC), "000000020000000100000ABC");
        for size in [mib1, mib16, SegmentSize::new(1 << 30).unwrap()] {
            for segno in [0, 1, 5, 255, 256, 4096, 1 << 30] {
                assert_eq!(size.parse_file_name(&size.file_name(7, segno)), Some((7, segno)));
            }
        }
    }

    #[test]
    fn other_file_names_are_refused() {
        let size = SegmentSize::DEFAULT;
        for name in
            ["", "00000001.history", "000000010000000000000100", "00000001000000000000000a", "00000001000000000000000é"]
        {
            assert_eq!(size.parse_file_name(name), None, "{name:?}");
        }
    }

    /// Walks the pages one by one, as a check on the arithmetic.
    fn walked_end(size: SegmentSize, start: Lsn, len: u32) -> Lsn {
        let (mut at, mut left) = (start.0, u64::from(len));
        loop {
            let room = PAGE - at % PAGE;
            if left <= room {
                return Lsn(at + left);
            }
            left -= room;
            at += room;
            at += size.page_header_len(Lsn(at)) as u64;
        }
    }

    #[test]
    fn record_ends_agree_with_a_walk_over_the_pages() {
        let size = SegmentSize::new(1 << 20).unwrap();
        let segment = 1u64 << 20;
        for start in
            [40, 8184, 8192 + 24, segment - 8, segment + 40, 3 * segment - 8192 + 24, 5 * segment + 8192 * 7 + 800]
        {
            for len in [24, 25, 31, 32, 8128, 8151, 8152, 8153, 8168, 8169, 16320, 100_000, 1_040_000, 5_000_000] {
                let start = Lsn(start);
                assert_eq!(size.record_end(start, len), Some(walked_end(size, start, len)), "{start} {len}");
            }
        }
    }

    #[test]
    fn a_record_is_found_by_its_end_and_lies_behind_the_one_before() {
        for size in [SegmentSize::new(1 << 20).unwrap(), SegmentSize::DEFAULT] {
            let mut start = Lsn(u64::from(size.bytes()) * 3 + 40);
            for len in (24..).step_by(7).take(3000).chain([8128, 8168, 16_336, 3_000_000, 24, 25]) {
                let lsn = size.record_end(start, len).unwrap().align_up();
                assert_eq!(size.record_start(lsn, len), Some(start), "{start} {len}");
                let next = if lsn.0.is_multiple_of(PAGE) { Lsn(lsn.0 + size.page_header_len(lsn) as u64) } else { lsn };
                let (position, behind) = (size.record_position(start).unwrap(), size.record_position(next).unwrap());
                assert_eq!(behind - position, u64::from(len.next_multiple_of(8)), "{start} {len}");
                start = next;
            }
        }
    }

    #[test]
    fn nothing_ends_in_a_header_or_before_the_first_record() {
        let size = SegmentSize::DEFAULT;
        for (lsn, len) in
            [(8192 + 8, 24), (8192 + 24, 24), (8192 + 60, 24), (64, 0), (56, 24), (0, 24), ((16 << 20) + 16, 24)]
        {
            assert_eq!(size.record_start(Lsn(lsn), len), None, "{lsn} {len}");
        }
        assert_eq!(size.record_start(Lsn(64), 24), Some(Lsn(40)));
        assert_eq!(size.record_start(Lsn(8192), 24), Some(Lsn(8192 - 24)));
        assert_eq!(size.record_start(Lsn(8192 + 32), 32), Some(Lsn(8192 - 24)));
        assert_eq!((size.record_position(Lsn(40)), size.record_position(Lsn(8192 + 24))), (Some(0), Some(8152)));
        assert_eq!((size.record_position(Lsn(8192 + 16)), size.record_position(Lsn(44))), (None, None));
    }

    #[test]
    fn a_record_that_fills_its_page_ends_before_the_next_header() {
        let size = SegmentSize::DEFAULT;
        assert_eq!(size.record_end(Lsn(8192 + 24), 8168), Some(Lsn(2 * 8192)));
        assert_eq!(size.record_end(Lsn((16 << 20) - 32), 32), Some(Lsn(16 << 20)));
    }

    #[test]
    fn no_record_starts_in_a_header_or_unaligned_or_past_the_end() {
        let size = SegmentSize::DEFAULT;
        for start in [0, 8, 32, 41, 8192, 8192 + 16, 8192 + 25] {
            assert_eq!(size.record_end(Lsn(start), 24), None, "{start}");
        }
        assert_eq!(size.record_end(Lsn(u64::MAX - 7), 24), None);
        assert_eq!(size.start_of(u64::MAX), None);
    }

    #[test]
    fn a_switch_ends_with_its_segment() {
        let size = SegmentSize::DEFAULT;
        assert_eq!(size.round_up(Lsn(0x100_0028)), Some(Lsn(0x200_0000)));
        assert_eq!(size.round_up(Lsn(0x200_0000)), Some(Lsn(0x200_0000)));
        assert_eq!(size.round_up(Lsn::MAX), None);
    }
}
