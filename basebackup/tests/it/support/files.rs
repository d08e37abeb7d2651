//! The data directory of a server that was shut down, as the source of a backup.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use basebackup::{DataSource, SourceError};
use pgdata::wal::SegmentSize;
use pgdata::{
    ClusterState, ControlFile, DataFile, DbState, Lsn, Object, PAGE_SIZE, Page, PageKey, SEGMENT_BLOCKS, relation_path,
};

/// The files of a stopped cluster. They are as of the end of its shutdown checkpoint.
pub struct FileSource {
    data: PathBuf,
    state: ClusterState,
    lsn: Lsn,
    /// Whether it gives away the WAL that it has.
    pub knows_wal: bool,
}

/// Bytes of a checkpoint record, the same in all versions: header, length of the data, data.
const CHECKPOINT_RECORD: u32 = 24 + 2 + 88;

impl FileSource {
    pub fn open(data: &Path) -> Result<FileSource> {
        let control = ControlFile::parse(&fs::read(data.join("global/pg_control"))?)?;
        ensure!(control.state == DbState::ShutDown, "the cluster is {:?}", control.state);
        let size = SegmentSize::new(control.wal_segment_size)?;
        let end = size.record_end(control.check_point, CHECKPOINT_RECORD).context("no place for a checkpoint")?;
        let state = ClusterState::new(control);
        Ok(FileSource { data: data.to_owned(), state, lsn: end.align_up(), knows_wal: true })
    }

    pub fn state(&self) -> &ClusterState {
        &self.state
    }

    fn files(&self) -> Result<Vec<(String, u64)>> {
        let mut found = Vec::new();
        let mut directories = vec![String::new()];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(self.data.join(&directory))? {
                let entry = entry?;
                let name = entry.file_name().to_str().context("a strange file name")?.to_owned();
                let path = if directory.is_empty() { name } else { format!("{directory}/{name}") };
                // Links to tablespaces are followed.
                let metadata = fs::metadata(entry.path())?;
                if metadata.is_dir() {
                    directories.push(path);
                } else {
                    found.push((path, metadata.len()));
                }
            }
        }
        Ok(found)
    }

    fn path(&self, object: Object, block: u32) -> (PathBuf, u32) {
        match object {
            Object::Slru(segment) => (self.data.join(segment.to_string()), block),
            Object::Relation(rel) => {
                let path = relation_path(self.state.control.version, rel, block / SEGMENT_BLOCKS);
                (self.data.join(path), block % SEGMENT_BLOCKS)
            }
        }
    }
}

impl DataSource for FileSource {
    fn lsn(&self) -> Lsn {
        self.lsn
    }

    fn cluster(&self) -> Result<ClusterState, SourceError> {
        Ok(self.state.clone())
    }

    fn objects(&self) -> Result<Vec<(Object, u32)>, SourceError> {
        let mut objects = std::collections::BTreeMap::new();
        for (path, size) in self.files()? {
            let pages = (size / PAGE_SIZE as u64) as u32;
            match DataFile::classify(self.state.control.version, &path)? {
                DataFile::Relation { rel, .. } => *objects.entry(Object::Relation(rel)).or_insert(0) += pages,
                DataFile::Slru(segment) => *objects.entry(Object::Slru(segment)).or_insert(0) += pages,
                _ => {}
            }
        }
        Ok(objects.into_iter().collect())
    }

    fn page(&self, key: PageKey, page: &mut Page) -> Result<(), SourceError> {
        let (path, block) = self.path(key.object, key.block);
        Ok(File::open(path)?.read_exact_at(page, u64::from(block) * PAGE_SIZE as u64)?)
    }

    fn blobs(&self) -> Result<Vec<String>, SourceError> {
        let version = self.state.control.version;
        let files = self.files()?.into_iter().map(|(path, _)| path);
        Ok(files.filter(|path| matches!(DataFile::classify(version, path), Ok(DataFile::Blob))).collect())
    }

    fn blob(&self, name: &str) -> Result<Vec<u8>, SourceError> {
        Ok(fs::read(self.data.join(name))?)
    }

    fn last_record_start(&self) -> Result<Option<Lsn>, SourceError> {
        Ok(Some(self.state.control.check_point))
    }

    fn wal(&self, start: Lsn, bytes: &mut [u8]) -> Result<bool, SourceError> {
        if self.knows_wal {
            let size = SegmentSize::new(self.state.control.wal_segment_size)?;
            let name = size.file_name(self.state.counters.timeline, size.segment_of(start));
            let file = File::open(self.data.join("pg_wal").join(name))?;
            file.read_exact_at(bytes, u64::from(size.offset_of(start)))?;
        }
        Ok(self.knows_wal)
    }
}
