//! What a resource manager's routine is given, and what it answers.

use pgdata::{PgVersion, RelTag};
use wal_decoder::rmgr::XLR_RMGR_INFO_MASK;
use wal_decoder::{BlockRef, PageRecord};

use super::cursor::Cursor;
use super::fault::Fault;

/// A record that refers to the page, and how.
#[derive(Clone, Copy)]
pub(crate) struct Target<'r, 'a> {
    pub record: &'r PageRecord<'a>,
    /// The reference to the page that is at hand; [`BlockRef::id`] tells its part in the record.
    pub block: &'r BlockRef<'a>,
    /// Whether the cluster logs hint bits (`XLogHintBitIsNeeded`): with data checksums or `wal_log_hints`.
    pub hint_bits_logged: bool,
}

/// What a record's routine has done to the page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// Changed it: the page gets the record's LSN.
    Changed,
    /// Left its LSN alone (`MarkBufferDirtyHint` and the like).
    LsnKept,
}

impl<'r, 'a> Target<'r, 'a> {
    pub(crate) fn version(&self) -> PgVersion {
        self.record.version
    }

    /// The resource manager's bits of `xl_info`.
    pub(crate) fn operation(&self) -> u8 {
        self.record.info & XLR_RMGR_INFO_MASK
    }

    /// The page's part in the record.
    pub(crate) fn id(&self) -> u8 {
        self.block.id
    }

    /// The page's block number.
    pub(crate) fn block_number(&self) -> u32 {
        self.block.block
    }

    pub(crate) fn rel(&self) -> RelTag {
        self.block.rel
    }

    /// The record's main data.
    pub(crate) fn main(&self) -> Cursor<'a> {
        Cursor::new("its main data", self.record.main_data)
    }

    /// The data that the record has for this page.
    pub(crate) fn data(&self) -> Cursor<'a> {
        Cursor::new("its block data", self.block.data)
    }

    /// The number of another block of the record, if it names one with this id.
    pub(crate) fn find_block(&self, id: u8) -> Option<u32> {
        self.record.block_number(id)
    }

    /// The number of another block of the record.
    pub(crate) fn other_block(&self, id: u8) -> Result<u32, Fault> {
        self.find_block(id).ok_or(Fault::NoBlock(id))
    }

    /// The error for an operation code that does not exist.
    pub(crate) fn unknown_operation<T>(&self) -> Result<T, Fault> {
        Err(Fault::Operation(self.operation()))
    }

    /// The error for a block id that a record of this type has no use for.
    pub(crate) fn unknown_block<T>(&self) -> Result<T, Fault> {
        Err(Fault::Block(self.id()))
    }
}
