//! PostgreSQL WAL bytes to checked records, and to everything a record changes.
#![forbid(unsafe_code)]

mod error;
mod image;
mod pglz;
mod record;
pub mod rmgr;
mod stream;

pub use error::WalError;
pub use image::{BlockImage, Compression, ImageError};
pub use pglz::{PglzError, pglz_decompress};
pub use record::{BlockHeaderError, BlockRef, Record, RecordError};
pub use stream::{RawRecord, WalStream};
