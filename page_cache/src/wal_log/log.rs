//! Opening, finding files, cutting off.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use pgdata::{Lsn, Timelines};

use super::sync::Writer;
use super::window::Window;
use super::{WalLogError, WalReader, timelines};
use crate::manifest::TimelineInfo;
use crate::storage::{Context, Storage, StorageError, StorageFile, read_exact_at, write_all_at};

/// How many segment files are kept open for reading: 4 GiB of WAL. Records of one page lie anywhere in it, and opening a file for each would take
/// several times as long as reading it.
const OPEN_FILES: usize = 256;
/// How much is written again at a time when the log is opened.
const PIECE: u64 = 1 << 20;

/// The WAL of one timeline on disk.
///
/// One thread appends; others read what was appended at the same time. Reading takes no lock that appending holds.
#[derive(Debug)]
pub struct WalLog {
    pub(super) storage: Arc<dyn Storage>,
    pub(super) dir: PathBuf,
    pub(super) info: TimelineInfo,
    /// Whose WAL it is, from the timeline of the base backup on.
    timelines: RwLock<Timelines>,
    start: Lsn,
    /// The three positions are written by the holder of `writer` only, except the floor.
    pub(super) end: AtomicU64,
    pub(super) flushed: AtomicU64,
    /// Up to here records are in use; nothing before is ever cut off.
    floor: AtomicU64,
    /// Held by who makes WAL durable or cuts it off, and taken before `writer`.
    pub(super) syncing: Mutex<()>,
    pub(super) writer: Mutex<Writer>,
    pub(super) window: RwLock<Window>,
    /// Memory that the window has no use for any more.
    pub(super) spare: Mutex<Option<Vec<u8>>>,
    /// By timeline and number: a segment in which a timeline begins is in two files.
    open_files: RwLock<BTreeMap<(u32, u64), Arc<dyn StorageFile>>>,
}

impl WalLog {
    /// Opens the log in `dir` and finds its end: that of the last file. So many bytes of memory are for the newest WAL.
    pub(crate) fn open(
        storage: Arc<dyn Storage>,
        dir: &Path,
        info: TimelineInfo,
        window_bytes: usize,
    ) -> Result<WalLog, WalLogError> {
        let segno = info.segment_size.segment_of(info.start_lsn);
        let start = Lsn(info.start_lsn.0 - u64::from(info.segment_size.offset_of(info.start_lsn)));
        let timelines = timelines::recover(&*storage, dir, &info)?;
        let log = WalLog {
            storage,
            dir: dir.to_owned(),
            info,
            timelines: RwLock::new(timelines),
            start,
            end: AtomicU64::new(start.0),
            flushed: AtomicU64::new(start.0),
            floor: AtomicU64::new(start.0),
            syncing: Mutex::default(),
            writer: Mutex::default(),
            window: RwLock::new(Window::new(info.segment_size, window_bytes)),
            spare: Mutex::default(),
            open_files: RwLock::default(),
        };
        let lengths = log.segment_lengths()?;
        let mut end = start;
        for (expected, (found, length)) in (segno..).zip(&lengths) {
            let full = u64::from(info.segment_size.bytes());
            let last = lengths.last_key_value().is_some_and(|(last, _)| last == found);
            if expected != *found || *length > full || (*length < full && !last) {
                let got = if expected == *found { *length } else { 0 };
                return Err(WalLogError::SegmentLength { path: log.path(expected), got, expected: full });
            }
            end = Lsn(end.0 + length);
        }
        log.end.store(end.0, Ordering::Release);
        if let Some((last, _)) = lengths.last_key_value() {
            let file = log.open_segment(*last)?;
            write_again(&*file, lengths[last], &log.path(*last))?;
            log.storage.sync_dir(dir).context("sync", dir)?;
            log.lock().file = Some((*last, file));
        }
        log.flushed.store(end.0, Ordering::Release);
        Ok(log)
    }

    /// Every segment with the length of the file that has all of it.
    fn segment_lengths(&self) -> Result<BTreeMap<u64, u64>, WalLogError> {
        let (mut lengths, size, timelines) = (BTreeMap::new(), self.info.segment_size, self.timelines());
        for name in self.storage.list(&self.dir).context("list", &self.dir)? {
            let path = self.dir.join(&name);
            match size.parse_file_name(&name) {
                Some((timeline, segno)) if timeline == timelines.of_segment(size, segno) => {
                    let file = self.storage.open(&path).context("open", &path)?;
                    lengths.insert(segno, file.size().context("read the size of", &path)?);
                }
                Some((timeline, segno)) if timelines::ends_within(&timelines, timeline, size, segno) => {}
                None if Timelines::parse_file_name(&name).is_some() => {}
                _ => return Err(WalLogError::StrangeFile(path)),
            }
        }
        Ok(lengths)
    }

    pub(super) fn path(&self, segno: u64) -> PathBuf {
        self.dir.join(self.file_name(segno))
    }

    /// The name of the file that all WAL of a segment is in.
    #[must_use]
    pub fn file_name(&self, segno: u64) -> String {
        self.info.segment_size.file_name(self.timeline_of(segno), segno)
    }

    pub(super) fn timeline_of(&self, segno: u64) -> u32 {
        let timelines = self.timelines.read().unwrap_or_else(PoisonError::into_inner);
        timelines.of_segment(self.info.segment_size, segno)
    }

    /// PostgreSQL's timelines that the WAL is of: that of the base backup and those that followed, and perhaps what was before.
    #[must_use]
    pub fn timelines(&self) -> Timelines {
        self.timelines.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_timelines(&self, timelines: Timelines) {
        *self.timelines.write().unwrap_or_else(PoisonError::into_inner) = timelines;
    }

    /// The first byte that the log holds or will hold: the start of the segment in which the timeline starts.
    #[must_use]
    pub fn start(&self) -> Lsn {
        self.start
    }

    /// The position after the last byte appended: where the next append goes.
    #[must_use]
    pub fn end(&self) -> Lsn {
        Lsn(self.end.load(Ordering::Acquire))
    }

    /// Everything before this position is on disk and survives a crash.
    #[must_use]
    pub fn flushed(&self) -> Lsn {
        Lsn(self.flushed.load(Ordering::Acquire))
    }

    /// Everything before this position was made durable before the log was opened: if it does not decode, it is damaged. What
    /// follows, up to [`WalLog::end`], may end in the middle of a record, or in remains of one that was never acknowledged.
    #[must_use]
    pub fn durable_since(&self) -> Lsn {
        match self.lock().file {
            Some((segno, _)) => self.info.segment_size.start_of(segno).unwrap_or(self.start),
            None => self.start,
        }
    }

    /// Bytes of memory that the newest WAL takes.
    pub(crate) fn window_bytes(&self) -> usize {
        self.window().memory()
    }

    pub(super) fn window(&self) -> RwLockReadGuard<'_, Window> {
        self.window.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Cuts the log off at `lsn`, so that other bytes can be appended there: after a reconnection the sender starts again
    /// behind the last whole record, and what it sent of the next one before is void. The cut is durable when this returns.
    ///
    /// # Errors
    /// [`WalLogError::CannotTruncate`] if `lsn` is after the end, or before the end of a record that was ingested;
    /// [`WalLogError::Poisoned`]. A storage error poisons the log, for the file's content is unknown then.
    pub fn truncate_to(&self, lsn: Lsn) -> Result<(), WalLogError> {
        let syncing = self.syncing();
        // Afterwards all files have the names under which they are looked for.
        self.settle(&syncing)?;
        let mut writer = self.lock();
        writer.check()?;
        let (end, floor) = (self.end(), Lsn(self.floor.load(Ordering::Acquire)));
        if lsn < floor || lsn > end {
            return Err(WalLogError::CannotTruncate { lsn, floor, end });
        }
        if lsn == end {
            return Ok(());
        }
        self.end.store(lsn.0, Ordering::Release);
        drop(self.window.write().unwrap_or_else(PoisonError::into_inner).cut(lsn));
        self.flushed.fetch_min(lsn.0, Ordering::AcqRel);
        let result = self.cut(&mut writer, lsn, end);
        writer.poison_if(result)?;
        Ok(())
    }

    /// Removes the files behind `lsn`, the last one first and each durably, so that there is never a gap between files; then
    /// shortens the one that `lsn` lies in.
    fn cut(&self, writer: &mut Writer, lsn: Lsn, end: Lsn) -> Result<(), StorageError> {
        let size = self.info.segment_size;
        let first_gone = if size.offset_of(lsn) == 0 { size.segment_of(lsn) } else { size.segment_of(lsn) + 1 };
        writer.file = None;
        for segno in (first_gone..=size.segment_of(end)).rev() {
            let path = self.path(segno);
            self.files().remove(&(self.timeline_of(segno), segno));
            match self.storage.remove(&path) {
                // No file was made yet for the segment that begins at the end.
                Err(e) if e.kind() == std::io::ErrorKind::NotFound && segno == size.segment_of(end) => continue,
                result => result.context("remove", &path)?,
            }
            self.storage.sync_dir(&self.dir).context("sync", &self.dir)?;
        }
        if lsn == self.start {
            return Ok(());
        }
        let last = first_gone - 1;
        let path = self.path(last);
        let file = self.storage.open(&path).context("open", &path)?;
        if size.offset_of(lsn) != 0 {
            file.set_len(u64::from(size.offset_of(lsn))).context("shorten", &path)?;
            file.sync().context("sync", &path)?;
            if std::mem::take(&mut writer.dir_dirty) {
                self.storage.sync_dir(&self.dir).context("sync", &self.dir)?;
            }
            self.flushed.store(lsn.0, Ordering::Release);
        }
        writer.file = Some((last, file));
        Ok(())
    }

    /// Nothing before `lsn` may be cut off from here on.
    pub(crate) fn protect(&self, lsn: Lsn) {
        self.floor.fetch_max(lsn.0, Ordering::AcqRel);
    }

    /// The log's bytes from `lsn` on, up to its end, in pieces of bounded size.
    ///
    /// # Errors
    /// [`WalLogError::OutOfRange`] if `lsn` is not between start and end.
    pub fn read_from(&self, lsn: Lsn) -> Result<WalReader<'_>, WalLogError> {
        self.check_range(lsn)?;
        Ok(WalReader::new(self, lsn, false))
    }

    /// As [`WalLog::read_from`]; what is read is in memory afterwards, as if it had just been appended.
    ///
    /// # Errors
    /// As [`WalLog::read_from`].
    pub fn replay_from(&self, lsn: Lsn) -> Result<WalReader<'_>, WalLogError> {
        self.check_range(lsn)?;
        Ok(WalReader::new(self, lsn, true))
    }

    pub(super) fn check_range(&self, lsn: Lsn) -> Result<(), WalLogError> {
        let (start, end) = (self.start, self.end());
        if lsn < start || lsn > end { Err(WalLogError::OutOfRange { lsn, start, end }) } else { Ok(()) }
    }

    pub(super) fn files(&self) -> RwLockWriteGuard<'_, BTreeMap<(u32, u64), Arc<dyn StorageFile>>> {
        self.open_files.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// A segment's file for reading. Files are opened outside the lock; the oldest of those kept is let go.
    pub(super) fn open_segment(&self, segno: u64) -> Result<Arc<dyn StorageFile>, StorageError> {
        let timeline = self.timeline_of(segno);
        let open = self.open_files.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = open.get(&(timeline, segno)) {
            return Ok(Arc::clone(file));
        }
        drop(open);
        let path = self.dir.join(self.info.segment_size.file_name(timeline, segno));
        let file = self.storage.open(&path).context("open", &path)?;
        let mut files = self.files();
        if files.len() >= OPEN_FILES {
            files.pop_first();
        }
        files.insert((timeline, segno), Arc::clone(&file));
        Ok(file)
    }
}

/// Makes durable what a file holds, whatever happened to it before. A sync alone would not: after one that failed, the kernel takes for clean
/// what never came to the disk, and goes on reading it from memory.
fn write_again(file: &dyn StorageFile, length: u64, path: &Path) -> Result<(), StorageError> {
    let mut buffer = vec![0; length.min(PIECE) as usize];
    let mut offset = 0;
    while offset < length {
        let piece = &mut buffer[..(length - offset).min(PIECE) as usize];
        read_exact_at(file, piece, offset).context("read", path)?;
        write_all_at(file, piece, offset).context("write", path)?;
        offset += piece.len() as u64;
    }
    file.sync().context("sync", path)
}
