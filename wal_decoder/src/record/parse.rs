//! Taking a record apart, with the checks of `DecodeXLogRecord` (`access/transam/xlogreader.c`).

use pgdata::wal::{RECORD_HEADER, RecordBytesError, RecordHeader};
use pgdata::{Fork, Lsn, PAGE_SIZE, PgVersion, RelTag};
use smallvec::SmallVec;

use super::{BlockHeaderError, BlockRef, Record, RecordError};
use crate::image::{BlockImage, Compression};
use crate::rmgr::rmgr_is_valid;

/// The largest id of a block (`XLR_MAX_BLOCK_ID`).
const MAX_BLOCK_ID: u8 = 32;
// Ids that are no blocks.
const ID_TOP_XID: u8 = 252;
const ID_ORIGIN: u8 = 253;
const ID_DATA_LONG: u8 = 254;
const ID_DATA_SHORT: u8 = 255;

// `fork_flags` of a block header.
const FORK_MASK: u8 = 0x0F;
const HAS_IMAGE: u8 = 0x10;
const HAS_DATA: u8 = 0x20;
const WILL_INIT: u8 = 0x40;
const SAME_REL: u8 = 0x80;

// `bimg_info` of an image header, as it is since PostgreSQL 15.
const IMAGE_HAS_HOLE: u8 = 0x01;
const IMAGE_APPLY: u8 = 0x02;
const IMAGE_PGLZ: u8 = 0x04;
const IMAGE_LZ4: u8 = 0x08;
const IMAGE_ZSTD: u8 = 0x10;
const IMAGE_COMPRESSION: u8 = IMAGE_PGLZ | IMAGE_LZ4 | IMAGE_ZSTD;
const IMAGE_KNOWN: u8 = 0x1F;

impl<'a> Record<'a> {
    /// Takes a whole record apart. `lsn` is its end; it is kept and named in errors. The CRC is not looked at: who has bytes
    /// that nobody has checked asks [`pgdata::wal::verify_record_crc`] first.
    ///
    /// # Errors
    /// [`RecordError`] unless the record is one that PostgreSQL's own reader takes, to the last byte.
    pub fn parse(version: PgVersion, lsn: Lsn, bytes: &'a [u8]) -> Result<Self, RecordError> {
        let mut record = Record::empty(version, lsn);
        record.fill(bytes)?;
        Ok(record)
    }

    /// [`Record::parse`] for who needs the record only for a moment. It stays where it was made: moving it, some hundred bytes, would take about as
    /// long as reading its headers.
    ///
    /// # Errors
    /// As [`Record::parse`]; `look` is not asked then.
    pub fn with<R>(
        version: PgVersion,
        lsn: Lsn,
        bytes: &'a [u8],
        look: impl FnOnce(&Self) -> R,
    ) -> Result<R, RecordError> {
        let mut record = Record::empty(version, lsn);
        record.fill(bytes)?;
        Ok(look(&record))
    }

    #[inline(always)]
    fn empty(version: PgVersion, lsn: Lsn) -> Self {
        Record {
            version,
            lsn,
            xid: 0,
            prev: Lsn::INVALID,
            info: 0,
            rmid: 0,
            origin: None,
            top_xid: None,
            blocks: SmallVec::new(),
            main_data: &[],
        }
    }

    fn fill(&mut self, bytes: &'a [u8]) -> Result<(), RecordError> {
        let header = fixed_header(self.lsn, bytes)?;
        (self.xid, self.prev, self.info, self.rmid) = (header.xid, header.prev, header.info, header.rmid);
        let mut lengths: SmallVec<[PayloadLengths; 4]> = SmallVec::new();
        let each = |block, of_block| {
            self.blocks.push(block);
            lengths.push(of_block);
        };
        let (about, payload) = read(bytes, each).map_err(|wrong| wrong.with(self.lsn))?;
        (self.origin, self.top_xid) = (about.origin, about.top_xid);
        self.main_data = hand_out(&mut self.blocks, &lengths, payload);
        Ok(())
    }
}

/// The fixed header, checked as far as it can be alone.
#[inline]
pub(super) fn fixed_header(lsn: Lsn, bytes: &[u8]) -> Result<RecordHeader, RecordError> {
    let header = RecordHeader::parse(bytes);
    let total_len = header.map_or(0, |h| h.total_len);
    match header {
        Some(header) if total_len as usize == bytes.len() => {
            if !rmgr_is_valid(header.rmid) {
                return Err(RecordError::Rmgr { lsn, rmid: header.rmid });
            }
            Ok(header)
        }
        _ => {
            let source = RecordBytesError::Length { got: bytes.len(), total_len };
            Err(RecordError::Bytes { lsn, source })
        }
    }
}

/// How many bytes of image and of data a block has.
pub(super) type PayloadLengths = (usize, usize);

/// What headers tell of a record as a whole.
#[derive(Default)]
pub(super) struct About {
    pub origin: Option<u16>,
    pub top_xid: Option<u32>,
    /// How many bytes of main data there are.
    pub main_data: usize,
}

/// What is wrong with headers; small, because it is passed on for every field.
#[derive(Clone, Copy)]
pub(super) enum Wrong {
    Length { promised: usize, got: usize },
    BlockId(u8),
    Block(u8, BlockHeaderError),
}

impl Wrong {
    /// The error for a record with this LSN.
    #[cold]
    pub(super) fn with(self, lsn: Lsn) -> RecordError {
        match self {
            Wrong::Length { promised, got } => RecordError::Length { lsn, promised, got },
            Wrong::BlockId(id) => RecordError::BlockId { lsn, id },
            Wrong::Block(id, reason) => RecordError::Block { lsn, id, reason },
        }
    }
}

/// Reads what follows a record's fixed header, and answers with the payload behind all headers. `each` gets the blocks, which do not have their
/// images and data yet: the lengths are known, not where they lie.
#[inline]
pub(super) fn read<'a>(
    bytes: &'a [u8],
    mut each: impl FnMut(BlockRef<'a>, PayloadLengths),
) -> Result<(About, &'a [u8]), Wrong> {
    let mut reader = Reader { rest: bytes.get(RECORD_HEADER..).unwrap_or(&[]), promised: 0 };
    let (mut about, mut last) = (About::default(), None);
    // The headers end where only promised bytes are left. Main data, if there is any, is announced last.
    while reader.rest.len() > reader.promised {
        let [id] = reader.take()?;
        match id {
            ID_DATA_SHORT => {
                let [length] = reader.take()?;
                about.main_data = usize::from(length);
                break;
            }
            ID_DATA_LONG => {
                about.main_data = reader.u32()? as usize;
                break;
            }
            ID_ORIGIN => about.origin = Some(reader.u16()?),
            ID_TOP_XID => about.top_xid = Some(reader.u32()?),
            _ => {
                if id > MAX_BLOCK_ID || last.is_some_and(|(last, _)| id <= last) {
                    return Err(Wrong::BlockId(id));
                }
                let (block, lengths) = reader.block(id, last.map(|(_, rel)| rel))?;
                last = Some((id, block.rel));
                reader.promised += lengths.0 + lengths.1;
                each(block, lengths);
            }
        }
    }
    let Reader { rest, promised } = reader;
    let promised = promised + about.main_data;
    if rest.len() == promised { Ok((about, rest)) } else { Err(Wrong::Length { promised, got: rest.len() }) }
}

/// Reads headers off the front of a record and adds up the payloads that they promise.
struct Reader<'a> {
    rest: &'a [u8],
    promised: usize,
}

impl<'a> Reader<'a> {
    #[inline]
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Wrong> {
        let Some((field, rest)) = self.rest.split_first_chunk::<N>() else {
            return Err(Wrong::Length { promised: self.promised + N, got: self.rest.len() });
        };
        self.rest = rest;
        Ok(*field)
    }

    #[inline]
    fn u16(&mut self) -> Result<u16, Wrong> {
        self.take().map(u16::from_le_bytes)
    }

    #[inline]
    fn u32(&mut self) -> Result<u32, Wrong> {
        self.take().map(u32::from_le_bytes)
    }

    /// The header of a block; `previous` is the relation of the block before.
    #[inline(always)]
    fn block(&mut self, id: u8, previous: Option<RelTag>) -> Result<(BlockRef<'a>, PayloadLengths), Wrong> {
        let wrong = |reason| Wrong::Block(id, reason);
        let [flags] = self.take()?;
        let fork = Fork::from_number(flags & FORK_MASK).ok_or(wrong(BlockHeaderError::Fork(flags & FORK_MASK)))?;
        let length = self.u16()?;
        if (flags & HAS_DATA != 0) != (length != 0) {
            return Err(wrong(BlockHeaderError::DataFlag { flags, length }));
        }
        let (image, image_len) = match flags & HAS_IMAGE {
            0 => (None, 0),
            _ => self.image(id).map(|(image, len)| (Some(image), len))?,
        };
        let rel = match (flags & SAME_REL, previous) {
            (0, _) => RelTag { spc: self.u32()?, db: self.u32()?, rel: self.u32()?, fork },
            (_, Some(previous)) => previous.with_fork(fork),
            (_, None) => return Err(wrong(BlockHeaderError::SameRel)),
        };
        let block = self.u32()?;
        let block = BlockRef { id, rel, block, will_init: flags & WILL_INIT != 0, image, data: &[] };
        Ok((block, (image_len, usize::from(length))))
    }

    /// The header of a block's image, and how many bytes the image has.
    fn image(&mut self, id: u8) -> Result<(BlockImage<'a>, usize), Wrong> {
        let (length, hole_offset) = (self.u16()?, self.u16()?);
        let [flags] = self.take()?;
        let wrong = |reason| Wrong::Block(id, reason);
        let compression = match flags & IMAGE_COMPRESSION {
            _ if flags & !IMAGE_KNOWN != 0 => return Err(wrong(BlockHeaderError::ImageFlags(flags))),
            0 => Compression::None,
            IMAGE_PGLZ => Compression::Pglz,
            IMAGE_LZ4 => Compression::Lz4,
            IMAGE_ZSTD => Compression::Zstd,
            _ => return Err(wrong(BlockHeaderError::ImageFlags(flags))),
        };
        let has_hole = flags & IMAGE_HAS_HOLE != 0;
        // Without compression the length of the hole follows from that of the image.
        let hole_length = match compression {
            Compression::None => (PAGE_SIZE as u16).saturating_sub(length),
            _ if has_hole => self.u16()?,
            _ => 0,
        };
        let end_of_hole = usize::from(hole_offset) + usize::from(hole_length);
        let hole_fits = match has_hole {
            true => hole_offset > 0 && hole_length > 0 && end_of_hole <= PAGE_SIZE,
            false => hole_offset == 0 && hole_length == 0,
        };
        let length_fits = match compression {
            Compression::None => usize::from(length) + usize::from(hole_length) == PAGE_SIZE,
            _ => usize::from(length) < PAGE_SIZE,
        };
        if !hole_fits || !length_fits {
            return Err(wrong(BlockHeaderError::Image { flags, length, hole_offset, hole_length }));
        }
        let apply = flags & IMAGE_APPLY != 0;
        Ok((BlockImage { apply, hole_offset, hole_length, compression, bytes: &[] }, usize::from(length)))
    }
}

/// Gives the blocks their images and data, which lie in the order of the blocks, and returns what follows: the main data.
fn hand_out<'a>(blocks: &mut [BlockRef<'a>], lengths: &[PayloadLengths], mut rest: &'a [u8]) -> &'a [u8] {
    for (block, &(image_len, data_len)) in blocks.iter_mut().zip(lengths) {
        let (image, behind) = rest.split_at(image_len);
        let (data, behind) = behind.split_at(data_len);
        if let Some(header) = &mut block.image {
            header.bytes = image;
        }
        block.data = data;
        rest = behind;
    }
    rest
}

#[cfg(test)]
mod tests;
