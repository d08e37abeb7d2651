//! The files of a data directory that consist of pages.

use std::collections::BTreeMap;
use std::fs::{self, DirEntry, File};
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use pgdata::{Fork, Object, PAGE_SIZE, Page, RelTag, SlruKind, SlruSegment};

/// Tablespace oids that are not directories in `pg_tblspc` (`catalog/pg_tablespace.dat`).
const DEFAULT_TABLESPACE: u32 = 1663;
const GLOBAL_TABLESPACE: u32 = 1664;
/// Blocks in a segment file of a relation (`RELSEG_SIZE`).
const SEGMENT_BLOCKS: u32 = 131_072;

/// Every relation fork and SLRU segment in a data directory, with its files.
#[derive(Debug, Default)]
pub struct DataFiles {
    objects: BTreeMap<Object, Vec<Segment>>,
}

#[derive(Debug)]
struct Segment {
    number: u32,
    path: PathBuf,
    blocks: u32,
}

impl DataFiles {
    /// Looks through a data directory whose server is stopped.
    ///
    /// # Errors
    /// If it cannot be read, or a file is not made of whole blocks.
    pub fn scan(data: &Path) -> Result<DataFiles> {
        let mut files = DataFiles::default();
        files.scan_relations(&data.join("global"), GLOBAL_TABLESPACE, 0)?;
        files.scan_tablespace(&data.join("base"), DEFAULT_TABLESPACE)?;
        for (oid, dir) in numbered(&data.join("pg_tblspc"))? {
            let dir = dir.canonicalize().with_context(|| dir.display().to_string())?;
            for version in entries(&dir)?.iter().filter(|entry| name(entry).starts_with("PG_")) {
                files.scan_tablespace(&version.path(), oid)?;
            }
        }
        for kind in SlruKind::ALL {
            files.scan_slru(&data.join(kind.directory()), kind)?;
        }
        for (object, segments) in &mut files.objects {
            segments.sort_by_key(|segment| segment.number);
            check_segments(object, segments)?;
        }
        Ok(files)
    }

    fn scan_tablespace(&mut self, dir: &Path, spc: u32) -> Result<()> {
        for (db, path) in numbered(dir)? {
            self.scan_relations(&path, spc, db)?;
        }
        Ok(())
    }

    fn scan_relations(&mut self, dir: &Path, spc: u32, db: u32) -> Result<()> {
        for entry in entries(dir)? {
            if let Some((rel, fork, segment)) = parse_relation_file(&name(&entry)) {
                self.add(RelTag { spc, db, rel, fork }.into(), segment, entry.path())?;
            }
        }
        Ok(())
    }

    fn scan_slru(&mut self, dir: &Path, kind: SlruKind) -> Result<()> {
        for entry in entries(dir)? {
            let name = name(&entry);
            if let (true, Ok(segno)) = (name.len() >= 4, u32::from_str_radix(&name, 16)) {
                self.add(SlruSegment { kind, segno }.into(), 0, entry.path())?;
            }
        }
        Ok(())
    }

    fn add(&mut self, object: Object, number: u32, path: PathBuf) -> Result<()> {
        let bytes = fs::metadata(&path)?.len();
        ensure!(bytes % PAGE_SIZE as u64 == 0, "{} has {bytes} bytes: not whole blocks", path.display());
        let blocks = (bytes / PAGE_SIZE as u64) as u32;
        self.objects.entry(object).or_default().push(Segment { number, path, blocks });
        Ok(())
    }

    /// All objects in the order of their names.
    pub fn objects(&self) -> impl Iterator<Item = Object> {
        self.objects.keys().copied()
    }

    /// The size of an object in blocks, or nothing if it has no file.
    #[must_use]
    pub fn size(&self, object: Object) -> Option<u32> {
        let last = self.objects.get(&object)?.last()?;
        Some(last.number * SEGMENT_BLOCKS + last.blocks)
    }

    /// Reads `count` blocks of an object from block `first` on.
    ///
    /// # Errors
    /// If they do not all lie in the object's files.
    pub fn read(&self, object: Object, first: u32, count: u32) -> Result<Vec<Page>> {
        let segments = self.objects.get(&object).with_context(|| format!("{object} has no file"))?;
        let mut pages = Vec::with_capacity(count as usize);
        for block in first..first + count {
            let segment = segments.get((block / SEGMENT_BLOCKS) as usize);
            let segment = segment.with_context(|| format!("{object} block {block} lies past the last file"))?;
            let mut page = [0; PAGE_SIZE];
            let offset = u64::from(block % SEGMENT_BLOCKS) * PAGE_SIZE as u64;
            let read = File::open(&segment.path).and_then(|file| file.read_exact_at(&mut page, offset));
            read.with_context(|| format!("{object} block {block} in {}", segment.path.display()))?;
            pages.push(page);
        }
        Ok(pages)
    }

    /// The file and the offset in it that hold a block.
    #[must_use]
    pub fn place(&self, object: Object, block: u32) -> Option<(&Path, u64)> {
        let segment = self.objects.get(&object)?.get((block / SEGMENT_BLOCKS) as usize)?;
        Some((&segment.path, u64::from(block % SEGMENT_BLOCKS) * PAGE_SIZE as u64))
    }
}

/// The segments of an object are numbered without gaps, and all but the last are full.
fn check_segments(object: &Object, segments: &[Segment]) -> Result<()> {
    for (index, segment) in segments.iter().enumerate() {
        ensure!(segment.number as usize == index, "{object}: no segment file {index}, but {}", segment.path.display());
        let full = index + 1 == segments.len() || segment.blocks == SEGMENT_BLOCKS;
        ensure!(full, "{object}: {} is not the last segment and not full", segment.path.display());
    }
    Ok(())
}

/// `12345`, `12345_vm`, `12345.1`, `12345_fsm.2`: number, fork, segment. Temporary relations (`t3_12345`) are not meant.
fn parse_relation_file(name: &str) -> Option<(u32, Fork, u32)> {
    let (stem, segment) = match name.split_once('.') {
        Some((stem, segment)) => (stem, segment.parse().ok()?),
        None => (name, 0),
    };
    let (rel, fork) = match stem.split_once('_') {
        Some((rel, fork)) => (rel, Fork::ALL.into_iter().find(|known| *known != Fork::Main && known.name() == fork)?),
        None => (stem, Fork::Main),
    };
    let digits = rel.bytes().all(|byte| byte.is_ascii_digit());
    Some((rel.parse().ok().filter(|_| digits)?, fork, segment))
}

fn name(entry: &DirEntry) -> String {
    entry.file_name().to_string_lossy().into_owned()
}

/// The entries of a directory; none if it is not there.
fn entries(dir: &Path) -> Result<Vec<DirEntry>> {
    match fs::read_dir(dir) {
        Ok(entries) => entries.map(|entry| Ok(entry?)).collect(),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error).with_context(|| dir.display().to_string()),
    }
}

/// The entries whose names are numbers.
fn numbered(dir: &Path) -> Result<Vec<(u32, PathBuf)>> {
    Ok(entries(dir)?.iter().filter_map(|entry| Some((name(entry).parse().ok()?, entry.path()))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_the_names_of_relation_files() {
        assert_eq!(parse_relation_file("2619"), Some((2619, Fork::Main, 0)));
        assert_eq!(parse_relation_file("2619_vm"), Some((2619, Fork::Vm, 0)));
        assert_eq!(parse_relation_file("2619_fsm.3"), Some((2619, Fork::Fsm, 3)));
        assert_eq!(parse_relation_file("2619.12"), Some((2619, Fork::Main, 12)));
        for other in ["PG_VERSION", "pg_filenode.map", "t3_12345", "2619_main", "2619_", "+2619", "pg_control", ""] {
            assert_eq!(parse_relation_file(other), None, "{other}");
        }
    }
}
