//! A record as one of its pages sees it.

use pgdata::{Lsn, PgVersion, RelTag};

use super::parse::{fixed_header, read};
use super::{BlockRef, RecordError};

/// What redo of one page needs of a record. All of the record is checked, as [`Record::parse`](super::Record::parse) does, but nothing is kept of the references to
/// other pages: who needs one of them reads its header again.
#[derive(Clone, Copy, Debug)]
pub struct PageRecord<'a> {
    /// The version that wrote it.
    pub version: PgVersion,
    /// Its LSN: its end.
    pub lsn: Lsn,
    /// The transaction that wrote it, or 0 (`xl_xid`).
    pub xid: u32,
    /// `xl_info`.
    pub info: u8,
    /// The resource manager (`xl_rmid`).
    pub rmid: u8,
    /// The first reference to the page, if there is one.
    pub block: Option<BlockRef<'a>>,
    /// What is not about a single block.
    pub main_data: &'a [u8],
    bytes: &'a [u8],
}

impl<'a> PageRecord<'a> {
    /// Takes a whole record apart as far as block `number` of `rel` is concerned.
    ///
    /// # Errors
    /// Those of [`Record::parse`](super::Record::parse).
    #[inline]
    pub fn parse(
        version: PgVersion,
        lsn: Lsn,
        bytes: &'a [u8],
        rel: RelTag,
        number: u32,
    ) -> Result<PageRecord<'a>, RecordError> {
        let header = fixed_header(lsn, bytes)?;
        let (mut block, mut image, mut data, mut at) = (None, 0..0, 0..0, 0);
        let each = |found: BlockRef<'a>, (image_len, data_len)| {
            if block.is_none() && found.block == number && found.rel == rel {
                block = Some(found);
                (image, data) = (at..at + image_len, at + image_len..at + image_len + data_len);
            }
            at += image_len + data_len;
        };
        let (about, payload) = read(bytes, each).map_err(|wrong| wrong.with(lsn))?;
        if let Some(block) = &mut block {
            block.data = &payload[data];
            if let Some(header) = &mut block.image {
                header.bytes = &payload[image];
            }
        }
        let main_data = &payload[payload.len() - about.main_data..];
        Ok(PageRecord { version, lsn, xid: header.xid, info: header.info, rmid: header.rmid, block, main_data, bytes })
    }

    /// The number of the block that has this id in the record, if there is one.
    #[must_use]
    pub fn block_number(&self, id: u8) -> Option<u32> {
        let mut number = None;
        let each = |found: BlockRef<'_>, _| {
            if found.id == id {
                number = Some(found.block);
            }
        };
        read(self.bytes, each).ok()?;
        number
    }
}
