//! A base backup holds the files that are on the server's disk.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use walreceiver::{BackupEnd, BackupOptions, BackupSink, BackupStart, BoxError, Error, StopHandle, base_backup};

use crate::cluster::Cluster;

/// Keeps everything in memory.
#[derive(Default)]
struct Collector {
    start: Option<BackupStart>,
    end: Option<BackupEnd>,
    directories: BTreeSet<String>,
    links: BTreeMap<String, String>,
    files: BTreeMap<String, Vec<u8>>,
    present: Option<(String, u64)>,
    progress: (u64, u64),
    largest: usize,
    last_file: String,
}

impl BackupSink for Collector {
    fn begin(&mut self, start: &BackupStart) -> Result<(), BoxError> {
        assert!(self.start.replace(start.clone()).is_none());
        Ok(())
    }
    fn directory(&mut self, path: &str) -> Result<(), BoxError> {
        self.directories.insert(path.to_owned());
        Ok(())
    }
    fn link(&mut self, path: &str, target: &str) -> Result<(), BoxError> {
        assert!(self.links.insert(path.to_owned(), target.to_owned()).is_none());
        Ok(())
    }
    fn file_begin(&mut self, path: &str, size: u64) -> Result<(), BoxError> {
        assert!(self.files.insert(path.to_owned(), Vec::new()).is_none(), "{path} came twice");
        assert!(self.present.replace((path.to_owned(), size)).is_none());
        self.last_file = path.to_owned();
        Ok(())
    }
    fn file_data(&mut self, data: &[u8]) -> Result<(), BoxError> {
        let (path, _) = self.present.as_ref().expect("data of no file");
        self.files.get_mut(path).unwrap().extend_from_slice(data);
        self.largest = self.largest.max(data.len());
        Ok(())
    }
    fn file_end(&mut self) -> Result<(), BoxError> {
        let (path, size) = self.present.take().expect("end of no file");
        assert_eq!(self.files[&path].len() as u64, size, "{path}");
        Ok(())
    }
    fn progress(&mut self, bytes_done: u64, bytes_total: u64) {
        assert!(bytes_done >= self.progress.0);
        self.progress = (bytes_done, bytes_total);
    }
    fn end(&mut self, end: &BackupEnd) -> Result<(), BoxError> {
        assert!(self.end.replace(*end).is_none() && self.start.is_some());
        Ok(())
    }
}

/// What PostgreSQL documents as left out of base backups: the content of these directories, and these files.
const EMPTIED: [&str; 9] = [
    "pg_wal",
    "pg_replslot",
    "pg_dynshmem",
    "pg_notify",
    "pg_serial",
    "pg_snapshots",
    "pg_stat_tmp",
    "pg_subtrans",
    "pgsql_tmp",
];
const LEFT_OUT: [&str; 4] = ["postmaster.pid", "postmaster.opts", "pg_internal.init", "backup_label.old"];

/// The files below `directory`, with their content.
fn files(directory: &Path, prefix: &str, found: &mut BTreeMap<String, Vec<u8>>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let relative = format!("{prefix}{name}");
        if path.is_dir() {
            if !EMPTIED.contains(&name) {
                files(&path, &format!("{relative}/"), found);
            }
        } else if !LEFT_OUT.contains(&name) {
            found.insert(relative, std::fs::read(&path).unwrap());
        }
    }
}

#[test]
fn holds_every_file_with_its_content() {
    let cluster = Cluster::start("");
    let place = cluster.directory("space");
    cluster.sql(&format!("CREATE TABLESPACE space LOCATION '{}'", place.display()));
    cluster.sql("CREATE TABLE here AS SELECT i, repeat('x', 200) FROM generate_series(1, 20000) i");
    cluster.sql("CREATE TABLE there TABLESPACE space AS SELECT i FROM generate_series(1, 5000) i");
    cluster.sql("CHECKPOINT");
    let oid = cluster.sql("SELECT oid FROM pg_tablespace WHERE spcname = 'space'");

    let mut backup = Collector::default();
    let (start, end) =
        base_backup(&cluster.primary(), &BackupOptions::default(), &mut backup, &StopHandle::new()).unwrap();

    assert_eq!(backup.start.as_ref(), Some(&start));
    assert_eq!(backup.end, Some(end));
    assert!(end.end_lsn > start.start_lsn && (start.timeline, end.timeline) == (1, 1));
    assert!(start.server_version_num / 10_000 == 15 && start.data_checksums && start.segment_size == 1 << 20);
    let system_id = cluster.sql("SELECT system_identifier FROM pg_control_system()");
    assert_eq!(start.system_id.to_string(), system_id);
    let [tablespace] = &start.tablespaces[..] else { panic!("{:?}", start.tablespaces) };
    assert_eq!((tablespace.oid.to_string(), tablespace.location.as_str()), (oid.clone(), place.to_str().unwrap()));
    let link = (format!("pg_tblspc/{oid}"), place.to_str().unwrap().to_owned());
    assert_eq!(backup.links, BTreeMap::from([link]));
    assert!(backup.directories.contains("pg_wal") && backup.directories.contains("pg_tblspc"));
    assert_eq!(backup.last_file, "global/pg_control");
    let sum: u64 = backup.files.values().map(|content| content.len() as u64).sum();
    assert!(backup.progress.0 >= sum && backup.progress.1 > 0);
    assert!(backup.largest <= 64 * 1024, "a piece of {} bytes", backup.largest);

    // Made for the backup, not on disk.
    let label = String::from_utf8(backup.files.remove("backup_label").unwrap()).unwrap();
    assert!(label.contains("LABEL: pageserver"), "{label}");
    let map = String::from_utf8(backup.files.remove("tablespace_map").unwrap()).unwrap();
    assert_eq!(map, format!("{oid} {}\n", place.display()));
    let mut disk = BTreeMap::new();
    files(&cluster.data(), "", &mut disk);
    let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&backup.files), names(&disk));
    for (path, content) in &disk {
        assert!(backup.files[path] == *content, "{path} differs");
    }
    assert!(disk.keys().any(|path| path.starts_with(&format!("pg_tblspc/{oid}/PG_15_202209061/"))));
}

/// Fails at the first file.
struct Full;

impl BackupSink for Full {
    fn begin(&mut self, _: &BackupStart) -> Result<(), BoxError> {
        Ok(())
    }
    fn directory(&mut self, _: &str) -> Result<(), BoxError> {
        Ok(())
    }
    fn link(&mut self, _: &str, _: &str) -> Result<(), BoxError> {
        Ok(())
    }
    fn file_begin(&mut self, _: &str, _: u64) -> Result<(), BoxError> {
        Err("no space".into())
    }
    fn file_data(&mut self, _: &[u8]) -> Result<(), BoxError> {
        panic!("called after an error")
    }
    fn file_end(&mut self) -> Result<(), BoxError> {
        panic!("called after an error")
    }
    fn end(&mut self, _: &BackupEnd) -> Result<(), BoxError> {
        panic!("called after an error")
    }
}

#[test]
fn ends_with_the_first_error() {
    let cluster = Cluster::start("");
    let error = base_backup(&cluster.primary(), &BackupOptions::default(), &mut Full, &StopHandle::new()).unwrap_err();
    assert!(matches!(&error, Error::Sink(inner) if inner.to_string() == "no space"), "{error:?}");
    let mut options = BackupOptions::default();
    options.system_id = Some(1);
    let error = base_backup(&cluster.primary(), &options, &mut Full, &StopHandle::new()).unwrap_err();
    assert!(matches!(error, Error::WrongSystem { expected: 1, .. }), "{error:?}");
}
