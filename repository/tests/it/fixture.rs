//! A small cluster: what its backup holds, WAL that goes on from there, and an engine that counts records.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pgdata::wal::SegmentSize;
use pgdata::{ControlFile, Lsn, PAGE_SIZE, Page, PageKey, PgVersion, SlruKind};
use repository::{Attach, Engines, Options, ReadError, Repository, RepositoryError, Timeline, TimelineInfo};
use tempfile::TempDir;
use wal_decoder::rmgr::{RM_XACT_ID, RM_XLOG_ID, XLOG_SWITCH};
use wal_decoder::{NewRecord, WalIdentity, WalWriter, Written};
use walredo::{Redo, RedoError, RedoRequest};

pub const SYSTEM_ID: u64 = 0x1122_3344_5566_7788;
pub const SEGMENT: u64 = 1 << 20;
/// Where the WAL of the timeline begins: a segment's start.
pub const FIRST: Lsn = Lsn(3 * SEGMENT);
/// Its first record, behind the long page header.
pub const START: Lsn = Lsn(FIRST.0 + 40);
const XLOG_NOOP: u8 = 0x20;
const COMMIT: u8 = 0x00;

pub fn segment_size() -> SegmentSize {
    SegmentSize::new(SEGMENT as u32).expect("a segment size")
}

/// WAL from [`FIRST`] on.
pub struct Wal {
    writer: WalWriter,
    /// The LSNs of the commits.
    pub commits: Vec<Lsn>,
}

impl Wal {
    pub fn new() -> Wal {
        let identity =
            WalIdentity { version: PgVersion::V15, timeline: 1, system_id: SYSTEM_ID, segment_size: segment_size() };
        let writer = WalWriter::new(identity, FIRST, Lsn(FIRST.0 - 64)).expect("a start");
        Wal { writer, commits: Vec::new() }
    }

    /// A commit, which changes page 0 of `pg_xact`.
    pub fn commit(&mut self) -> Lsn {
        let xid = 1000 + self.commits.len() as u32;
        let record = NewRecord { xid, info: COMMIT, rmid: RM_XACT_ID, main_data: &[0; 8] };
        let lsn = self.append(&record).lsn;
        self.commits.push(lsn);
        lsn
    }

    /// A record of some length that changes nothing.
    pub fn noop(&mut self, len: usize) -> Written {
        self.append(&NewRecord { xid: 0, info: XLOG_NOOP, rmid: RM_XLOG_ID, main_data: &vec![7; len] })
    }

    /// A commit of no transaction, which no server writes.
    pub fn nonsense(&mut self) -> Written {
        self.append(&NewRecord { xid: 0, info: COMMIT, rmid: RM_XACT_ID, main_data: &[0; 8] })
    }

    /// Ends the segment early. The zeros behind the record are written as well; the answer is where they begin.
    pub fn switch(&mut self) -> Lsn {
        self.append(&NewRecord { xid: 0, info: XLOG_SWITCH, rmid: RM_XLOG_ID, main_data: &[] });
        let end = self.end();
        self.writer.fill_segment();
        end
    }

    /// Commits among records of odd lengths, up to some bytes of WAL.
    pub fn fill(&mut self, bytes: u64) {
        let end = self.end().0 + bytes;
        while self.end().0 < end {
            self.commit();
            self.noop(17 + (self.commits.len() * 7919) % 9000);
        }
    }

    fn append(&mut self, record: &NewRecord<'_>) -> Written {
        self.writer.append(record).expect("a record")
    }

    pub fn end(&self) -> Lsn {
        self.writer.position()
    }

    pub fn slice(&self, from: Lsn, to: Lsn) -> &[u8] {
        &self.writer.bytes()[(from.0 - FIRST.0) as usize..(to.0 - FIRST.0) as usize]
    }

    /// How many commits a reader at `lsn` sees.
    pub fn commits_up_to(&self, lsn: Lsn) -> u64 {
        self.commits.iter().filter(|commit| **commit <= lsn).count() as u64
    }

    /// Gives a timeline all WAL from where it wants it up to `to`, in pieces, each made durable.
    pub fn send(&self, timeline: &Timeline, to: Lsn) {
        let mut at = timeline.ingest().resume_lsn();
        while at < to {
            let end = Lsn((at.0 + 70_001).min(to.0));
            let mut ingest = timeline.ingest();
            ingest.write(at, self.slice(at, end)).expect("written");
            let progress = ingest.flush().expect("flushed");
            assert_eq!(progress.written, end);
            assert!(progress.flushed <= ingest.resume_lsn(), "acknowledged, but not where a restart goes on");
            at = end;
        }
    }
}

/// Adds the number of records to the number in the page's first eight bytes.
struct Counter;

impl Redo for Counter {
    fn redo(&self, request: &RedoRequest<'_>, page: &mut Page) -> Result<(), RedoError> {
        assert!(request.has_base, "commits need a page");
        let (count, _) = page.split_first_chunk_mut::<8>().expect("a page");
        *count = (u64::from_le_bytes(*count) + request.records.len() as u64).to_le_bytes();
        Ok(())
    }
}

pub struct Counters;

impl Engines for Counters {
    fn engine(&self, _: PgVersion, _: &[u8]) -> Result<Arc<dyn Redo>, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Arc::new(Counter))
    }
}

/// A repository with its directory.
pub struct Home {
    dir: TempDir,
}

impl Home {
    pub fn new() -> Home {
        Home { dir: tempfile::tempdir().expect("temporary directory") }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn open(&self) -> Arc<Repository> {
        self.try_open().expect("opened")
    }

    pub fn try_open(&self) -> Result<Arc<Repository>, RepositoryError> {
        Repository::open(self.path(), Box::new(Counters), Options::default())
    }
}

pub fn info() -> TimelineInfo {
    TimelineInfo {
        version: PgVersion::V15,
        system_id: SYSTEM_ID,
        segment_size: segment_size(),
        pg_timeline: 1,
        start_lsn: START,
    }
}

/// The backup up to its last file.
pub fn begin(repository: &Arc<Repository>, name: &str) -> Attach {
    let mut attach = repository.reserve(name).expect("a free name").attach(info()).expect("begun");
    file(&mut attach, "base/5/16384", &[3; 2 * PAGE_SIZE]);
    file(&mut attach, "pg_xact/0000", &[0; PAGE_SIZE]);
    let control = ControlFile::initial(PgVersion::V15, SYSTEM_ID).to_bytes();
    file(&mut attach, "global/pg_control", &control);
    attach
}

fn file(attach: &mut Attach, path: &str, content: &[u8]) {
    attach.file_begin(path, content.len() as u64).expect("begun");
    for piece in content.chunks(5000) {
        attach.file_data(piece).expect("taken");
    }
    attach.file_end().expect("ended");
}

/// A timeline that is consistent from the start.
pub fn attach(repository: &Arc<Repository>, name: &str) -> Arc<Timeline> {
    begin(repository, name).finish(START).expect("attached")
}

/// What the engine counted.
pub fn commits(timeline: &Timeline, lsn: Lsn) -> Result<u64, ReadError> {
    let mut page = [0; PAGE_SIZE];
    timeline.get_page(PageKey::slru(SlruKind::Clog, 0), lsn, &mut page)?;
    Ok(u64::from_le_bytes(*page.first_chunk().expect("a page")))
}

/// Compares what is read at every commit up to `to` with what was written.
pub fn check(timeline: &Timeline, wal: &Wal, to: Lsn) {
    for lsn in wal.commits.iter().filter(|lsn| **lsn <= to) {
        assert_eq!(commits(timeline, *lsn).expect("readable"), wal.commits_up_to(*lsn), "at {lsn}");
    }
}

/// The file of the WAL segment that `lsn` lies in.
pub fn segment_file(timeline_dir: &Path, lsn: Lsn) -> PathBuf {
    timeline_dir.join("versions/wal").join(segment_size().file_name(1, segment_size().segment_of(lsn)))
}

/// Changes one byte of the WAL on disk.
pub fn damage(timeline_dir: &Path, lsn: Lsn) {
    let path = segment_file(timeline_dir, lsn);
    let mut bytes = fs::read(&path).expect("a segment");
    bytes[(lsn.0 % SEGMENT) as usize] ^= 0x10;
    fs::write(&path, bytes).expect("written");
}
