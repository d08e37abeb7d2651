//! A timeline in numbers.

use pgdata::Lsn;

use crate::cache::PageCache;

/// What a timeline holds and how far it is.
#[derive(Clone, Debug)]
pub struct Status {
    /// Where the base image's WAL starts.
    pub start_lsn: Lsn,
    /// The first LSN that can be read.
    pub consistent_lsn: Lsn,
    /// The last LSN that can be read.
    pub last_record_lsn: Lsn,
    /// The end of the WAL received.
    pub wal_end: Lsn,
    /// The end of the WAL that survives a crash.
    pub wal_flushed: Lsn,
    /// Bytes of WAL on disk.
    pub wal_bytes: u64,
    /// Bytes of the base image on disk.
    pub layer_bytes: u64,
    /// Images of pages that are kept.
    pub images: usize,
    /// Bytes of these on disk.
    pub image_bytes: u64,
    /// How many of them were found to be damaged, and are not used, since the timeline was opened.
    pub damaged_images: u64,
    /// Objects that exist or existed.
    pub objects: usize,
    /// Pages that changed since the base image.
    pub pages: usize,
    /// Changes of pages.
    pub versions: usize,
    /// About how many bytes of memory the index takes.
    pub index_bytes: usize,
    /// Bytes of memory that the newest WAL takes.
    pub window_bytes: usize,
    /// Why no more records are taken up, if so.
    pub poison: Option<String>,
    /// Why no more WAL is taken, if so.
    pub wal_poison: Option<String>,
}

impl PageCache {
    /// The timeline in numbers. They need not all be of the same moment.
    #[must_use]
    pub fn status(&self) -> Status {
        let state = self.read_state();
        let size = state.index.measure();
        let poison = state.poison.as_ref().map(ToString::to_string);
        drop(state);
        Status {
            start_lsn: self.info().start_lsn,
            consistent_lsn: self.consistent_lsn(),
            last_record_lsn: self.last_record_lsn(),
            wal_end: self.wal.end(),
            wal_flushed: self.wal.flushed(),
            wal_bytes: self.wal.end().bytes_since(self.wal.start()),
            layer_bytes: self.layer.bytes(),
            images: size.images,
            image_bytes: self.images.bytes(),
            damaged_images: self.images.damaged(),
            objects: size.objects,
            pages: size.pages,
            versions: size.versions,
            index_bytes: size.bytes,
            window_bytes: self.wal.window_bytes(),
            poison,
            wal_poison: self.wal.poison().map(|error| error.to_string()),
        }
    }
}
