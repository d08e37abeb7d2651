//! The image log: what pages were at later LSNs than the base image's, so that not all of their records have to be applied again each time.
//!
//! An image is never the only copy of anything. It says what the records before it say, and whoever cannot read it makes the page of these. So the log
//! needs no manifest and few syncs: a byte that a crash or a disk has changed is noticed by a checksum, and costs time.
//!
//! Files are `images/00000001.img`, `images/00000002.img`, … Each takes a number of pages, is then completed by an index and made durable, and does
//! not change any more. The last one has no index: when it is opened, its entries are read one by one.
//!
//! ```text
//! 0         header, 64 bytes
//!             0  8  magic "PGIMGLOG"
//!             8  4  format version, 1
//!            12  4  page size, 8192
//!            16  8  system identifier of the cluster
//!            24  4  the file's number
//!            28  8  salt: a random number, the file's own
//!            36  4  who made the images: see below
//!            40 20  zeros
//!            60  4  CRC-32C of the 60 bytes before it
//! 64        entries of 8224 bytes:
//!                  20 the page's key, as in an image layer; 8 LSN; 4 CRC-32C over the salt, both and the page; 8192 the page
//! footer    for each entry 28 bytes: key and LSN
//! trailer   the last 32 bytes of the file
//!             0  4  number of entries
//!             4  4  CRC-32C of the footer
//!             8 12  zeros
//!            20  4  CRC-32C of the 20 bytes before it
//!            24  8  magic "PGIMGFIN"
//! ```
//!
//! All numbers are little-endian.
//!
//! **The salt**, which is durable before the first entry is written, is there because entries are believed that never were: after a power loss some file systems give a file that was
//! written last what its blocks held before, and that can be entries of a file that was removed, of this number even. Their LSNs may be those of other WAL.
//!
//! **The maker** is a number that changes when the same records come to make another page: when something in redo is put right. Files of another one are removed.

mod format;
mod log;
mod policy;

pub(crate) use format::{footer, parse_footer};
pub(crate) use log::{DEFAULT_FILE_PAGES, ImageLog, ImageLogError};
pub(crate) use policy::pending_limit;
