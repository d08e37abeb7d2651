//! The image layer: every page and every small file of a cluster as a base backup found them, in one immutable file.
//!
//! ```text
//! 0         header, 64 bytes
//!             0  8  magic "PGIMAGE" NUL
//!             8  4  format version, 1
//!            12  4  page size, 8192
//!            16  8  system identifier of the cluster
//!            24  8  LSN of the image
//!            32 28  zeros
//!            60  4  CRC-32C of the 60 bytes before it
//! 64        data, in the order in which it arrived:
//!             a page:       8192 bytes, then 4 bytes CRC-32C over the page's key (20 bytes, below) and the page;
//!                           pages with consecutive numbers that arrived one after the other form a run: page i of a run
//!                           is at the run's offset + i * 8196
//!             a small file: its bytes
//! footer    index; every count is followed by so many entries:
//!             4  number of objects      16 object, 4 size in blocks
//!             4  number of runs          4 number of its object in the list above, 4 first block, 4 blocks, 8 file offset;
//!                                        sorted by object and first block; together they hold each block of each object once
//!             4  number of small files   2 length of name, name (UTF-8), 8 file offset, 8 bytes, 4 CRC-32C of the content
//! trailer   the last 32 bytes of the file
//!             0  8  file offset of the footer
//!             8  8  bytes in the footer
//!            16  4  CRC-32C of the footer
//!            20  4  CRC-32C of the 20 bytes before it
//!            24  8  magic "PGIMGEND"
//! ```
//!
//! All numbers are little-endian. An object takes 16 bytes: one byte 0 for a relation, then its fork, two zeros, and tablespace, database
//! and relation as four bytes each; or one byte 1 for an SLRU segment, then its kind, two zeros, the segment's number and eight
//! zeros. A page's key is its object followed by its block number. No byte of the file is without a checksum: what a reader
//! gets is what was written, or an error.
//!
//! The index of a file is as big as the number of files that the cluster had, not as its number of pages.

mod format;
mod index;
mod reader;
mod writer;

pub use format::LayerFormatError;
pub(crate) use format::{OBJECT, object_bytes, parse_object};
pub(crate) use index::LayerIndex;
pub(crate) use index::max_blocks;
pub use reader::LayerError;
pub(crate) use reader::{Expected, ImageLayer};
pub use writer::LayerContentError;
pub(crate) use writer::LayerWriter;
