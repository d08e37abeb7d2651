//! One timeline, opened.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use pgdata::{ClusterState, Lsn};
use seqwait::{SeqWait, WaitError};

use crate::base_writer::{LAYERS, WAL};
use crate::flush_mark::FlushMark;
use crate::images::DEFAULT_FILE_PAGES;
use crate::index::{Index, IngestFault};
use crate::layer::{Expected, ImageLayer, LayerError};
use crate::manifest::{Manifest, ManifestError, TimelineInfo};
use crate::page_images::Images;
use crate::storage::{FileSystem, Storage, StorageError};
use crate::wal_log::{WalLog, WalLogError};

/// How a timeline is kept in memory.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Bytes of memory for the newest WAL. Older records are read back from disk.
    pub window_bytes: usize,
    /// How much disk images of pages may take, in percent of the WAL's bytes: see [`PageCache::pages_to_image`]. With 0 there are none.
    pub image_percent: u32,
    /// Who makes images: a number that changes when the same records come to make another page. Those of another one are removed.
    pub image_maker: u32,
    /// Pages in a file of images.
    pub image_file_pages: u32,
}

impl Default for Options {
    /// 256 MiB of WAL; images take as much disk as the WAL, in files of 256 MiB.
    fn default() -> Self {
        Options { window_bytes: 256 << 20, image_percent: 100, image_maker: 0, image_file_pages: DEFAULT_FILE_PAGES }
    }
}

/// Why a directory cannot be opened as a timeline.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is no timeline, or its manifest is damaged.
    #[error("cannot open the timeline in {}: {source}", dir.display())]
    Manifest {
        /// The directory.
        dir: PathBuf,
        /// What is wrong.
        source: ManifestError,
    },
    /// The base image is damaged.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// The WAL log is damaged.
    #[error(transparent)]
    Wal(#[from] WalLogError),
    /// The images of pages are neither to be read nor to be put aside.
    #[error(transparent)]
    Images(#[from] StorageError),
}

/// Why a timeline cannot be read at an LSN.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The WAL up to there has not arrived.
    #[error("{lsn} is not reached yet: the last record ends at {last}")]
    NotYet {
        /// The LSN asked for.
        lsn: Lsn,
        /// `last_record_lsn`.
        last: Lsn,
    },
    /// Nothing is known of the database at that time.
    #[error("{lsn} is before {consistent}, the first LSN at which the timeline is consistent")]
    BeforeConsistent {
        /// The LSN asked for.
        lsn: Lsn,
        /// The first LSN that can be asked for.
        consistent: Lsn,
    },
    /// Nobody said what the cluster state was at the start: [`PageCache::set_initial_cluster`] was not called.
    #[error("the cluster state at the start of the timeline is not known")]
    NoClusterState,
    /// A small file of the base image is damaged.
    #[error(transparent)]
    Layer(#[from] LayerError),
}

/// Why a timeline takes no more records: it stays readable up to the last good one.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the timeline takes no records after {good}: {fault}")]
pub struct Poison {
    /// The LSN of the last record that was taken up wholly.
    pub good: Lsn,
    /// What was wrong with the next one.
    pub fault: IngestFault,
}

pub(crate) struct State {
    pub index: Index,
    /// The LSN of the last record taken up.
    pub ingested: Lsn,
    pub poison: Option<Arc<Poison>>,
}

/// One timeline's versions on disk and in memory. See the [crate's documentation](crate).
///
/// One thread at a time appends WAL, one makes it durable, one takes up records, one advances, any number of threads read. What a reader sees at an LSN never changes.
pub struct PageCache {
    manifest: Manifest,
    pub(crate) layer: ImageLayer,
    pub(crate) wal: WalLog,
    pub(crate) images: Images,
    mark: FlushMark,
    state: RwLock<State>,
    pub(crate) last: SeqWait<Lsn>,
}

impl PageCache {
    /// Opens the timeline in `dir`: verifies the manifest, the index of the base image and the lengths of the WAL files.
    ///
    /// Nothing after the base image is known yet. The caller reads the log ([`WalLog::read_from`], from
    /// [`TimelineInfo::start_lsn`] on), decodes it, and ingests and advances as it does with new WAL. Until that has passed
    /// [`PageCache::consistent_lsn`], nothing can be read.
    ///
    /// # Errors
    /// [`OpenError`] if this is no timeline or something in it is damaged.
    pub fn open(dir: &Path, options: Options) -> Result<PageCache, OpenError> {
        Self::open_on(Arc::new(FileSystem), dir, options)
    }

    /// [`PageCache::open`] on another storage than the operating system's files.
    ///
    /// # Errors
    /// As [`PageCache::open`].
    pub fn open_on(storage: Arc<dyn Storage>, dir: &Path, options: Options) -> Result<PageCache, OpenError> {
        let manifest =
            Manifest::read(&*storage, dir).map_err(|source| OpenError::Manifest { dir: dir.to_owned(), source })?;
        let info = manifest.info;
        let expected = Expected {
            bytes: manifest.layer.bytes,
            footer_crc: manifest.layer.footer_crc,
            system_id: info.system_id,
            lsn: info.start_lsn,
        };
        let layer = ImageLayer::open(&*storage, &dir.join(LAYERS).join(&manifest.layer.name), expected)?;
        let mark = FlushMark::open(Arc::clone(&storage), dir);
        let wal = WalLog::open(Arc::clone(&storage), &dir.join(WAL), info, options.window_bytes)?;
        let images = Images::open(storage, dir, info.system_id, &options)?;
        let watched = options.image_percent > 0;
        let mut index = Index::new(info.version, info.segment_size, manifest.consistent_lsn, watched);
        layer.index().objects().for_each(|(object, blocks)| index.add_base_object(object, blocks));
        layer.index().blobs().for_each(|name| index.add_base_blob(name));
        let state = RwLock::new(State { index, ingested: info.start_lsn, poison: None });
        Ok(PageCache { manifest, layer, wal, images, mark, state, last: SeqWait::new(info.start_lsn) })
    }

    /// What the timeline is.
    #[must_use]
    pub fn info(&self) -> &TimelineInfo {
        &self.manifest.info
    }

    /// The first LSN at which it can be read.
    #[must_use]
    pub fn consistent_lsn(&self) -> Lsn {
        self.manifest.consistent_lsn
    }

    /// Its WAL on disk.
    #[must_use]
    pub fn wal(&self) -> &WalLog {
        &self.wal
    }

    /// The LSN of the last record that readers can see. This is its one owner.
    #[must_use]
    pub fn last_record_lsn(&self) -> Lsn {
        self.last.load()
    }

    /// Where the sender of WAL should start again: what was received behind the last whole record is void
    /// ([`WalLog::truncate_to`] this LSN before appending). It is [`PageCache::last_record_lsn`], or earlier while the rest of a
    /// segment that ended early has not arrived.
    #[must_use]
    pub fn resume_lsn(&self) -> Lsn {
        self.last.load().min(self.wal.end())
    }

    /// Notes how far whole records are on disk now, so that the next process can tell damage from the end of the log. Without it, it only knows less.
    ///
    /// # Errors
    /// If the note could not be written. It is older then, and true.
    pub fn note_flushed(&self) -> Result<(), StorageError> {
        self.mark.note(self.resume_lsn().min(self.wal.flushed()))
    }

    /// Up to where whole records were on disk, as far as this or an earlier process has noted; [`Lsn::INVALID`] if nothing is known. If less is
    /// there now, it is damaged.
    #[must_use]
    pub fn noted_flushed(&self) -> Lsn {
        self.mark.noted()
    }

    /// Waits until the record that ends at `lsn` can be seen.
    ///
    /// # Errors
    /// [`WaitError::Timeout`], and [`WaitError::Shutdown`] after [`PageCache::shutdown`].
    pub fn wait_for(&self, lsn: Lsn, timeout: Duration) -> Result<(), WaitError<Lsn>> {
        self.last.wait_for_timeout(lsn, timeout)
    }

    /// Ends all waiting for LSNs that are not reached, now and later: no more WAL will come. What is there stays readable.
    pub fn shutdown(&self) {
        self.last.shutdown();
    }

    /// Says what the cluster state is at the start of the timeline: what the blob `global/pg_control` of the base image says.
    pub fn set_initial_cluster(&self, state: ClusterState) {
        self.write_state().index.set_initial_cluster(state);
    }

    pub(crate) fn read_state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write_state(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the timeline can be read at an LSN.
    pub(crate) fn check_lsn(&self, lsn: Lsn) -> Result<(), ReadError> {
        let (last, consistent) = (self.last.load(), self.consistent_lsn());
        if lsn < consistent {
            return Err(ReadError::BeforeConsistent { lsn, consistent });
        }
        if lsn > last { Err(ReadError::NotYet { lsn, last }) } else { Ok(()) }
    }
}
