//! A source in memory.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Mutex;

use pgdata::{ClusterState, ControlFile, Lsn, Object, Page, PageKey, PgVersion};

use crate::{Backup, BackupError, DataSource, Options, SourceError};

/// What a source says. Its pages hold their fork or kind, and their block.
pub(crate) struct Memory {
    pub lsn: Lsn,
    pub state: ClusterState,
    pub objects: Vec<(Object, u32)>,
    pub blobs: BTreeMap<String, Vec<u8>>,
    /// The file that cannot be read.
    pub broken: Option<&'static str>,
    pub last_record: Option<Lsn>,
    /// Where the WAL that is kept starts, and its bytes.
    pub wal: Option<(Lsn, Vec<u8>)>,
    /// The history file of its timeline.
    pub history: Option<Vec<u8>>,
    /// Runs of pages that were asked for.
    pub runs: Mutex<Vec<(Object, u32, usize)>>,
}

impl Memory {
    /// A cluster with the files that all have.
    pub fn new(version: PgVersion, lsn: Lsn) -> Memory {
        let mut control = ControlFile::initial(version, 42);
        control.wal_segment_size = 1 << 20;
        let blobs = ["PG_VERSION", "global/pg_filenode.map", "postgresql.conf", "pg_hba.conf", "base/5/PG_VERSION"];
        Memory {
            lsn,
            state: ClusterState::new(control).with_next_xid(1000),
            objects: Vec::new(),
            blobs: blobs.iter().map(|&name| (name.to_owned(), name.as_bytes().to_vec())).collect(),
            broken: None,
            last_record: None,
            wal: None,
            history: None,
            runs: Mutex::default(),
        }
    }

    pub fn with_blob(mut self, name: &str) -> Memory {
        self.blobs.insert(name.to_owned(), name.as_bytes().to_vec());
        self
    }

    /// The main archive's members: paths and contents, in order.
    pub fn members(&self, options: &Options) -> Result<Vec<(String, Vec<u8>)>, BackupError> {
        Ok(members(&Backup::new(self, options)?.write(Vec::new())?))
    }
}

/// The members of an archive; a link's content is its target.
pub(crate) fn members(tar: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut archive = tar::Archive::new(tar);
    let entries = archive.entries().unwrap();
    let read = |entry: Result<tar::Entry<'_, &[u8]>, std::io::Error>| {
        let mut entry = entry.unwrap();
        let mut content = entry.link_name_bytes().map_or_else(Vec::new, |target| target.to_vec());
        entry.read_to_end(&mut content).unwrap();
        (entry.path().unwrap().display().to_string(), content)
    };
    entries.map(read).collect()
}

/// The page that [`Memory`] has there, without a checksum.
pub(crate) fn page_of(key: PageKey) -> Page {
    let mut page = [0; pgdata::PAGE_SIZE];
    // Not a new page: `pd_upper` is set.
    page[14] = 1;
    let mark = match key.object {
        Object::Relation(rel) => rel.fork.number(),
        Object::Slru(segment) => 10 + segment.kind.number(),
    };
    page[100] = mark;
    page[104..108].copy_from_slice(&key.block.to_le_bytes());
    page
}

impl DataSource for Memory {
    fn lsn(&self) -> Lsn {
        self.lsn
    }

    fn cluster(&self) -> Result<ClusterState, SourceError> {
        Ok(self.state.clone())
    }

    fn objects(&self) -> Result<Vec<(Object, u32)>, SourceError> {
        Ok(self.objects.clone())
    }

    fn page(&self, key: PageKey, page: &mut Page) -> Result<(), SourceError> {
        *page = page_of(key);
        Ok(())
    }

    fn pages(&self, object: Object, first: u32, pages: &mut [Page]) -> Result<(), SourceError> {
        self.runs.lock().unwrap().push((object, first, pages.len()));
        (first..).zip(pages).try_for_each(|(block, page)| self.page(PageKey { object, block }, page))
    }

    fn blobs(&self) -> Result<Vec<String>, SourceError> {
        Ok(self.blobs.keys().cloned().collect())
    }

    fn blob(&self, name: &str) -> Result<Vec<u8>, SourceError> {
        if self.broken == Some(name) {
            return Err("the disk is on fire".into());
        }
        Ok(self.blobs.get(name).cloned().ok_or("no such file")?)
    }

    fn last_record_start(&self) -> Result<Option<Lsn>, SourceError> {
        Ok(self.last_record)
    }

    fn history_file(&self, _: u32) -> Result<Option<Vec<u8>>, SourceError> {
        Ok(self.history.clone())
    }

    fn wal(&self, start: Lsn, bytes: &mut [u8]) -> Result<bool, SourceError> {
        let Some((first, wal)) = self.wal.as_ref().filter(|(first, _)| *first <= start) else { return Ok(false) };
        let at = start.bytes_since(*first) as usize;
        let Some(part) = wal.get(at..at + bytes.len()) else { return Ok(false) };
        bytes.copy_from_slice(part);
        Ok(true)
    }
}
