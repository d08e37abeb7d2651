//! What a data directory is made of, as its maker sees it.

use pgdata::{ClusterState, Lsn, Object, Page, PageKey};

/// Why a source could not answer.
pub type SourceError = Box<dyn std::error::Error + Send + Sync>;

/// A cluster as it was at one LSN. Every answer is about that LSN and does not change while a backup is made. Several threads read from it at once.
pub trait DataSource: Sync {
    /// The LSN: the end of a record. A position inside the header of a WAL page stands for the page's start.
    fn lsn(&self) -> Lsn;

    /// Identity, settings and counters.
    ///
    /// # Errors
    /// The source's own.
    fn cluster(&self) -> Result<ClusterState, SourceError>;

    /// Every relation fork and SLRU segment that exists, with its size in blocks, in any order.
    ///
    /// # Errors
    /// The source's own.
    fn objects(&self) -> Result<Vec<(Object, u32)>, SourceError>;

    /// Reads a block below its object's size. Its checksum need not be right.
    ///
    /// # Errors
    /// The source's own.
    fn page(&self, key: PageKey, page: &mut Page) -> Result<(), SourceError>;

    /// Reads a run of an object's blocks, `first` and those behind it. A source that reads many blocks faster than one
    /// after the other does it here.
    ///
    /// # Errors
    /// The source's own.
    fn pages(&self, object: Object, first: u32, pages: &mut [Page]) -> Result<(), SourceError> {
        for (block, page) in (first..).zip(pages) {
            self.page(PageKey { object, block }, page)?;
        }
        Ok(())
    }

    /// The paths of all files that are kept whole, relative to the data directory: configuration, `PG_VERSION`, relation
    /// maps, two-phase state. A tablespace is `pg_tblspc/OID`. Files that no data directory at an LSN has may be among
    /// them, as `backup_label` and `global/pg_control`: they are left out.
    ///
    /// # Errors
    /// The source's own.
    fn blobs(&self) -> Result<Vec<String>, SourceError>;

    /// The content of one of these files. It is not asked for the content of `pg_tblspc/OID`.
    ///
    /// # Errors
    /// The source's own.
    fn blob(&self, name: &str) -> Result<Vec<u8>, SourceError>;

    /// Where the last record before the LSN starts, if it is known: what the next record has to name as its predecessor.
    /// It is asked for only where the WAL itself does not tell.
    ///
    /// # Errors
    /// The source's own.
    fn last_record_start(&self) -> Result<Option<Lsn>, SourceError>;

    /// The history file of the timeline on which the cluster is, if it is known. Without it a server that starts from the backup does well, but its
    /// standbys cannot stream from it, and no standby can be made of a moment between a failover and the next checkpoint.
    ///
    /// # Errors
    /// The source's own.
    fn history_file(&self, timeline: u32) -> Result<Option<Vec<u8>>, SourceError> {
        let _ = timeline;
        Ok(None)
    }

    /// Fills `bytes` with the WAL from `start` on, which ends at the LSN or before it. `false` if the WAL from there on is
    /// not kept.
    ///
    /// # Errors
    /// The source's own.
    fn wal(&self, start: Lsn, bytes: &mut [u8]) -> Result<bool, SourceError>;
}
