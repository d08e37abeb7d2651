//! Images of pages, kept so that not all records since the base image have to be applied each time.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pgdata::{Lsn, Page, PageKey};

use crate::cache::{Options, PageCache, ReadError};
use crate::images::{ImageLog, ImageLogError, pending_limit};
use crate::index::{ImageNumber, KeptImage};
use crate::storage::{Storage, StorageError};

/// Why images of pages are not kept. Nothing depends on them but time.
#[derive(Debug, thiserror::Error)]
pub enum KeepImagesError {
    /// The timeline cannot be read at this LSN.
    #[error(transparent)]
    Lsn(#[from] ReadError),
    /// [`PageCache::use_images`] was not called.
    #[error("the images that are there already are not in use yet")]
    NotInUse,
    /// They could not be written.
    #[error("{0}")]
    NotWritten(String),
    /// Making them durable failed, now or before: no more are kept until the timeline is opened again.
    #[error("no images are kept any more: {0}")]
    Stopped(Arc<StorageError>),
}

/// The images of one timeline, and what is said of them.
#[derive(Debug)]
pub(crate) struct Images {
    log: ImageLog,
    percent: u32,
    /// What was found on disk, until it is in use.
    found: Mutex<Option<Vec<KeptImage>>>,
    damaged: AtomicU64,
}

impl Images {
    pub fn open(
        storage: Arc<dyn Storage>,
        dir: &Path,
        system_id: u64,
        options: &Options,
    ) -> Result<Self, StorageError> {
        let (log, found) = ImageLog::open(storage, dir, system_id, options.image_maker, options.image_file_pages)?;
        let found = Mutex::new(Some(found));
        Ok(Images { log, percent: options.image_percent, found, damaged: AtomicU64::new(0) })
    }

    fn found(&self) -> MutexGuard<'_, Option<Vec<KeptImage>>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes on disk.
    pub fn bytes(&self) -> u64 {
        self.log.bytes()
    }

    /// How many were found to be damaged since the start.
    pub fn damaged(&self) -> u64 {
        self.damaged.load(Ordering::Relaxed)
    }
}

impl PageCache {
    /// Removes, durably, the images that an earlier process kept of LSNs that are not reached: the WAL there is gone, and what comes in its place
    /// may be other WAL. To be called when all of the log was taken up and before anything is appended to it. Answers with how many went.
    ///
    /// # Errors
    /// If it fails, the timeline must not take more WAL.
    pub fn remove_void_images(&self) -> Result<usize, StorageError> {
        let mut found = self.images.found();
        let Some(found) = found.as_mut() else { return Ok(0) };
        let removed = self.images.log.remove_after(self.last_record_lsn(), found)?;
        if removed > 0 {
            tracing::warn!(removed, last = %self.last_record_lsn(), "images of pages go with the WAL that they were made of");
        }
        Ok(removed)
    }

    /// Brings the images that an earlier process kept into use: to be called when all of the log was taken up. Before, pages are made of the base
    /// image and all of their records.
    pub fn use_images(&self) {
        let last = self.last_record_lsn();
        let Some(found) = self.images.found().take() else { return };
        let mut found: Vec<KeptImage> = found.into_iter().filter(|image| image.lsn <= last).collect();
        // Page by page, for adding one image to a page takes as long as adding all of them.
        found.sort_by_key(|image| (image.key, image.lsn));
        let mut pages = found.chunk_by(|a, b| a.key == b.key).peekable();
        while pages.peek().is_some() {
            // Readers are let in between.
            let mut state = self.write_state();
            for page in pages.by_ref().take(1 << 10) {
                state.index.add_images(page);
            }
        }
    }

    /// Whether [`PageCache::pages_to_image`] has something to look at.
    #[must_use]
    pub fn has_grown_pages(&self) -> bool {
        self.read_state().index.has_grown()
    }

    /// The pages that have got so many records since the last call that an image of each should be made and [kept](PageCache::keep_images), in the
    /// order of their keys. How many records are many depends on the disk that images may take, and on what they take.
    #[must_use]
    pub fn pages_to_image(&self) -> Vec<PageKey> {
        let wal_bytes = self.wal.end().bytes_since(self.wal.start());
        let Some(limit) = pending_limit(self.images.log.bytes(), wal_bytes, self.images.percent) else {
            return Vec::new();
        };
        let last = self.last_record_lsn();
        if last < self.consistent_lsn() {
            return Vec::new();
        }
        let mut grown = self.write_state().index.take_grown();
        // Without the lock: after a start these are all pages that have a history.
        grown.sort_unstable();
        grown.dedup();
        let mut keys = Vec::new();
        for some in grown.chunks(1 << 12) {
            keys.extend(self.read_state().index.with_pending(some, last, limit));
        }
        keys.sort_unstable();
        keys
    }

    /// Says that these of [`PageCache::pages_to_image`] have no image yet: the next call looks at them again.
    pub fn look_again(&self, pages: &[PageKey]) {
        let mut state = self.write_state();
        pages.iter().for_each(|key| state.index.look_again(*key));
    }

    /// Keeps what pages are at an LSN, exactly as redo makes them there, so that later reads begin with that. The caller answers for the
    /// content. Answers with how many of the images are of use.
    ///
    /// # Errors
    /// [`KeepImagesError`]; then none is kept.
    pub fn keep_images(&self, lsn: Lsn, pages: &[(PageKey, &Page)]) -> Result<usize, KeepImagesError> {
        self.check_lsn(lsn)?;
        if self.images.found().is_some() {
            return Err(KeepImagesError::NotInUse);
        }
        let first = self.images.log.append(lsn, pages).map_err(|error| match error {
            ImageLogError::Stopped(error) => {
                // Nobody asks any more which pages have grown.
                self.write_state().index.watch_no_more();
                KeepImagesError::Stopped(error)
            }
            error => KeepImagesError::NotWritten(error.to_string()),
        })?;
        let images =
            (first.0..).zip(pages).map(|(number, (key, _))| KeptImage { number: ImageNumber(number), key: *key, lsn });
        let mut state = self.write_state();
        Ok(images.map(|image| state.index.add_images(&[image])).sum())
    }

    /// Reads the images that follow one another from `first` on. If one cannot be believed, none of those that cannot is used any more, and the
    /// answer is `false`.
    pub(crate) fn read_images(&self, first: KeptImage, lsns: &[Lsn], pages: &mut [Page]) -> bool {
        if self.images.log.read_run(first, lsns, pages).is_ok() {
            return true;
        }
        let mut all = true;
        for (at, (lsn, page)) in lsns.iter().zip(pages).enumerate() {
            let at = at as u32;
            let key = PageKey { block: first.key.block + at, ..first.key };
            let image = KeptImage { number: ImageNumber(first.number.0 + at), key, lsn: *lsn };
            let Err(error) = self.images.log.read_run(image, &[*lsn], std::slice::from_mut(page)) else { continue };
            all = false;
            let unusable = self.images.log.unusable(image.number, &error);
            let mut state = self.write_state();
            let removed = state.index.remove_images(key, &unusable);
            state.index.look_again(key);
            drop(state);
            self.images.damaged.fetch_add(removed as u64, Ordering::Relaxed);
            tracing::error!(%key, %lsn, removed, %error, "images of a page are not used any more; it is made of its records");
        }
        all
    }
}
