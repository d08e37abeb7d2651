//! Versions of PostgreSQL pages by key and LSN, on disk and in memory.
#![forbid(unsafe_code)]

mod base_writer;
mod batch;
mod cache;
mod index;
mod ingest;
mod layer;
mod lookup;
mod manifest;
mod reading;
mod status;
mod storage;
mod wal_log;
mod window;

pub use base_writer::{AttachError, BaseWriter};
pub use batch::Batch;
pub use cache::{OpenError, Options, PageCache, Poison, ReadError};
pub use index::IngestFault;
pub use ingest::{AdvanceError, IngestError};
pub use layer::{LayerContentError, LayerError, LayerFormatError};
pub use lookup::{Base, Lookup, LookupError};
pub use manifest::{ManifestError, TimelineInfo};
pub use seqwait::WaitError;
pub use status::Status;
pub use storage::{FileSystem, Storage, StorageError, StorageFile};
pub use wal_log::{WalLog, WalLogError, WalReader};
pub use window::RecordBytes;

/// What the fuzzer calls: parsers of files, as functions of bytes.
#[doc(hidden)]
pub mod fuzzing {
    pub use crate::layer::LayerIndex;
    use crate::manifest::Manifest;

    /// A manifest that is accepted means the same when it is written and read again.
    pub fn manifest_round_trips(bytes: &[u8]) -> bool {
        Manifest::parse(bytes).is_ok_and(|manifest| {
            assert_eq!(Manifest::parse(&manifest.to_bytes()).expect("it was accepted before"), manifest);
            true
        })
    }
}
