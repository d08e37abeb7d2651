//! The log goes on with another timeline of PostgreSQL.
//!
//! The history file makes the switch: it gets its name in one step, after everything before it is durable. What else belongs to it, the
//! copy of the segment in which the timeline begins, is made good when the log is opened, if a crash came between.

use std::path::Path;

use pgdata::Timelines;
use pgdata::wal::SegmentSize;

use super::{WalLog, WalLogError};
use crate::manifest::TimelineInfo;
use crate::storage::{Context, Storage, StorageError, read_exact_at, read_file, write_all_at};

/// What files are called until they are whole.
const UNFINISHED: &str = ".tmp";
/// The last line of a history file kept here: to PostgreSQL a comment, to us what shows damage.
const CRC_LINE: &str = "# CRC-32C of the lines above: ";
/// Segments are copied in pieces of this many bytes.
const PIECE: usize = 256 << 10;

/// Reads which timelines the log in `dir` is of, and finishes a switch that a crash interrupted.
pub(super) fn recover(storage: &dyn Storage, dir: &Path, info: &TimelineInfo) -> Result<Timelines, WalLogError> {
    let names = storage.list(dir).context("list", dir)?;
    for name in names.iter().filter(|name| name.ends_with(UNFINISHED)) {
        let path = dir.join(name);
        storage.remove(&path).context("remove", &path)?;
    }
    let mut numbers: Vec<u32> = names.iter().filter_map(|name| Timelines::parse_file_name(name)).collect();
    numbers.sort_unstable();
    let mut timelines = Timelines::single(info.pg_timeline);
    for timeline in numbers {
        let path = dir.join(Timelines::file_name(timeline));
        let next = parse_file(&path, timeline, &read_history(storage, dir, timeline)?)?;
        if !timelines.is_continued_by(&next) || next.end_of(info.pg_timeline).is_some_and(|end| end < info.start_lsn) {
            let reason = format!("timeline {timeline} does not come from timeline {}", timelines.last());
            return Err(WalLogError::HistoryFile { path, reason });
        }
        timelines = next;
    }
    if timelines.last() != info.pg_timeline {
        finish_switch(storage, dir, info.segment_size, &timelines)?;
    }
    Ok(timelines)
}

/// The history of a timeline as PostgreSQL has it, verified.
fn read_history(storage: &dyn Storage, dir: &Path, timeline: u32) -> Result<Vec<u8>, WalLogError> {
    let path = dir.join(Timelines::file_name(timeline));
    let mut bytes = read_file(storage, &path, 2 * Timelines::MAX_FILE as u64).context("read", &path)?;
    let wrong = |reason: String| WalLogError::HistoryFile { path: path.clone(), reason };
    let lines = bytes.strip_suffix(b"\n").and_then(|text| text.iter().rposition(|&byte| byte == b'\n'));
    let lines = lines.map_or(0, |at| at + 1);
    let (got, last) = (crc_line(&bytes[..lines]), String::from_utf8_lossy(&bytes[lines..]));
    if got != last {
        return Err(wrong(format!("its last line is {:?}, expected {:?}", last.trim_end(), got.trim_end())));
    }
    bytes.truncate(lines);
    Ok(bytes)
}

fn parse_file(path: &Path, timeline: u32, file: &[u8]) -> Result<Timelines, WalLogError> {
    Timelines::parse(timeline, file)
        .map_err(|error| WalLogError::HistoryFile { path: path.to_owned(), reason: error.to_string() })
}

fn crc_line(lines: &[u8]) -> String {
    format!("{CRC_LINE}{:08X}\n", crc32c::crc32c(lines))
}

/// Whether a timeline that others follow ends in the middle of a segment, so that the segment is in its file too.
pub(super) fn ends_within(timelines: &Timelines, timeline: u32, size: SegmentSize, segno: u64) -> bool {
    let end = timelines.end_of(timeline);
    end.is_some_and(|end| size.segment_of(end) == segno && size.offset_of(end) != 0)
}

/// The segment in which the newest timeline begins, if it begins in the middle of one: its number, and where in it.
fn first_segment(timelines: &Timelines, size: SegmentSize) -> Option<(u64, u32)> {
    let begin = timelines.begin();
    Some((size.segment_of(begin), size.offset_of(begin))).filter(|(_, offset)| *offset != 0)
}

/// Makes sure that the newest timeline's first segment is there and that of the timeline before is filled up.
fn finish_switch(
    storage: &dyn Storage,
    dir: &Path,
    size: SegmentSize,
    timelines: &Timelines,
) -> Result<(), WalLogError> {
    let Some((segno, _)) = first_segment(timelines, size) else { return Ok(()) };
    let path = dir.join(size.file_name(timelines.last(), segno));
    match storage.open(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            copy_begin(storage, dir, size, timelines)?;
            put_in_place(storage, dir, size, timelines)?;
        }
        other => drop(other.context("open", &path)?),
    }
    Ok(())
}

/// The file of the timeline before the newest one for the segment in which that begins.
fn parent_file(timelines: &Timelines, size: SegmentSize, segno: u64) -> String {
    let parent = timelines.ancestors().last().map_or(timelines.last(), |(timeline, _)| *timeline);
    size.file_name(parent, segno)
}

/// Copies what the segment has up to the newest timeline's beginning, durably, under a name that does not count yet.
fn copy_begin(storage: &dyn Storage, dir: &Path, size: SegmentSize, timelines: &Timelines) -> Result<(), WalLogError> {
    let Some((segno, offset)) = first_segment(timelines, size) else { return Ok(()) };
    let from = dir.join(parent_file(timelines, size, segno));
    let to = dir.join(size.file_name(timelines.last(), segno) + UNFINISHED);
    let old = storage.open(&from).context("open", &from)?;
    let got = old.size().context("read the size of", &from)?;
    if got < u64::from(offset) {
        return Err(WalLogError::SegmentLength { path: from, got, expected: u64::from(offset) });
    }
    let new = storage.create(&to).context("create", &to)?;
    let mut buffer = vec![0; PIECE.min(offset as usize)];
    let mut at = 0;
    while at < offset as usize {
        let piece = &mut buffer[..PIECE.min(offset as usize - at)];
        read_exact_at(&*old, piece, at as u64).context("read", &from)?;
        write_all_at(&*new, piece, at as u64).context("write", &to)?;
        at += piece.len();
    }
    new.sync().context("sync", &to)?;
    Ok(())
}

/// Gives the copy its name, and fills the file that it was made of up with zeros, as PostgreSQL's segment files are.
fn put_in_place(
    storage: &dyn Storage,
    dir: &Path,
    size: SegmentSize,
    timelines: &Timelines,
) -> Result<(), StorageError> {
    let Some((segno, _)) = first_segment(timelines, size) else { return Ok(()) };
    let old = dir.join(parent_file(timelines, size, segno));
    let file = storage.open(&old).context("open", &old)?;
    file.set_len(u64::from(size.bytes())).context("lengthen", &old)?;
    file.sync().context("sync", &old)?;
    let path = dir.join(size.file_name(timelines.last(), segno));
    storage.rename(&unfinished(&path), &path).context("rename into place", &path)?;
    storage.sync_dir(dir).context("sync", dir)
}

/// What a file is called until it counts.
pub(super) fn unfinished(path: &Path) -> std::path::PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(UNFINISHED);
    name.into()
}

impl WalLog {
    /// From [`WalLog::end`] on, the WAL is of another timeline, the child of the present one: `file` is its history file, as PostgreSQL
    /// wrote it. The switch is durable when this returns.
    ///
    /// # Errors
    /// [`WalLogError::History`] and [`WalLogError::NotNext`] if it is none that begins here; [`WalLogError::Storage`] if nothing has changed,
    /// so that it can be tried again, with a full disk for example; [`WalLogError::Poisoned`].
    pub fn begin_timeline(&self, timeline: u32, file: &[u8]) -> Result<(), WalLogError> {
        let next = Timelines::parse(timeline, file)?;
        let syncing = self.syncing();
        self.check_next(&next)?;
        self.sync_holding(&syncing, self.end())?;
        let mut writer = self.lock();
        writer.check()?;
        let (storage, size) = (&*self.storage, self.info.segment_size);
        copy_begin(storage, &self.dir, size, &next)?;
        let path = self.dir.join(Timelines::file_name(timeline));
        write_history(storage, &unfinished(&path), file)?;
        let switched = storage.rename(&unfinished(&path), &path).context("rename into place", &path);
        // From here on the switch may be there after a crash, or not.
        let switched = switched.and_then(|()| storage.sync_dir(&self.dir).context("sync", &self.dir));
        let switched = switched.and_then(|()| put_in_place(storage, &self.dir, size, &next));
        writer.poison_if(switched)?;
        self.set_timelines(next.clone());
        self.protect(next.begin());
        if let Some((segno, _)) = first_segment(&next, size) {
            let opened = self.open_segment(segno);
            writer.file = Some((segno, writer.poison_if(opened)?));
        }
        Ok(())
    }

    fn check_next(&self, next: &Timelines) -> Result<(), WalLogError> {
        let (now, end) = (self.timelines(), self.end());
        let wrong = |reason: String| Err(WalLogError::NotNext { timeline: next.last(), reason });
        match next.ancestors().last() {
            _ if !now.is_continued_by(next) => wrong(format!("its history is not that of timeline {}", now.last())),
            Some((parent, begin)) if *parent == now.last() && *begin == end => Ok(()),
            Some((parent, begin)) => wrong(format!(
                "it follows timeline {parent} at {begin}, but the WAL is of timeline {} and ends at {end}",
                now.last()
            )),
            None => wrong(format!("it is the timeline that the WAL is of, up to {end}")),
        }
    }

    /// The history file of a timeline, as PostgreSQL wrote it; `None` if it is not kept here. That of the base backup's own timeline is not,
    /// nor are those before it.
    ///
    /// # Errors
    /// If it is damaged or cannot be read.
    pub fn history_file(&self, timeline: u32) -> Result<Option<Vec<u8>>, WalLogError> {
        if timeline <= self.info.pg_timeline || !self.timelines().contains(timeline) {
            return Ok(None);
        }
        read_history(&*self.storage, &self.dir, timeline).map(Some)
    }
}

/// Writes a history file with the line that protects it.
fn write_history(storage: &dyn Storage, path: &Path, file: &[u8]) -> Result<(), StorageError> {
    let mut bytes = file.to_vec();
    if !bytes.is_empty() && !bytes.ends_with(b"\n") {
        bytes.push(b'\n');
    }
    let crc = crc_line(&bytes);
    bytes.extend_from_slice(crc.as_bytes());
    let file = storage.create(path).context("create", path)?;
    write_all_at(&*file, &bytes, 0).context("write", path)?;
    file.sync().context("sync", path)
}
