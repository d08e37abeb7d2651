//! Versions of PostgreSQL pages by key and LSN, on disk and in memory.
//!
//! A [`PageCache`] is one timeline: everything that a cluster was since a base backup. It is told what each WAL record changes and
//! answers how any page came about at any LSN: a *base* (a page of the backup, zeros, nothing, a page of the database that this one
//! was copied from) and the *records* to apply to it. Applying them is not its business, and neither is decoding.
//!
//! **Attaching.** [`BaseWriter`] takes the files of a base backup as a stream and writes one image layer, whose pages each
//! have a checksum, and last, in one step, the manifest that makes the directory a timeline:
//!
//! ```text
//! timeline.json                      what the timeline is, which layer belongs to it
//! layers/base-0000000002000028.img   the base image; its format is drawn in the source of the module `layer`
//! wal/000000010000000000000002 …     the WAL as it was received, byte for byte
//! images/00000001.img …              pages as they were later, so that fewer records have to be applied
//! flushed                            up to where whole records were on disk, which tells damage from the end of the log
//! ```
//!
//! **Writing** is the same after a start as with new WAL but for the first line; nothing of it is done by two threads at once:
//!
//! 1. [`WalLog::append`] keeps the WAL, and [`WalLog::sync`] makes it durable; only what `sync` answered may be acknowledged to the sender.
//! 2. Whoever can decode makes [`Batch`]es: where the records are that were appended, and their changes; [`PageCache::ingest_batch`] takes them up. That may
//!    be done while another thread appends and syncs.
//! 3. [`PageCache::advance`] makes what is durable visible and wakes those who [wait](PageCache::wait_for) for it.
//!
//! When a timeline is opened, its index is empty: the WAL since the base image is read from the log ([`WalLog::read_from`]) and taken up
//! again. Nothing can be read before that has passed the first consistent LSN.
//!
//! **Reading**, by any number of threads, sees at an LSN the same for ever. Records of recent history are shared with the reader out of
//! memory; older ones are read back from the WAL log, one system call each, and verified. No lock is held over any of it.
//!
//! **Images.** A page that has got many records since the base image, or since an image of it was kept, is one that
//! [`PageCache::pages_to_image`] names. Whoever can do redo makes it, and [`PageCache::keep_images`] appends it to the image log; a lookup of any later
//! LSN begins there. Images say nothing that the WAL does not say: one that is damaged or missing costs time. After a start they are in use
//! when the WAL has been taken up ([`PageCache::use_images`]); those of WAL that is gone are removed first ([`PageCache::remove_void_images`]).
//!
//! **What happens to objects**, their sizes, ends, truncations, and copied or dropped databases, is kept as the history of each object and
//! database, so that a relation or a copy of a whole database costs the same however many there are.
//!
//! ```
//! use page_cache::{Base, BaseWriter, Options, PageCache, TimelineInfo};
//! use pgdata::wal::SegmentSize;
//! use pgdata::{Change, Fork, Lsn, PAGE_SIZE, PageEffect, PageKey, PgVersion, RelTag};
//!
//! # let parent = tempfile::tempdir()?;
//! # let dir = parent.path().join("timeline");
//! let table = RelTag { spc: 1663, db: 5, rel: 16384, fork: Fork::Main };
//! let info = TimelineInfo {
//!     version: PgVersion::V15,
//!     system_id: 7,
//!     segment_size: SegmentSize::DEFAULT,
//!     pg_timeline: 1,
//!     start_lsn: Lsn(0x200_0028),
//! };
//! // A base backup with a table of one page.
//! let mut writer = BaseWriter::create(&dir, info)?;
//! writer.pages(table.into(), 0, &[1; PAGE_SIZE])?;
//! writer.finish(info.start_lsn)?;
//!
//! // A record arrives: 40 bytes of page header, then 48 of a record that changes the page.
//! let cache = PageCache::open(&dir, Options::default())?;
//! let (start, end) = (Lsn(0x200_0028), Lsn(0x200_0058));
//! cache.wal().append(cache.wal().end(), &[0; 88])?;
//! assert_eq!(cache.wal().sync()?, end);
//! let key = PageKey::relation(table, 0);
//! cache.ingest(start, end, 48, &[Change::Page { key, effect: PageEffect::Modify }])?;
//! cache.advance(end)?;
//!
//! // The page at the record's end is that of the backup with the record applied to it.
//! let mut page = [0; PAGE_SIZE];
//! let found = cache.lookup(key, end, &mut page)?;
//! assert_eq!(found.base, Base::Page);
//! assert_eq!(page, [1; PAGE_SIZE]);
//! assert_eq!((found.records.len(), found.records[0].lsn()), (1, end));
//! // Before, it is that of the backup.
//! assert!(cache.lookup(key, info.start_lsn, &mut page)?.records.is_empty());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod base_writer;
mod batch;
mod cache;
mod flush_mark;
mod images;
mod index;
mod ingest;
mod layer;
mod lookup;
mod manifest;
mod page_images;
mod reading;
mod status;
mod storage;
mod wal_log;

pub use base_writer::{AttachError, BaseWriter};
pub use batch::Batch;
pub use cache::{OpenError, Options, PageCache, Poison, ReadError};
pub use index::{IngestFault, PageVersion};
pub use ingest::{AdvanceError, IngestError};
pub use layer::{LayerContentError, LayerError, LayerFormatError};
pub use lookup::{Base, Lookup, LookupError};
pub use manifest::{MANIFEST, ManifestError, TimelineInfo};
pub use page_images::KeepImagesError;
pub use seqwait::WaitError;
pub use status::Status;
pub use storage::{FileSystem, Storage, StorageError, StorageFile};
pub use wal_log::{RecordBytes, WalLog, WalLogError, WalReader};

/// What the fuzzer calls: parsers of files, as functions of bytes.
#[doc(hidden)]
pub mod fuzzing {
    use crate::layer::LayerIndex;
    use crate::manifest::Manifest;

    /// Whether the bytes are a manifest, but for the checksum; what is accepted means the same when it is written and read again.
    #[must_use]
    pub fn manifest_round_trips(bytes: &[u8]) -> bool {
        Manifest::parse_unchecked(bytes).is_ok_and(|manifest| {
            assert_eq!(Manifest::parse(&manifest.to_bytes()).expect("it was accepted before"), manifest);
            true
        })
    }

    /// Whether the bytes are the footer of a file of images; what is accepted means the same when it is written and read again.
    #[must_use]
    pub fn image_footer_round_trips(bytes: &[u8]) -> bool {
        crate::images::parse_footer(bytes).is_ok_and(|names| {
            let again = crate::images::parse_footer(&crate::images::footer(&names));
            assert_eq!(again.expect("it was accepted before"), names);
            true
        })
    }

    /// Whether the bytes are the footer of a layer; what is accepted gives the same bytes when it is written.
    #[must_use]
    pub fn layer_footer_round_trips(bytes: &[u8]) -> bool {
        LayerIndex::parse(bytes, 1 << 40).is_ok_and(|index| {
            assert_eq!(index.to_bytes().expect("it was accepted before"), bytes);
            true
        })
    }
}
