//! A disk that is full, or does not do what it is told, while much WAL comes.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use pgdata::Lsn;
use repository::{FileSystem, IngestError, Options, Repository, Storage, StorageFile, Timeline, WalLogError};

use crate::fixture::{Counters, FIRST, Home, SEGMENT, Wal, attach, check};

/// The operating system's files, of which no more is written than there is room for.
#[derive(Clone, Debug)]
struct Disk {
    room: Arc<AtomicUsize>,
    sync_fails: Arc<AtomicBool>,
}

#[derive(Debug)]
struct File(Arc<dyn StorageFile>, Disk);

impl Disk {
    fn new() -> Disk {
        Disk { room: Arc::new(AtomicUsize::new(usize::MAX)), sync_fails: Arc::default() }
    }

    fn set_room(&self, bytes: usize) {
        self.room.store(bytes, Ordering::Relaxed);
    }

    fn open(&self, home: &Home) -> Arc<Repository> {
        Repository::open_on(Arc::new(self.clone()), home.path(), Box::new(Counters), Options::default())
            .expect("opened")
    }

    fn file(&self, file: io::Result<Arc<dyn StorageFile>>) -> io::Result<Arc<dyn StorageFile>> {
        Ok(Arc::new(File(file?, self.clone())))
    }
}

impl Storage for Disk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        FileSystem.create_dir(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        FileSystem.list(dir)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>> {
        self.file(FileSystem.create(path))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>> {
        self.file(FileSystem.open(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        FileSystem.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        FileSystem.remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        FileSystem.sync_dir(dir)
    }
}

impl StorageFile for File {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        // The mark of what is on disk is overwritten, and takes no room.
        if buf.len() < 100 {
            return self.0.write_at(buf, offset);
        }
        let left = self.1.room.load(Ordering::Relaxed);
        let now = buf.len().min(left);
        if now == 0 {
            return Err(ErrorKind::StorageFull.into());
        }
        self.1.room.fetch_sub(now, Ordering::Relaxed);
        self.0.write_at(&buf[..now], offset)
    }

    fn sync(&self) -> io::Result<()> {
        match self.1.sync_fails.load(Ordering::Relaxed) {
            true => Err(io::Error::other("told to fail")),
            false => self.0.sync(),
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn size(&self) -> io::Result<u64> {
        self.0.size()
    }
}

/// Sends as a receiver does at full speed, until something goes wrong or all is there.
fn send(timeline: &Timeline, wal: &Wal) -> Result<(), IngestError> {
    let mut at = timeline.ingest().resume_lsn();
    while at < wal.end() {
        let end = Lsn((at.0 + 130_000).min(wal.end().0));
        timeline.ingest().write(at, wal.slice(at, end))?;
        if end.0 / SEGMENT != at.0 / SEGMENT {
            timeline.ingest().begin_flush()?;
        }
        at = end;
    }
    timeline.ingest().flush().map(drop)
}

/// All at once: one flush.
fn send_at_once(timeline: &Timeline, wal: &Wal) -> Result<(), IngestError> {
    let at = timeline.ingest().resume_lsn();
    timeline.ingest().write(at, wal.slice(at, wal.end()))?;
    timeline.ingest().flush().map(drop)
}

#[test]
fn a_full_disk_in_the_middle_of_much_wal_keeps_what_was_appended_and_goes_on_when_there_is_room() {
    for (send, room) in
        [send, send_at_once].into_iter().flat_map(|send| [0, 1, 700_000, 2_600_001].map(|room| (send, room)))
    {
        let (home, mut wal, disk) = (Home::new(), Wal::new(), Disk::new());
        wal.fill(5_000_000);
        let timeline = attach(&disk.open(&home), "main");
        disk.set_room(room);
        let error = send(&timeline, &wal).expect_err("no room");
        let IngestError::Log(WalLogError::Storage(storage)) = &error else { panic!("{error}") };
        assert!(storage.is_full() && error.may_pass() && !error.must_end(), "{error}");
        // What is appended are pieces of 256 KiB, and every record that is whole with them is seen: they have less than 10000 bytes.
        let there = timeline.last_record_lsn();
        assert!(there.0 <= FIRST.0 + room as u64 || room < 40, "{there} with room for {room}");
        assert!(there.0 + (256 << 10) + 10_000 > FIRST.0 + room as u64, "{there} with room for {room}");
        assert!(timeline.fault().is_none());
        check(&timeline, &wal, there);

        disk.set_room(usize::MAX);
        send(&timeline, &wal).expect("there is room");
        assert_eq!(timeline.last_record_lsn(), wal.end());
        check(&timeline, &wal, wal.end());
        drop(timeline);
        let timeline = disk.open(&home).timeline("default", "main").expect("opened");
        assert_eq!(timeline.last_record_lsn(), wal.end());
        check(&timeline, &wal, wal.end());
    }
}

#[test]
fn wal_that_could_not_be_made_durable_while_more_came_is_never_seen() {
    let (home, mut wal, disk) = (Home::new(), Wal::new(), Disk::new());
    wal.fill(1_500_000);
    let timeline = attach(&disk.open(&home), "main");
    send(&timeline, &wal).expect("all is well");
    let good = timeline.last_record_lsn();
    wal.fill(5_000_000);
    disk.sync_fails.store(true, Ordering::Relaxed);
    let error = send(&timeline, &wal).expect_err("told to fail");
    assert!(error.must_end(), "{error}");
    assert_eq!((timeline.last_record_lsn(), timeline.ingest().resume_lsn()), (good, good));
    disk.sync_fails.store(false, Ordering::Relaxed);
    assert!(timeline.ingest().flush().expect_err("for good").must_end());
    assert_eq!(timeline.last_record_lsn(), good);
}
