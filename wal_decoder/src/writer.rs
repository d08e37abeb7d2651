//! Making WAL: records with their CRC, laid into pages with their headers.

use pgdata::wal::{
    LongPageHeader, PageFlags, PageHeader, RECORD_HEADER, RecordHeader, SegmentSize, WAL_PAGE_SIZE, max_record_len,
    record_crc,
};
use pgdata::{Lsn, PgVersion};

use crate::WalError;
use crate::stream::at_page_start;

/// Main data up to this length has a length of one byte before it.
const SHORT_DATA_MAX: usize = 255;
const ID_DATA_SHORT: u8 = 255;
const ID_DATA_LONG: u8 = 254;

/// A record to be written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NewRecord<'a> {
    /// The transaction, or 0.
    pub xid: u32,
    /// `xl_info`.
    pub info: u8,
    /// The resource manager.
    pub rmid: u8,
    /// The record's main data. It refers to no blocks.
    pub main_data: &'a [u8],
}

impl NewRecord<'_> {
    /// The record's bytes, if the record before it starts at `prev`.
    ///
    /// # Errors
    /// [`WalError::RecordLength`] if it is longer than a record of the version may be.
    pub fn encode(&self, version: PgVersion, prev: Lsn) -> Result<Vec<u8>, WalError> {
        let mut body = Vec::with_capacity(self.main_data.len() + 5);
        match self.main_data.len() {
            0 => {}
            len @ 1..=SHORT_DATA_MAX => body.extend_from_slice(&[ID_DATA_SHORT, len as u8]),
            len => {
                let len = u32::try_from(len).unwrap_or(u32::MAX);
                body.push(ID_DATA_LONG);
                body.extend_from_slice(&len.to_le_bytes());
            }
        }
        body.extend_from_slice(self.main_data);
        self.with_body(version, prev, &body)
    }

    /// A record with another body than the main data makes: all that follows the fixed header.
    pub(crate) fn with_body(&self, version: PgVersion, prev: Lsn, body: &[u8]) -> Result<Vec<u8>, WalError> {
        let total_len = u32::try_from(RECORD_HEADER + body.len()).unwrap_or(u32::MAX);
        let max = max_record_len(version);
        if total_len > max {
            return Err(WalError::RecordLength { start: prev, got: total_len, min: RECORD_HEADER as u32, max });
        }
        let header = RecordHeader { total_len, xid: self.xid, prev, info: self.info, rmid: self.rmid, crc: 0 };
        let mut bytes = Vec::with_capacity(RECORD_HEADER + body.len());
        bytes.extend_from_slice(&header.to_bytes());
        bytes.extend_from_slice(body);
        let crc = record_crc(&bytes);
        bytes[..RECORD_HEADER].copy_from_slice(&RecordHeader { crc, ..header }.to_bytes());
        Ok(bytes)
    }
}

/// Whose WAL is written: what stands in page headers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WalIdentity {
    /// The version.
    pub version: PgVersion,
    /// The timeline.
    pub timeline: u32,
    /// The cluster's system identifier.
    pub system_id: u64,
    /// The cluster's segment size.
    pub segment_size: SegmentSize,
}

/// Where a record was put.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Written {
    /// Where its first byte is.
    pub start: Lsn,
    /// Its LSN: the position after it, rounded up to eight.
    pub lsn: Lsn,
}

/// Writes records one after the other, from a record boundary or the start of a page on.
///
/// ```
/// use pgdata::wal::SegmentSize;
/// use pgdata::{Lsn, PgVersion};
/// use wal_decoder::{NewRecord, WalIdentity, WalStream, WalWriter, rmgr};
///
/// let segment_size = SegmentSize::DEFAULT;
/// let identity = WalIdentity { version: PgVersion::V15, timeline: 1, system_id: 42, segment_size };
/// let start = Lsn(3 * u64::from(segment_size.bytes()));
/// let mut writer = WalWriter::new(identity, start, Lsn(start.0 - 32))?;
/// let nothing = NewRecord { xid: 0, info: 0x20, rmid: rmgr::RM_XLOG_ID, main_data: &[] };
/// let written = writer.append(&nothing)?;
///
/// let mut stream = WalStream::new(start, segment_size.bytes(), PgVersion::V15)?;
/// let mut whole = stream.feed(writer.bytes());
/// let record = whole.next_record()?.expect("a whole record was fed");
/// assert_eq!((record.start, record.lsn), (written.start, written.lsn));
/// # Ok::<(), wal_decoder::WalError>(())
/// ```
#[derive(Debug)]
pub struct WalWriter {
    identity: WalIdentity,
    bytes: Vec<u8>,
    position: Lsn,
    prev: Lsn,
}

impl WalWriter {
    /// Begins at `start`; the record before starts at `prev`.
    ///
    /// # Errors
    /// [`WalError::Start`] if no record and no page can start there.
    pub fn new(identity: WalIdentity, start: Lsn, prev: Lsn) -> Result<Self, WalError> {
        if !at_page_start(start) && !identity.segment_size.is_record_start(start) {
            return Err(WalError::Start { start });
        }
        Ok(WalWriter { identity, bytes: Vec::new(), position: start, prev })
    }

    /// The WAL from the start up to the end of the last record.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The position after what is written.
    #[must_use]
    pub fn position(&self) -> Lsn {
        self.position
    }

    /// Writes a record behind the one before.
    ///
    /// # Errors
    /// [`WalError::RecordLength`] if it is too long.
    pub fn append(&mut self, record: &NewRecord<'_>) -> Result<Written, WalError> {
        let record = record.encode(self.identity.version, self.prev)?;
        Ok(self.place(&record))
    }

    /// Zeros up to the end of the segment: what follows an `XLOG_SWITCH`, and what a segment file ends with behind its last
    /// record. It does nothing at a segment's start.
    pub fn fill_segment(&mut self) {
        let offset = self.identity.segment_size.offset_of(self.position);
        if offset != 0 {
            self.zeros(self.identity.segment_size.bytes() - offset);
        }
    }

    fn zeros(&mut self, count: u32) {
        self.bytes.resize(self.bytes.len() + count as usize, 0);
        self.position.0 += u64::from(count);
    }

    /// Cuts a whole record up into pages.
    pub(crate) fn place(&mut self, record: &[u8]) -> Written {
        if at_page_start(self.position) {
            self.page_header(0);
        }
        let start = self.position;
        let mut rest = record;
        loop {
            let room = WAL_PAGE_SIZE - self.position.0 as usize % WAL_PAGE_SIZE;
            let (part, behind) = rest.split_at(rest.len().min(room));
            self.bytes.extend_from_slice(part);
            self.position.0 += part.len() as u64;
            rest = behind;
            if rest.is_empty() {
                break;
            }
            self.page_header(rest.len() as u32);
        }
        let padding = self.position.align_up().bytes_since(self.position);
        self.zeros(padding as u32);
        self.prev = start;
        Written { start, lsn: self.position }
    }

    /// The header of the page that starts here and continues a record with `rem_len` bytes.
    fn page_header(&mut self, rem_len: u32) {
        let WalIdentity { version, timeline, system_id, segment_size } = self.identity;
        let first = segment_size.offset_of(self.position) == 0;
        let header = PageHeader {
            version,
            flags: PageFlags(if rem_len > 0 { PageFlags::CONTRECORD } else { 0 }),
            timeline,
            address: self.position,
            rem_len,
            long: first.then_some(LongPageHeader { system_id, segment_size }),
        };
        header.write(&mut self.bytes);
        self.position.0 += header.len() as u64;
    }
}
