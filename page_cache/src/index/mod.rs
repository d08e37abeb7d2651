//! What happened since the base image, in memory: rebuilt from the WAL when a timeline is opened.
//!
//! The index answers, for any LSN up to the newest: which objects exist and how long they are, which records lead to a page,
//! what the small files and the cluster state are. It does no I/O and knows no threads.
//!
//! **Copied and dropped databases** cost one event each, in the history of the database. An object's own history takes up its
//! database's events only when something happens to the object itself ([`Index::touch`]), in order; before that, whoever reads
//! it looks at the events that the history has not seen yet, and goes on in the database that was copied from, at the LSN of
//! the copy. Each such step goes to an earlier LSN, for a record holds at most one copy.

mod apply;
mod blob;
mod cluster;
mod listing;
mod object;
mod read;
mod recent;
mod version;

pub use apply::IngestFault;
pub use read::PageVersion;
pub(crate) use read::{BlobPlace, KeptImage, PlanBase, Trail, TrailError};
pub(crate) use version::{ImageNumber, PageId, RecordPlace};

use std::collections::{BTreeMap, BTreeSet, HashMap};

use foldhash::fast::RandomState;
use pgdata::wal::SegmentSize;
use pgdata::{ClusterState, DbTag, Lsn, Object, PgVersion, SlruSegment};

use blob::BlobHistory;
use cluster::ClusterHistory;
use object::ObjectHistory;
use recent::Recent;
use version::VersionMap;

/// Something that happened to a whole database.
#[derive(Clone, Copy, Debug)]
enum DatabaseEvent {
    Dropped,
    CopiedFrom(DbTag),
}

/// What is known of a database's files in one tablespace.
#[derive(Debug)]
struct Database {
    tag: DbTag,
    events: Vec<(Lsn, DatabaseEvent)>,
    /// Every object and small file of it that has a history of its own.
    objects: Vec<u32>,
    blobs: Vec<String>,
}

impl Database {
    /// The last event up to `lsn` that is not among the first `seen`.
    fn event_after(&self, seen: usize, lsn: Lsn) -> Option<(Lsn, DatabaseEvent)> {
        let up_to = self.events.partition_point(|(at, _)| *at <= lsn);
        self.events.get(seen..up_to)?.last().copied()
    }
}

/// All that is known of one timeline beyond its base image's contents.
#[derive(Debug)]
pub(crate) struct Index {
    version: PgVersion,
    segment_size: SegmentSize,
    consistent_lsn: Lsn,
    /// Numbers of objects; histories lie in `objects` by number.
    numbers: HashMap<Object, u32, RandomState>,
    recent: Recent,
    objects: Vec<(Object, ObjectHistory)>,
    database_numbers: HashMap<DbTag, u32, RandomState>,
    databases: Vec<Database>,
    /// How many events all of them have together.
    events: usize,
    slru_segments: BTreeSet<SlruSegment>,
    blobs: BTreeMap<String, BlobHistory>,
    cluster: ClusterHistory,
    versions: VersionMap,
}

/// What the index holds, in numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IndexSize {
    pub objects: usize,
    pub pages: usize,
    pub versions: usize,
    pub images: usize,
    pub bytes: usize,
}

impl Index {
    /// `watched` if [`Index::take_grown`] is going to be called.
    pub fn new(version: PgVersion, segment_size: SegmentSize, consistent_lsn: Lsn, watched: bool) -> Index {
        Index {
            version,
            segment_size,
            consistent_lsn,
            numbers: HashMap::default(),
            recent: Recent::default(),
            objects: Vec::new(),
            database_numbers: HashMap::default(),
            databases: Vec::new(),
            events: 0,
            slru_segments: BTreeSet::new(),
            blobs: BTreeMap::new(),
            cluster: ClusterHistory::default(),
            versions: VersionMap::new(watched),
        }
    }

    /// The base image has this object.
    pub fn add_base_object(&mut self, object: Object, blocks: u32) {
        self.intern(object, Some(blocks));
    }

    /// The base image has this small file.
    pub fn add_base_blob(&mut self, name: &str) {
        self.intern_blob(name, true);
    }

    pub fn set_initial_cluster(&mut self, state: ClusterState) {
        self.cluster.set_initial(state);
    }

    /// The pages that have got versions since the last call, many enough to look at them; perhaps several times each, in no order.
    pub fn take_grown(&mut self) -> Vec<PageId> {
        self.versions.take_grown()
    }

    /// Notes no more such pages: nobody is going to look at them.
    pub fn watch_no_more(&mut self) {
        self.versions.watch_no_more();
    }

    /// Whether there are any such pages.
    pub fn has_grown(&self) -> bool {
        self.versions.has_grown()
    }

    pub fn measure(&self) -> IndexSize {
        let objects: usize = self.objects.iter().map(|(_, history)| history.bytes()).sum();
        let blobs: usize = self.blobs.iter().map(|(name, history)| name.len() + history.bytes()).sum();
        IndexSize {
            objects: self.objects.len(),
            pages: self.versions.pages(),
            versions: self.versions.versions(),
            images: self.versions.images(),
            bytes: objects + blobs + self.versions.bytes(),
        }
    }

    fn database_number(&mut self, tag: DbTag) -> u32 {
        *self.database_numbers.entry(tag).or_insert_with(|| {
            self.databases.push(Database { tag, events: Vec::new(), objects: Vec::new(), blobs: Vec::new() });
            (self.databases.len() - 1) as u32
        })
    }

    fn database(&self, tag: DbTag) -> Option<&Database> {
        self.database_numbers.get(&tag).map(|number| &self.databases[*number as usize])
    }

    /// The number of an object, which gets one and a history if it has none.
    fn intern(&mut self, object: Object, base: Option<u32>) -> u32 {
        if let Some(number) = self.recent.get(object) {
            return number;
        }
        if let Some(number) = self.numbers.get(&object) {
            self.recent.put(object, *number);
            return *number;
        }
        let number = self.objects.len() as u32;
        let database = match object {
            Object::Relation(rel) => Some(self.database_number(rel.database())),
            Object::Slru(segment) => {
                if base.is_some() {
                    self.slru_segments.insert(segment);
                }
                None
            }
        };
        if let Some(database) = database {
            self.databases[database as usize].objects.push(number);
        }
        self.numbers.insert(object, number);
        self.objects.push((object, ObjectHistory::new(database, base)));
        number
    }

    fn intern_blob(&mut self, name: &str, base: bool) {
        if self.blobs.contains_key(name) {
            return;
        }
        let database = blob::database_of(self.version, name).map(|(tag, _)| self.database_number(tag));
        if let Some(database) = database {
            self.databases[database as usize].blobs.push(name.to_owned());
        }
        self.blobs.insert(name.to_owned(), BlobHistory::new(database, base));
    }
}
