//! What one WAL record does to the state of a cluster, in the terms of versioned storage.
//!
//! `wal_decoder` says it, `page_cache` keeps it; neither knows the other.

use crate::{ClusterState, DbTag, Object, PageKey, SlruKind};

/// How a record bears on a page: what a reader needs in order to have the page after it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PageEffect {
    /// The record makes the page out of nothing: a full-page image to be applied, an initialisation (`WILL_INIT`), or a
    /// zeroed SLRU page. No earlier version is needed. The object grows to hold the block; blocks skipped become zero pages.
    Replace,
    /// The record changes a page that must be there. It never makes an object longer. Before the first consistent LSN a page
    /// that is not there is passed over, as recovery does: a later record drops or truncates it. After it, it is an error.
    Modify,
    /// The record changes the page, taking a zero page where there is none. The object grows to hold the block.
    /// This is how redo treats the visibility map.
    ModifyOrExtend,
    /// The record changes the page if it is there, and is passed over for good if it is not. It never makes an object, or makes
    /// one longer. This is how truncation clears the bits at the end of a visibility map, which a relation need not have.
    ModifyIfPresent,
}

/// One thing that a record does. A record's changes are applied in their order, all at the record's LSN.
#[derive(Clone, PartialEq, Debug)]
pub enum Change {
    /// The record belongs to this page's history. An object that does not exist comes into being.
    Page {
        /// Which page.
        key: PageKey,
        /// How the record bears on it.
        effect: PageEffect,
    },
    /// The object comes into being with no blocks; nothing happens if it exists.
    Create(Object),
    /// The object has at most `blocks` blocks from here on; a shorter one keeps its size.
    Truncate {
        /// Which object.
        object: Object,
        /// How many blocks may stay.
        blocks: u32,
    },
    /// The object ceases to exist; nothing happens if it does not exist.
    Drop(Object),
    /// The segments of an SLRU that lie wholly before a page cease to exist (`SimpleLruTruncate`), where "before" is in the
    /// circular order of the SLRU's numbers: see [`SlruKind::segment_is_before`].
    TruncateSlru {
        /// Which SLRU.
        kind: SlruKind,
        /// The first page that must stay, counted from the start of the whole SLRU.
        cutoff_page: u32,
    },
    /// All segments of an SLRU cease to exist.
    DropSlru(SlruKind),
    /// A database's files come into being as a copy of another's, as they all are at this LSN: relations and other files.
    /// What was at the destination is gone.
    CopyDatabase {
        /// The template.
        from: DbTag,
        /// The new database.
        to: DbTag,
    },
    /// All files of a database in a tablespace cease to exist: relations and other files.
    DropDatabase(DbTag),
    /// A small file that is not made of versioned pages has this content now. Its name is its path relative to the data
    /// directory, with `/` between the parts: relation maps (`base/5/pg_filenode.map`), `PG_VERSION` files of databases, two-phase
    /// state files. A tablespace is the file `pg_tblspc/OID` whose content is the path it links to.
    Blob {
        /// Path relative to the data directory.
        name: String,
        /// The whole file.
        content: Vec<u8>,
    },
    /// The small file ceases to exist; nothing happens if it does not exist.
    RemoveBlob {
        /// Path relative to the data directory.
        name: String,
    },
    /// The cluster-wide state (control file and counters) is this now.
    Cluster(Box<ClusterState>),
    /// The next transaction id, with its epoch, is this now: a small change to the cluster state, told apart because it is
    /// the one that comes with almost every transaction.
    NextXid(u64),
    /// The next multixact id and member offset are these now.
    NextMulti {
        /// `nextMulti`.
        multi: u32,
        /// `nextMultiOffset`; 32 bits up to PostgreSQL 18.
        offset: u64,
    },
}
