//! How the WAL is laid out in bytes: segments, pages with their headers, and records cut up over them.
//!
//! The WAL is one long row of numbered bytes. It is kept in segment files ([`SegmentSize`]) of equal size, each of which is a row
//! of pages of 8192 bytes. A page begins with a header ([`PageHeader`]) of 24 bytes, the first page of a segment with one of 40.
//! What is left over is filled with records, one after the other, each beginning at a multiple of eight. A record that meets the
//! end of a page goes on after the next page's header.
//!
//! ```
//! use pgdata::Lsn;
//! use pgdata::wal::SegmentSize;
//!
//! let size = SegmentSize::new(16 << 20)?;
//! let lsn: Lsn = "0/16B3748".parse().unwrap();
//! assert_eq!(size.file_name(1, size.segment_of(lsn)), "000000010000000000000001");
//! // A record of 10000 bytes there crosses one page header on its way.
//! assert_eq!(size.record_end(lsn, 10_000), Some(Lsn(lsn.0 + 10_000 + 24)));
//! # Ok::<(), pgdata::wal::WalLayoutError>(())
//! ```
//!
//! Formats: `access/xlog_internal.h` and `access/xlogrecord.h`, the same in all versions known here.

mod page;
mod record;
mod segment;

pub use page::{
    LONG_PAGE_HEADER, LongPageHeader, PageFlags, PageHeader, PageHeaderError, SHORT_PAGE_HEADER, WAL_PAGE_SIZE,
};
pub use record::{
    RECORD_HEADER, RecordBytesError, RecordHeader, max_record_len, record_crc, strip_page_headers, verify_record_crc,
};
pub use segment::{SegmentSize, WalLayoutError};
