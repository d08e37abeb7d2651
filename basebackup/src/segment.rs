//! The WAL in the backup: the segment that it ends in, or all of it that a standby replays.

use std::io::Write;

use pgdata::wal::WAL_PAGE_SIZE;
use pgdata::{CheckPoint, Lsn};

use crate::archive::{Archive, File};
use crate::standby::{Replay, read_kept};
use crate::wal::{History, checkpoint_wal, empty_page};
use crate::{Backup, BackupError};

/// WAL is copied in pieces of this many bytes.
const PIECE: u64 = 256 << 10;

/// Writes the segment with the checkpoint record, and the one behind it if the record goes on there.
///
/// Before the record is the WAL that leads to it, where the source has it, else pages with headers alone; behind it, zeros.
pub(crate) fn write<W: Write>(
    backup: &Backup<'_>,
    check_point: &CheckPoint,
    archive: &mut Archive<W>,
) -> Result<(), BackupError> {
    let size = backup.identity.segment_size;
    let segno = size.segment_of(backup.place.end);
    let mut file = archive.file(&path(backup, segno), u64::from(size.bytes()))?;
    let prev = write_before(backup, &mut file)?;
    let wal = checkpoint_wal(backup.identity, backup.place, prev, check_point)
        .map_err(|source| BackupError::Wal { lsn: backup.lsn(), source })?;
    let room = (size.bytes() - size.offset_of(backup.place.end)) as usize;
    let (here, behind) = wal.split_at(wal.len().min(room));
    file.write(here)?;
    file.fill()?;
    file.finish()?;
    if !behind.is_empty() {
        let mut file = archive.file(&path(backup, segno + 1), u64::from(size.bytes()))?;
        file.write(behind)?;
        file.fill()?;
        file.finish()?;
    }
    Ok(())
}

/// Writes the segments from the one in which replay begins to the one that the backup ends in, as the source has them; zeros behind the
/// end.
pub(crate) fn write_history<W: Write>(
    backup: &Backup<'_>,
    replay: &Replay,
    archive: &mut Archive<W>,
) -> Result<(), BackupError> {
    let (size, end, redo) = (backup.identity.segment_size, backup.place.end, replay.check_point.redo);
    let mut at = Lsn(redo.0 - u64::from(size.offset_of(redo)));
    let mut buffer = vec![0; PIECE as usize];
    while at < end {
        let path = format!("pg_wal/{}", replay.segment_file(size, size.segment_of(at)));
        let mut file = archive.file(&path, u64::from(size.bytes()))?;
        let segment_end = Lsn(at.0 + u64::from(size.bytes())).min(end);
        while at < segment_end {
            let piece = &mut buffer[..PIECE.min(segment_end.bytes_since(at)) as usize];
            read_kept(backup.source, end, redo, at, piece)?;
            file.write(piece)?;
            at = Lsn(at.0 + piece.len() as u64);
        }
        file.fill()?;
        file.finish()?;
    }
    Ok(())
}

fn path(backup: &Backup<'_>, segno: u64) -> String {
    format!("pg_wal/{}", backup.identity.segment_size.file_name(backup.identity.timeline, segno))
}

/// Writes what is before the backup's LSN, and finds where the last record starts; [`Lsn::INVALID`] if nobody knows.
fn write_before<W: Write>(backup: &Backup<'_>, file: &mut File<'_, W>) -> Result<Lsn, BackupError> {
    let start = backup.place.segment_start(backup.identity.segment_size);
    let found = match start == backup.place.end {
        true => None,
        false => copy_history(backup, start, file)?,
    };
    if let Some(prev) = found {
        return Ok(prev);
    }
    let prev = backup.source.last_record_start().map_err(|error| backup.source_error("the last record", error))?;
    // The next record's predecessor lies before it, or a server does not believe it.
    Ok(prev.filter(|prev| *prev < backup.place.start).unwrap_or(Lsn::INVALID))
}

/// Copies the source's WAL from the segment's start up to the backup's LSN, checking it on the way, and answers where the last record
/// in it starts. Empty pages instead, if the source does not have it.
fn copy_history<W: Write>(backup: &Backup<'_>, start: Lsn, file: &mut File<'_, W>) -> Result<Option<Lsn>, BackupError> {
    let end = backup.place.end;
    let mut buffer = vec![0; PIECE.min(end.bytes_since(start)) as usize];
    let mut history = None;
    let mut at = start;
    while at < end {
        let piece = &mut buffer[..PIECE.min(end.bytes_since(at)) as usize];
        let kept = backup.source.wal(at, piece);
        if !kept.map_err(|error| backup.source_error(&format!("the WAL from {at} on"), error))? {
            return match history {
                None => write_empty_pages(backup, start, file).map(|()| None),
                Some(_) => Err(BackupError::WalGap { lsn: end, at }),
            };
        }
        let history = match &mut history {
            Some(history) => history,
            None => history.insert(History::begin(backup.identity, start, end, piece)?),
        };
        history.feed(piece)?;
        file.write(piece)?;
        at = Lsn(at.0 + piece.len() as u64);
    }
    history.map_or(Ok(None), History::finish)
}

/// Writes pages that have a header and nothing else, the last one up to the backup's LSN.
fn write_empty_pages<W: Write>(backup: &Backup<'_>, start: Lsn, file: &mut File<'_, W>) -> Result<(), BackupError> {
    let end = backup.place.end;
    let mut at = start;
    while at < end {
        let count = (WAL_PAGE_SIZE as u64).min(end.bytes_since(at));
        file.write(&empty_page(backup.identity, at)[..count as usize])?;
        at = Lsn(at.0 + count);
    }
    Ok(())
}
