//! Questions other than for a page.

use pgdata::{ClusterState, DbTag, Lsn, Object, PAGE_SIZE, RelTag, SlruSegment};

use crate::cache::{PageCache, ReadError};
use crate::index::BlobPlace;

impl PageCache {
    /// The size of an object in blocks; `None` if it does not exist.
    ///
    /// # Errors
    /// [`ReadError::NotYet`] and [`ReadError::BeforeConsistent`].
    pub fn size(&self, object: Object, lsn: Lsn) -> Result<Option<u32>, ReadError> {
        self.check_lsn(lsn)?;
        Ok(self.read_state().index.size(object, lsn))
    }

    /// Whether an object exists.
    ///
    /// # Errors
    /// As [`PageCache::size`].
    pub fn exists(&self, object: Object, lsn: Lsn) -> Result<bool, ReadError> {
        Ok(self.size(object, lsn)?.is_some())
    }

    /// The number of pages in a segment of an SLRU, at most 32; `None` if it does not exist.
    ///
    /// # Errors
    /// As [`PageCache::size`].
    pub fn slru_segment_size(&self, segment: SlruSegment, lsn: Lsn) -> Result<Option<u32>, ReadError> {
        self.size(segment.into(), lsn)
    }

    /// Every object with its size in blocks, in order.
    ///
    /// # Errors
    /// As [`PageCache::size`].
    pub fn objects(&self, lsn: Lsn) -> Result<Vec<(Object, u32)>, ReadError> {
        self.check_lsn(lsn)?;
        Ok(self.read_state().index.objects(lsn))
    }

    /// The relation forks of a database in one tablespace, with their sizes in blocks, in order.
    ///
    /// # Errors
    /// As [`PageCache::size`].
    pub fn relations_of(&self, database: DbTag, lsn: Lsn) -> Result<Vec<(RelTag, u32)>, ReadError> {
        self.check_lsn(lsn)?;
        Ok(self.read_state().index.relations_of(database, lsn))
    }

    /// The bytes of all relation forks of a database in all tablespaces; 0 stands for the shared relations. `None` if the
    /// database has no relation anywhere.
    ///
    /// # Errors
    /// As [`PageCache::size`].
    pub fn database_size(&self, db: u32, lsn: Lsn) -> Result<Option<u64>, ReadError> {
        self.check_lsn(lsn)?;
        Ok(self.read_state().index.database_blocks(db, lsn).map(|blocks| blocks * PAGE_SIZE as u64))
    }

    /// A small file, under its path relative to the data directory; `None` if it does not exist.
    ///
    /// # Errors
    /// As [`PageCache::size`], and [`ReadError::Layer`] if it is damaged.
    pub fn blob(&self, name: &str, lsn: Lsn) -> Result<Option<Vec<u8>>, ReadError> {
        self.check_lsn(lsn)?;
        let place = self.read_state().index.blob(name, lsn);
        match place {
            BlobPlace::None => Ok(None),
            BlobPlace::Is(content) => Ok(Some(content.to_vec())),
            BlobPlace::Base(name) => Ok(self.layer.read_blob(&name)?),
        }
    }

    /// The names of all small files, in order.
    ///
    /// # Errors
    /// As [`PageCache::size`].
    pub fn blobs(&self, lsn: Lsn) -> Result<Vec<String>, ReadError> {
        self.check_lsn(lsn)?;
        Ok(self.read_state().index.blob_names(lsn))
    }

    /// A small file as the base backup had it, at whatever LSN it was read: for what is needed before anything can be replayed,
    /// above all `global/pg_control`.
    ///
    /// # Errors
    /// [`ReadError::Layer`] if it is damaged.
    pub fn base_blob(&self, name: &str) -> Result<Option<Vec<u8>>, ReadError> {
        Ok(self.layer.read_blob(name)?)
    }

    /// The cluster state.
    ///
    /// # Errors
    /// As [`PageCache::size`], and [`ReadError::NoClusterState`] if [`PageCache::set_initial_cluster`] was not called.
    pub fn cluster(&self, lsn: Lsn) -> Result<ClusterState, ReadError> {
        self.check_lsn(lsn)?;
        self.read_state().index.cluster(lsn).ok_or(ReadError::NoClusterState)
    }
}
