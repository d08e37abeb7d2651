//! A record's fixed header (`XLogRecord`), its CRC, and the record's bytes out of the pages that it lies in.

use super::page::{PageFlags, PageHeader, PageHeaderError, WAL_PAGE_SIZE};
use super::segment::SegmentSize;
use crate::{Lsn, PgVersion};

/// Bytes in a record's fixed header (`SizeOfXLogRecord`).
pub const RECORD_HEADER: usize = 24;

// Offsets of the fields. All numbers are little-endian; bytes 18 and 19 are padding.
const XID: usize = 4;
const PREV: usize = 8;
const INFO: usize = 16;
const RMID: usize = 17;
/// Where the CRC is; it covers what is behind it, and then what is before it.
const CRC: usize = 20;

/// The longest record of a version: `XLogRecordMaxSize`, and before there was one (15), what a reader's allocator takes.
#[must_use]
pub const fn max_record_len(version: PgVersion) -> u32 {
    match version {
        PgVersion::V15 => 0x3FFF_FFFF,
        PgVersion::V16 | PgVersion::V17 | PgVersion::V18 => 1020 * 1024 * 1024,
    }
}

/// The fixed header of a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecordHeader {
    /// `xl_tot_len`: bytes in the whole record, this header included.
    pub total_len: u32,
    /// `xl_xid`: the transaction, or 0.
    pub xid: u32,
    /// `xl_prev`: where the record before this one *starts*.
    pub prev: Lsn,
    /// `xl_info`: the high four bits belong to the resource manager.
    pub info: u8,
    /// `xl_rmid`: the resource manager.
    pub rmid: u8,
    /// `xl_crc`: CRC-32C, see [`record_crc`].
    pub crc: u32,
}

impl RecordHeader {
    /// Reads the fields from a record's first bytes and judges none of them. `None` with fewer than 24 bytes.
    #[must_use]
    #[inline]
    pub fn parse(bytes: &[u8]) -> Option<RecordHeader> {
        let bytes: &[u8; RECORD_HEADER] = bytes.first_chunk()?;
        let u32_at = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        Some(RecordHeader {
            total_len: u32_at(0),
            xid: u32_at(XID),
            prev: Lsn(u64::from(u32_at(PREV)) | u64::from(u32_at(PREV + 4)) << 32),
            info: bytes[INFO],
            rmid: bytes[RMID],
            crc: u32_at(CRC),
        })
    }

    /// The header's 24 bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; RECORD_HEADER] {
        let mut bytes = [0; RECORD_HEADER];
        bytes[..XID].copy_from_slice(&self.total_len.to_le_bytes());
        bytes[XID..PREV].copy_from_slice(&self.xid.to_le_bytes());
        bytes[PREV..INFO].copy_from_slice(&self.prev.0.to_le_bytes());
        bytes[INFO] = self.info;
        bytes[RMID] = self.rmid;
        bytes[CRC..].copy_from_slice(&self.crc.to_le_bytes());
        bytes
    }
}

/// Bytes that are not the record that they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordBytesError {
    /// `xl_tot_len` is not the number of bytes at hand.
    #[error("a record of {got} bytes says that it has {total_len}")]
    Length {
        /// How many bytes there are.
        got: usize,
        /// `xl_tot_len`, or 0 if there are too few bytes for one.
        total_len: u32,
    },
    /// The CRC does not match.
    #[error("a record's CRC-32C is {got:#010X}, its header says {expected:#010X}")]
    Crc {
        /// Computed over the bytes.
        got: u32,
        /// `xl_crc`.
        expected: u32,
    },
    /// No record can start at this position.
    #[error("no record can start at {start}: it is unaligned or in a page header")]
    Start {
        /// The position.
        start: Lsn,
    },
    /// The bytes end before the record does.
    #[error("the record at {start} of {len} bytes goes on at {at}, after the last byte at hand")]
    Truncated {
        /// Where the record starts.
        start: Lsn,
        /// Its length.
        len: u32,
        /// What is missing.
        at: Lsn,
    },
    /// A page that the record runs over has no valid header.
    #[error("the record at {start} runs over a damaged page: {source}")]
    Page {
        /// Where the record starts.
        start: Lsn,
        /// What is wrong.
        source: PageHeaderError,
    },
    /// A page that the record should run over holds the rest of another one, or of none.
    #[error("the record at {start} should go on with {expected} bytes in page {page}, whose header says {got}")]
    Continuation {
        /// Where the record starts.
        start: Lsn,
        /// The page.
        page: Lsn,
        /// How many bytes are left of the record.
        expected: u32,
        /// How many the page's header says are left, 0 if it says that none goes on.
        got: u32,
    },
}

/// The CRC-32C of a whole record: first of all that follows the fixed header, then of the header up to the CRC.
///
/// # Panics
/// With fewer than 24 bytes.
#[must_use]
pub fn record_crc(record: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&record[RECORD_HEADER..]), &record[..CRC])
}

/// Checks that `record` is one whole record: that its length and its CRC are those that its header states.
///
/// # Errors
/// [`RecordBytesError::Length`] and [`RecordBytesError::Crc`].
pub fn verify_record_crc(record: &[u8]) -> Result<(), RecordBytesError> {
    let header = RecordHeader::parse(record);
    let total_len = header.map_or(0, |h| h.total_len);
    match header {
        Some(header) if total_len as usize == record.len() => {
            let got = record_crc(record);
            if got == header.crc { Ok(()) } else { Err(RecordBytesError::Crc { got, expected: header.crc }) }
        }
        _ => Err(RecordBytesError::Length { got: record.len(), total_len }),
    }
}

/// Copies a record of `len` bytes out of the WAL bytes `wal`, the first of which is the record's first, at `start`. `out` holds
/// the record alone afterwards: without the page headers in between, which are checked. The CRC is not: see
/// [`verify_record_crc`]. How many bytes of WAL it takes is what [`SegmentSize::record_end`] says.
///
/// # Errors
/// [`RecordBytesError`] if `wal` ends too early, or if a page on the way does not continue this record.
pub fn strip_page_headers(
    wal: &[u8],
    start: Lsn,
    len: u32,
    size: SegmentSize,
    out: &mut Vec<u8>,
) -> Result<(), RecordBytesError> {
    out.clear();
    if !size.is_record_start(start) {
        return Err(RecordBytesError::Start { start });
    }
    let end = size.record_end(start, len).ok_or(RecordBytesError::Start { start })?;
    if (wal.len() as u64) < end.bytes_since(start) {
        return Err(RecordBytesError::Truncated { start, len, at: Lsn(start.0 + wal.len() as u64) });
    }
    out.reserve(len as usize);
    let (mut at, mut rest) = (start, wal);
    loop {
        let left = len as usize - out.len();
        let room = WAL_PAGE_SIZE - (at.0 as usize % WAL_PAGE_SIZE);
        let (chunk, behind) = rest.split_at(left.min(room));
        out.extend_from_slice(chunk);
        if left <= room {
            return Ok(());
        }
        let page = Lsn(at.0 + room as u64);
        let header = continuation(behind, page, size, start, (left - room) as u32)?;
        at = Lsn(page.0 + header as u64);
        rest = &behind[header..];
    }
}

/// Checks that the page continues the record with `expected` bytes, and tells how long its header is.
fn continuation(
    bytes: &[u8],
    page: Lsn,
    size: SegmentSize,
    start: Lsn,
    expected: u32,
) -> Result<usize, RecordBytesError> {
    let header = PageHeader::parse(bytes, page, size).map_err(|source| RecordBytesError::Page { start, source })?;
    let got = if header.flags.has(PageFlags::CONTRECORD) { header.rem_len } else { 0 };
    if got != expected {
        return Err(RecordBytesError::Continuation { start, page, expected, got });
    }
    Ok(header.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The shutdown checkpoint that PostgreSQL 15's `initdb` wrote at 0/1511A88, header first.
    const CHECKPOINT: &str = "7200000000000000401a51010000000000000000071f04d8ff58881a510100000000010000000100000001\
                              00000000000000d402000000000000053500000100000000000000cc020000010000000100000001000000\
                              00000000857a046b0000000000000000000000000000000000000000";

    fn checkpoint() -> Vec<u8> {
        let digits = CHECKPOINT.as_bytes().chunks(2);
        digits.map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap()).collect()
    }

    #[test]
    fn a_record_of_postgres_has_the_crc_that_it_says() {
        let mut record = checkpoint();
        let header = RecordHeader::parse(&record).unwrap();
        assert_eq!((header.total_len, header.xid, header.prev), (114, 0, Lsn(0x151_1A40)));
        assert_eq!((header.info, header.rmid), (0, 0));
        assert_eq!(verify_record_crc(&record), Ok(()));
        record[60] ^= 1;
        assert!(matches!(verify_record_crc(&record), Err(RecordBytesError::Crc { .. })));
    }

    #[test]
    fn a_header_round_trips() {
        let bytes = checkpoint();
        assert_eq!(RecordHeader::parse(&bytes).unwrap().to_bytes(), bytes[..RECORD_HEADER]);
        assert_eq!(RecordHeader::parse(&bytes[..23]), None);
    }

    #[test]
    fn a_record_of_another_length_than_it_says_is_refused() {
        let mut bytes = checkpoint();
        bytes.push(0);
        assert_eq!(verify_record_crc(&bytes), Err(RecordBytesError::Length { got: 115, total_len: 114 }));
        assert_eq!(verify_record_crc(&[1; 10]), Err(RecordBytesError::Length { got: 10, total_len: 0 }));
    }

    #[test]
    fn a_record_within_a_page_is_copied_as_it_is() {
        let (bytes, mut out) = (checkpoint(), vec![1, 2, 3]);
        let size = SegmentSize::DEFAULT;
        strip_page_headers(&bytes, Lsn(0x151_1A88), 114, size, &mut out).unwrap();
        assert_eq!(out, bytes);
        let unaligned = strip_page_headers(&bytes, Lsn(0x151_1A89), 114, size, &mut out);
        assert_eq!(unaligned, Err(RecordBytesError::Start { start: Lsn(0x151_1A89) }));
    }
}
