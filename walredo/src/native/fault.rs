//! What was wrong with a page or a record, without saying which: the frame adds page, LSN and type of the record.

use pgdata::PAGE_SIZE;

/// Why a record could not be applied to a page.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    /// The header's pointers are out of order or outside.
    #[error("the page's header is damaged: lower = {lower}, upper = {upper}, special = {special}")]
    Header { lower: usize, upper: usize, special: usize },
    /// The special space is another kind of page's.
    #[error("the page's special space begins at {at}, expected {expected} bytes before the end at {PAGE_SIZE}")]
    Special { at: usize, expected: usize },
    /// No such line pointer.
    #[error("line pointer {number} is wanted, the page has {count}")]
    NoItem { number: u16, count: u16 },
    /// A line pointer that leads out of the space for items, or that has no item.
    #[error("line pointer {number} leads to {length} bytes at {offset}, which are no item of the page")]
    Item { number: u16, offset: usize, length: usize },
    /// A line pointer that should point at a tuple does not.
    #[error("line pointer {number} does not point at a tuple (flags {flags})")]
    NotNormal { number: u16, flags: u8 },
    /// A line pointer that should be free is not.
    #[error("line pointer {number} is in use already")]
    ItemInUse { number: u16 },
    /// Two items share bytes.
    #[error("the item of line pointer {number} overlaps another one")]
    Overlap { number: u16 },
    /// The items together are longer than the space for them.
    #[error("the items have {total} bytes together, there is room for {room}")]
    ItemLengths { total: usize, room: usize },
    /// No room for what the record adds.
    #[error("{needed} bytes do not fit between lower = {lower} and upper = {upper}")]
    NoRoom { needed: usize, lower: usize, upper: usize },
    /// Numbers of items to delete that are not on the page, or not in rising order.
    #[error("only {found} of {wanted} items to delete were found: their numbers are not in order or not on the page")]
    NumbersOutOfOrder { wanted: usize, found: usize },
    /// The record is shorter than what it should carry.
    #[error("the record ends inside {what}: {needed} bytes needed, {left} left")]
    Short { what: &'static str, needed: usize, left: usize },
    /// The record carries more than it should.
    #[error("the record has {left} bytes behind {what}")]
    Long { what: &'static str, left: usize },
    /// A value in the record that cannot be.
    #[error("the record's {what} is {value}")]
    Value { what: &'static str, value: u64 },
    /// A value on the page that cannot be.
    #[error("the page's {what} is {value}")]
    PageValue { what: &'static str, value: u64 },
    /// A heap tuple's number that no posting list can hold.
    #[error("tuple number {0} cannot be in a posting list")]
    PostingTuple(u16),
    /// A compressed posting list whose differences make no heap tuples, or that has none.
    #[error("a compressed posting list is damaged")]
    PostingList,
    /// A posting list does not fit.
    #[error("the posting list is longer than the {room} bytes that are there")]
    PostingRoom { room: usize },
    /// Heap tuples of a posting list do not rise.
    #[error("the heap tuples for a posting list are not in rising order")]
    PostingOrder,
    /// A leaf of a posting tree has no such segment.
    #[error("the page has no segment {0}, or it is damaged")]
    NoSegment(u16),
    /// The operation code means nothing to the resource manager of that version.
    #[error("there is no operation {0:#04X}")]
    Operation(u8),
    /// The record names the page in a place where a record of its type names none.
    #[error("a record of this type does nothing with its block {0}")]
    Block(u8),
    /// A record that consists of images without one.
    #[error("the record has no image to restore")]
    NoImage,
    /// The record names no such block, and should.
    #[error("the record has no block {0}")]
    NoBlock(u8),
}
