//! One record taken apart: its header, block references with their images and data, and the main data.
//!
//! ```text
//! XLogRecord (24 bytes) | block headers, origin, top xid … | main data header | images and data of the blocks | main data
//! ```

mod page;
mod parse;

use pgdata::wal::RecordBytesError;
use pgdata::{Lsn, PgVersion, RelTag};
use smallvec::SmallVec;

use crate::image::BlockImage;
use crate::rmgr::rmgr_name;

pub use page::PageRecord;

/// A record's parts, borrowed from its bytes.
#[derive(Clone, PartialEq, Debug)]
pub struct Record<'a> {
    /// The version that wrote it.
    pub version: PgVersion,
    /// Its LSN: its end.
    pub lsn: Lsn,
    /// The transaction that wrote it, or 0 (`xl_xid`).
    pub xid: u32,
    /// Where the record before it starts (`xl_prev`).
    pub prev: Lsn,
    /// `xl_info`: the high four bits are the resource manager's.
    pub info: u8,
    /// The resource manager (`xl_rmid`), one of the [`rmgr`](crate::rmgr) constants or an extension's.
    pub rmid: u8,
    /// The replication origin that the change came from.
    pub origin: Option<u16>,
    /// The transaction that `xid` is a subtransaction of, where the record tells.
    pub top_xid: Option<u32>,
    /// The blocks that the record refers to, in the order of their ids.
    pub blocks: SmallVec<[BlockRef<'a>; 4]>,
    /// What is not about a single block.
    pub main_data: &'a [u8],
}

/// A reference to a block (`XLogRecordBlockHeader` and what belongs to it).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BlockRef<'a> {
    /// The block's number within the record, 0 to 32; its meaning is the resource manager's.
    pub id: u8,
    /// The relation and fork.
    pub rel: RelTag,
    /// The block's number in it.
    pub block: u32,
    /// Whether redo makes the page anew and needs no earlier version of it (`BKPBLOCK_WILL_INIT`).
    pub will_init: bool,
    /// An image of the whole page.
    pub image: Option<BlockImage<'a>>,
    /// What the resource manager keeps for this block; empty if redo restores the image instead.
    pub data: &'a [u8],
}

/// What keeps bytes from being a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The bytes are no whole record.
    #[error("record ending at {lsn}: {source}")]
    Bytes {
        /// The record's LSN.
        lsn: Lsn,
        /// What is wrong.
        source: RecordBytesError,
    },
    /// The number of no resource manager.
    #[error("record ending at {lsn}: resource manager {rmid} does not exist")]
    Rmgr {
        /// The record's LSN.
        lsn: Lsn,
        /// `xl_rmid`.
        rmid: u8,
    },
    /// The record ends inside a header, or its parts have not the lengths that add up to the record's.
    #[error("record ending at {lsn}: its headers promise {promised} bytes of images and data, {got} are left")]
    Length {
        /// The record's LSN.
        lsn: Lsn,
        /// What the headers add up to; for a header cut short, the bytes that it has at least.
        promised: usize,
        /// What there is.
        got: usize,
    },
    /// An id that means nothing, or a block's id that is not larger than the one before.
    #[error("record ending at {lsn}: block id {id} is unknown or out of order")]
    BlockId {
        /// The record's LSN.
        lsn: Lsn,
        /// The id.
        id: u8,
    },
    /// A block header that contradicts itself.
    #[error("record ending at {lsn}: block {id}: {reason}")]
    Block {
        /// The record's LSN.
        lsn: Lsn,
        /// The block's id.
        id: u8,
        /// What is wrong.
        reason: BlockHeaderError,
    },
    /// The payload is not what a record of this kind carries.
    #[error("record ending at {lsn} ({} info {info:#04X}): {reason}", rmgr_name(*rmid))]
    Payload {
        /// The record's LSN.
        lsn: Lsn,
        /// The resource manager.
        rmid: u8,
        /// `xl_info`.
        info: u8,
        /// What is wrong, with values.
        reason: String,
    },
}

/// How a block header contradicts itself: the checks of `DecodeXLogRecord` and a few that make it certain that an image fits
/// into its page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BlockHeaderError {
    /// No such fork.
    #[error("fork {0} does not exist")]
    Fork(u8),
    /// The flag for data and the length of the data disagree.
    #[error("flags {flags:#04X} do not go with {length} bytes of data")]
    DataFlag {
        /// `fork_flags`.
        flags: u8,
        /// `data_length`.
        length: u16,
    },
    /// The same relation as before, with none before.
    #[error("it has the relation of the block before, but there is none")]
    SameRel,
    /// Image flags without a meaning, or several methods of compression.
    #[error("image flags {0:#04X} are not known")]
    ImageFlags(u8),
    /// The length of the image does not go with its flags and hole.
    #[error(
        "an image of {length} bytes with flags {flags:#04X} and a hole of {hole_length} bytes at {hole_offset} is no page"
    )]
    Image {
        /// `bimg_info`.
        flags: u8,
        /// Bytes of the image.
        length: u16,
        /// Where the hole starts.
        hole_offset: u16,
        /// How long it is; 0 where it follows from the image's length and that is too long.
        hole_length: u16,
    },
}
