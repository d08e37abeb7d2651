//! Headers of WAL pages (`XLogPageHeaderData`, `XLogLongPageHeaderData`).

use super::segment::SegmentSize;
use crate::{Lsn, PgVersion, UnknownVersion};

/// Bytes in a WAL page (`XLOG_BLCKSZ`; clusters built with another value are refused).
pub const WAL_PAGE_SIZE: usize = 8192;
/// Bytes in the header of a page that is not its segment's first.
pub const SHORT_PAGE_HEADER: usize = 24;
/// Bytes in the header of a segment's first page.
pub const LONG_PAGE_HEADER: usize = 40;

// Offsets of the fields. All numbers are little-endian; bytes 20 to 23 are padding.
const MAGIC: usize = 0;
const INFO: usize = 2;
const TIMELINE: usize = 4;
const ADDRESS: usize = 8;
const REM_LEN: usize = 16;
const SYSTEM_ID: usize = 24;
const SEGMENT_SIZE: usize = 32;
const BLOCK_SIZE: usize = 36;

/// The bits of `xlp_info`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PageFlags(pub u16);

impl PageFlags {
    /// The page begins with the rest of a record (`XLP_FIRST_IS_CONTRECORD`).
    pub const CONTRECORD: u16 = 0x0001;
    /// The header has 40 bytes (`XLP_LONG_HEADER`).
    pub const LONG_HEADER: u16 = 0x0002;
    /// Full-page images that start in this page may be taken out by an archiver (`XLP_BKP_REMOVABLE`).
    pub const BKP_REMOVABLE: u16 = 0x0004;
    /// The rest of the record before this page was never written: the record is void, and a new one starts here
    /// (`XLP_FIRST_IS_OVERWRITE_CONTRECORD`).
    pub const OVERWRITE_CONTRECORD: u16 = 0x0008;
    /// All bits that have a meaning (`XLP_ALL_FLAGS`).
    pub const ALL: u16 = 0x000F;

    /// Whether all of these bits are set.
    #[must_use]
    pub const fn has(self, bits: u16) -> bool {
        self.0 & bits == bits
    }
}

/// What the header of a segment's first page has in addition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LongPageHeader {
    /// The cluster's system identifier.
    pub system_id: u64,
    /// Bytes in a segment.
    pub segment_size: SegmentSize,
}

/// The header of a WAL page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PageHeader {
    /// The version that wrote the page, from its magic number.
    pub version: PgVersion,
    /// `xlp_info`.
    pub flags: PageFlags,
    /// The timeline of the first record on the page.
    pub timeline: u32,
    /// The position of the page's first byte.
    pub address: Lsn,
    /// With [`PageFlags::CONTRECORD`]: how many bytes of the record remain, on this page and on later ones.
    pub rem_len: u32,
    /// On a segment's first page: the rest of its header.
    pub long: Option<LongPageHeader>,
}

/// Bytes that are not the header of the WAL page at a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PageHeaderError {
    /// Fewer bytes than a header has.
    #[error("WAL page {page}: {got} bytes are no header of {need}")]
    Short {
        /// Where the page starts.
        page: Lsn,
        /// How many bytes there are.
        got: usize,
        /// How many the header there has.
        need: usize,
    },
    /// The whole header is zeros: a page of a file made ahead of time, nothing was ever written here.
    #[error("WAL page {page}: it was never written, its header is all zeros")]
    Zero {
        /// Where the page starts.
        page: Lsn,
    },
    /// The magic number of no supported version.
    #[error("WAL page {page}: {source}")]
    Version {
        /// Where the page starts.
        page: Lsn,
        /// The number.
        source: UnknownVersion,
    },
    /// Bits without a meaning, or a long header that is not at a segment's start, or a short one there.
    #[error("WAL page {page}: info bits {got:#06X} are wrong there (long header expected: {long})")]
    Flags {
        /// Where the page starts.
        page: Lsn,
        /// The bits found.
        got: u16,
        /// Whether the page is its segment's first.
        long: bool,
    },
    /// The page says that it lies elsewhere: mostly what is left of a recycled segment file.
    #[error("WAL page {page}: its header says that it is page {got}")]
    Address {
        /// Where the page starts.
        page: Lsn,
        /// Where it says that it starts.
        got: Lsn,
    },
    /// Another segment size than the cluster's.
    #[error("WAL page {page}: it says that segments have {got} bytes, expected {expected}")]
    SegmentSize {
        /// Where the page starts.
        page: Lsn,
        /// The size in the header.
        got: u32,
        /// The size that the reader goes by.
        expected: u32,
    },
    /// A cluster built with another page size.
    #[error("WAL page {page}: it says that WAL pages have {got} bytes, only {WAL_PAGE_SIZE} is supported")]
    BlockSize {
        /// Where the page starts.
        page: Lsn,
        /// The size in the header.
        got: u32,
    },
    /// A continuation without a length, or a length without a continuation flag cannot be told apart from damage.
    #[error("WAL page {page}: a continuation of {got} bytes")]
    RemLen {
        /// Where the page starts.
        page: Lsn,
        /// `xlp_rem_len`.
        got: u32,
    },
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

impl PageHeader {
    /// Reads the header of the page at `page` from the page's first bytes and checks everything that
    /// `XLogReaderValidatePageHeader` checks, but for the system identifier and the order of timelines, which need a memory.
    ///
    /// # Errors
    /// [`PageHeaderError`], naming the page, what it has and what was expected.
    pub fn parse(bytes: &[u8], page: Lsn, size: SegmentSize) -> Result<Self, PageHeaderError> {
        let need = size.page_header_len(page);
        let Some(bytes) = bytes.get(..need) else {
            return Err(PageHeaderError::Short { page, got: bytes.len(), need });
        };
        let magic = u16_at(bytes, MAGIC);
        if magic == 0 && bytes.iter().all(|&b| b == 0) {
            return Err(PageHeaderError::Zero { page });
        }
        let version = PgVersion::from_page_magic(magic).map_err(|source| PageHeaderError::Version { page, source })?;
        let flags = PageFlags(u16_at(bytes, INFO));
        let long = need == LONG_PAGE_HEADER;
        if flags.0 & !PageFlags::ALL != 0 || flags.has(PageFlags::LONG_HEADER) != long {
            return Err(PageHeaderError::Flags { page, got: flags.0, long });
        }
        let address = Lsn(u64_at(bytes, ADDRESS));
        if address != page {
            return Err(PageHeaderError::Address { page, got: address });
        }
        let rem_len = u32_at(bytes, REM_LEN);
        if flags.has(PageFlags::CONTRECORD) && rem_len == 0 {
            return Err(PageHeaderError::RemLen { page, got: rem_len });
        }
        let long = if long { Some(LongPageHeader::parse(bytes, page, size)?) } else { None };
        Ok(PageHeader { version, flags, timeline: u32_at(bytes, TIMELINE), address, rem_len, long })
    }

    /// Reads the first page header of a segment file of which nothing is known, and takes its word for the position and the
    /// segment size: for tools that are given a file.
    ///
    /// # Errors
    /// [`PageHeaderError`] if the bytes do not begin with the header of a segment's first page.
    pub fn of_segment(bytes: &[u8]) -> Result<(Self, SegmentSize), PageHeaderError> {
        let Some(bytes) = bytes.get(..LONG_PAGE_HEADER) else {
            return Err(PageHeaderError::Short { page: Lsn::INVALID, got: bytes.len(), need: LONG_PAGE_HEADER });
        };
        let page = Lsn(u64_at(bytes, ADDRESS));
        let got = u32_at(bytes, SEGMENT_SIZE);
        // A version without a known layout is the better thing to complain of.
        PgVersion::from_page_magic(u16_at(bytes, MAGIC)).map_err(|source| PageHeaderError::Version { page, source })?;
        let size = SegmentSize::new(got).map_err(|_| PageHeaderError::SegmentSize { page, got, expected: 0 })?;
        if size.offset_of(page) != 0 {
            return Err(PageHeaderError::Address { page: Lsn::INVALID, got: page });
        }
        Ok((PageHeader::parse(bytes, page, size)?, size))
    }

    /// How many bytes the header takes: 24 or 40.
    #[must_use]
    pub const fn len(&self) -> usize {
        if self.long.is_some() { LONG_PAGE_HEADER } else { SHORT_PAGE_HEADER }
    }

    /// Never: a header has at least 24 bytes.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        false
    }

    /// Appends the header's 24 or 40 bytes. Whether the flag for a long header is set follows from [`PageHeader::long`].
    pub fn write(&self, out: &mut Vec<u8>) {
        let flags = match self.long {
            Some(_) => self.flags.0 | PageFlags::LONG_HEADER,
            None => self.flags.0 & !PageFlags::LONG_HEADER,
        };
        out.extend_from_slice(&self.version.page_magic().to_le_bytes());
        out.extend_from_slice(&flags.to_le_bytes());
        out.extend_from_slice(&self.timeline.to_le_bytes());
        out.extend_from_slice(&self.address.0.to_le_bytes());
        out.extend_from_slice(&self.rem_len.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        if let Some(long) = &self.long {
            out.extend_from_slice(&long.system_id.to_le_bytes());
            out.extend_from_slice(&long.segment_size.bytes().to_le_bytes());
            out.extend_from_slice(&(WAL_PAGE_SIZE as u32).to_le_bytes());
        }
    }
}

impl LongPageHeader {
    fn parse(bytes: &[u8], page: Lsn, size: SegmentSize) -> Result<Self, PageHeaderError> {
        let segment_size = u32_at(bytes, SEGMENT_SIZE);
        if segment_size != size.bytes() {
            return Err(PageHeaderError::SegmentSize { page, got: segment_size, expected: size.bytes() });
        }
        let block_size = u32_at(bytes, BLOCK_SIZE);
        if block_size != WAL_PAGE_SIZE as u32 {
            return Err(PageHeaderError::BlockSize { page, got: block_size });
        }
        Ok(LongPageHeader { system_id: u64_at(bytes, SYSTEM_ID), segment_size: size })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: SegmentSize = SegmentSize::DEFAULT;
    const SEGMENT: Lsn = Lsn(16 << 20);
    const SECOND: Lsn = Lsn((16 << 20) + 8192);

    fn long() -> PageHeader {
        let long = Some(LongPageHeader { system_id: 0x1122_3344_5566_7788, segment_size: SIZE });
        PageHeader { long, address: SEGMENT, flags: PageFlags(PageFlags::LONG_HEADER), rem_len: 0, ..short() }
    }

    fn short() -> PageHeader {
        let flags = PageFlags(PageFlags::CONTRECORD);
        PageHeader { version: PgVersion::V15, flags, timeline: 3, address: SECOND, rem_len: 77, long: None }
    }

    fn bytes(header: PageHeader) -> Vec<u8> {
        let mut out = Vec::new();
        header.write(&mut out);
        out
    }

    #[test]
    fn a_short_header_has_24_bytes_in_their_order() {
        let expected = [0x10, 0xD1, 1, 0, 3, 0, 0, 0, 0, 0x20, 0, 1, 0, 0, 0, 0, 77, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(bytes(short()), expected);
    }

    #[test]
    fn headers_of_all_versions_round_trip() {
        for version in PgVersion::ALL {
            for header in [PageHeader { version, ..short() }, PageHeader { version, ..long() }] {
                let bytes = bytes(header);
                assert_eq!(bytes.len(), header.len());
                assert_eq!(PageHeader::parse(&bytes, header.address, SIZE), Ok(header));
            }
        }
    }

    #[test]
    fn an_unsupported_version_is_named() {
        let mut bytes = bytes(short());
        bytes[0] = 0x0D;
        let error = PageHeader::parse(&bytes, SECOND, SIZE).unwrap_err();
        assert_eq!(
            error.to_string(),
            "WAL page 0/1002000: WAL page magic 0xD10D belongs to no supported PostgreSQL version (15 to 18 are)"
        );
    }

    #[test]
    fn a_page_from_elsewhere_is_refused() {
        let error = PageHeader::parse(&bytes(short()), Lsn(SECOND.0 + 8192), SIZE);
        assert_eq!(error, Err(PageHeaderError::Address { page: Lsn(SECOND.0 + 8192), got: SECOND }));
    }

    #[test]
    fn a_long_header_stands_at_a_segments_start_and_only_there() {
        let at_start = PageHeader { address: SEGMENT, ..short() };
        let mut padded = bytes(at_start);
        padded.resize(LONG_PAGE_HEADER, 0);
        assert!(matches!(PageHeader::parse(&padded, SEGMENT, SIZE), Err(PageHeaderError::Flags { long: true, .. })));
        let inside = PageHeader { address: SECOND, ..long() };
        let error = PageHeader::parse(&bytes(inside), SECOND, SIZE);
        assert!(matches!(error, Err(PageHeaderError::Flags { long: false, .. })));
    }

    #[test]
    fn sizes_in_a_long_header_must_be_the_readers() {
        let other = SegmentSize::new(1 << 20).unwrap();
        let error = PageHeader::parse(&bytes(long()), SEGMENT, other);
        assert_eq!(error, Err(PageHeaderError::SegmentSize { page: SEGMENT, got: 16 << 20, expected: 1 << 20 }));
        let mut bytes = bytes(long());
        bytes[BLOCK_SIZE + 1] = 0x40;
        let error = PageHeader::parse(&bytes, SEGMENT, SIZE);
        assert_eq!(error, Err(PageHeaderError::BlockSize { page: SEGMENT, got: 16384 }));
    }

    #[test]
    fn a_segment_file_tells_what_it_is() {
        let header = long();
        assert_eq!(PageHeader::of_segment(&bytes(header)), Ok((header, SIZE)));
        assert!(matches!(PageHeader::of_segment(&bytes(short())), Err(PageHeaderError::Short { .. })));
        let elsewhere = PageHeader { address: SECOND, ..header };
        assert!(matches!(PageHeader::of_segment(&bytes(elsewhere)), Err(PageHeaderError::Address { .. })));
        assert!(matches!(PageHeader::of_segment(&[0; 40]), Err(PageHeaderError::Version { .. })));
    }

    #[test]
    fn unknown_bits_empty_continuations_zeros_and_short_input_are_refused() {
        let unknown = PageHeader { flags: PageFlags(0x10), ..short() };
        assert!(matches!(PageHeader::parse(&bytes(unknown), SECOND, SIZE), Err(PageHeaderError::Flags { .. })));
        let empty = PageHeader { rem_len: 0, ..short() };
        assert!(matches!(PageHeader::parse(&bytes(empty), SECOND, SIZE), Err(PageHeaderError::RemLen { .. })));
        assert_eq!(PageHeader::parse(&[0; 24], SECOND, SIZE), Err(PageHeaderError::Zero { page: SECOND }));
        let error = PageHeader::parse(&bytes(long())[..39], SEGMENT, SIZE);
        assert_eq!(error, Err(PageHeaderError::Short { page: SEGMENT, got: 39, need: 40 }));
    }
}
