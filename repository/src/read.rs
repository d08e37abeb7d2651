//! The read path: wait for the LSN, look the page up, redo it.

use std::time::Duration;

use page_cache::{WaitError, WalLogError};
use pgdata::{
    ClusterState, Lsn, Object, PAGE_SIZE, Page, PageKey, RelTag, SlruSegment, page_is_new, set_page_checksum,
};

use crate::{ReadError, Timeline};

impl Timeline {
    /// Waits until all WAL up to `lsn` has been received.
    ///
    /// # Errors
    /// [`ReadError::Timeout`], [`ReadError::Shutdown`].
    pub fn wait_for(&self, lsn: Lsn, timeout: Duration) -> Result<(), ReadError> {
        self.cache.wait_for(lsn, timeout).map_err(|error| match error {
            WaitError::Timeout { .. } => {
                ReadError::Timeout { wanted: lsn, last: self.last_record_lsn(), waited: timeout }
            }
            WaitError::Shutdown { .. } => ReadError::Shutdown,
        })
    }

    /// Reads a page as it was at `lsn`, which must have been received.
    ///
    /// The page is what a standby that stopped there has on disk: with page checksums switched on in the cluster, it carries the right
    /// one.
    ///
    /// A page that is asked for again is mostly still there: see [`Options::page_bytes`](crate::Options::page_bytes).
    ///
    /// # Errors
    /// [`ReadError`]; the content of `page` does not matter then.
    pub fn get_page(&self, key: PageKey, lsn: Lsn, page: &mut Page) -> Result<(), ReadError> {
        if !self.pages.keeps_any() {
            return self.get_page_once(key, lsn, page);
        }
        let version = self.cache.page_version(key, lsn)?;
        if version.is_some_and(|version| self.pages.get(self.id(), version, page)) {
            return Ok(());
        }
        self.get_page_once(key, lsn, page)?;
        if let Some(version) = version {
            self.pages.put(self.id(), version, page);
        }
        Ok(())
    }

    /// [`Timeline::get_page`] for who reads very many pages once: nothing is kept for it, and what is kept for others stays.
    ///
    /// # Errors
    /// As [`Timeline::get_page`].
    pub fn get_page_once(&self, key: PageKey, lsn: Lsn, page: &mut Page) -> Result<(), ReadError> {
        self.maker.page(key, lsn, page)?;
        if let Object::Relation(_) = key.object
            && self.checksums
            && !page_is_new(page)
        {
            set_page_checksum(page, key.block);
        }
        Ok(())
    }

    /// How many records have to be applied to make a page.
    ///
    /// # Errors
    /// If `lsn` cannot be read at, or there is no such page.
    pub fn pending_records(&self, rel: RelTag, block: u32, lsn: Lsn) -> Result<usize, ReadError> {
        Ok(self.cache.pending_records(PageKey::relation(rel, block), lsn)?)
    }

    /// Reads a run of an object's pages, `first` and those behind it, as they were at `lsn`: sooner than one after the other, where many
    /// have not changed since the base backup. Unlike [`Timeline::get_page`] this leaves checksums alone; who writes the pages to a
    /// data directory sets them.
    ///
    /// # Errors
    /// [`ReadError`]; the content of `pages` does not matter then.
    pub fn get_pages(&self, object: Object, first: u32, lsn: Lsn, pages: &mut [Page]) -> Result<(), ReadError> {
        self.maker.run(object, first, lsn, pages)
    }

    /// How many blocks an object has at `lsn`; `None` if it does not exist.
    ///
    /// # Errors
    /// If `lsn` cannot be read at.
    pub fn size(&self, object: Object, lsn: Lsn) -> Result<Option<u32>, ReadError> {
        Ok(self.cache.size(object, lsn)?)
    }

    /// All relation forks and SLRU segments that exist at `lsn`, with their sizes in blocks, in no particular order.
    ///
    /// # Errors
    /// If `lsn` cannot be read at.
    pub fn objects(&self, lsn: Lsn) -> Result<Vec<(Object, u32)>, ReadError> {
        Ok(self.cache.objects(lsn)?)
    }

    /// The bytes of all forks of all relations of a database, over all tablespaces; `None` if there is no such
    /// database.
    ///
    /// # Errors
    /// If `lsn` cannot be read at.
    pub fn database_size(&self, db: u32, lsn: Lsn) -> Result<Option<u64>, ReadError> {
        Ok(self.cache.database_size(db, lsn)?)
    }

    /// A whole SLRU segment: each of its pages of 8192 bytes. Empty if it does not exist.
    ///
    /// # Errors
    /// If `lsn` cannot be read at, or a page cannot be made.
    pub fn slru_segment(&self, segment: SlruSegment, lsn: Lsn) -> Result<Vec<u8>, ReadError> {
        let object = Object::Slru(segment);
        let blocks = self.size(object, lsn)?.ok_or(ReadError::Missing { object, lsn })?;
        let mut bytes = vec![0; blocks as usize * PAGE_SIZE];
        let (pages, _) = bytes.as_chunks_mut::<PAGE_SIZE>();
        for (block, page) in (0..).zip(pages) {
            self.get_page(PageKey { object, block }, lsn, page)?;
        }
        Ok(bytes)
    }

    /// Whether a fork exists at `lsn`.
    ///
    /// # Errors
    /// If `lsn` cannot be read at.
    pub fn exists(&self, rel: RelTag, lsn: Lsn) -> Result<bool, ReadError> {
        Ok(self.size(Object::Relation(rel), lsn)?.is_some())
    }

    /// A small file, by its path relative to the data directory, as it was at `lsn`.
    ///
    /// # Errors
    /// If `lsn` cannot be read at, or the file is damaged.
    pub fn blob(&self, name: &str, lsn: Lsn) -> Result<Option<Vec<u8>>, ReadError> {
        Ok(self.cache.blob(name, lsn)?)
    }

    /// The paths of all small files that exist at `lsn`, relative to the data directory, in order.
    ///
    /// # Errors
    /// If `lsn` cannot be read at.
    pub fn blobs(&self, lsn: Lsn) -> Result<Vec<String>, ReadError> {
        Ok(self.cache.blobs(lsn)?)
    }

    /// Fills `bytes` with the received WAL from `start` on. `false` if not all of it is kept here.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub fn read_wal(&self, start: Lsn, bytes: &mut [u8]) -> Result<bool, WalLogError> {
        let wal = self.cache.wal();
        if start < wal.start() || wal.end().bytes_since(start) < bytes.len() as u64 {
            return Ok(false);
        }
        let mut reader = wal.read_from(start)?;
        let mut filled = 0;
        while filled < bytes.len() {
            let Some((_, chunk)) = reader.next_chunk()? else { return Ok(false) };
            let taken = chunk.len().min(bytes.len() - filled);
            bytes[filled..filled + taken].copy_from_slice(&chunk[..taken]);
            filled += taken;
        }
        Ok(true)
    }

    /// The cluster's state at `lsn`: settings and counters.
    ///
    /// # Errors
    /// If `lsn` cannot be read at.
    pub fn cluster(&self, lsn: Lsn) -> Result<ClusterState, ReadError> {
        let mut state = self.cache.cluster(lsn)?;
        // Records may lie between the beginning of a timeline and the one that says so.
        let timeline = self.pg_timeline_at(lsn);
        if state.counters.timeline != timeline {
            state.counters.prev_timeline = std::mem::replace(&mut state.counters.timeline, timeline);
        }
        Ok(state)
    }
}
