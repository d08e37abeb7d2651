//! `flushed`: up to where whole records were on disk when that was last noted. It tells damage from the end of the log: what lies before the mark
//! was durable, so if it is not there any more, something has happened to the disk.
//!
//! ```text
//! flushed 0000000003ADE810 crc32c 1A2B3C4D\n
//! ```
//!
//! The mark is written after the WAL was synced, and is itself not synced: then it costs a system call and no wait. A loss of power may bring back
//! an older one, which is as true, or leave one that is torn, which is as good as none.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pgdata::Lsn;

use crate::storage::{Context, Storage, StorageError, StorageFile, read_file, write_all_at};

/// The name of the file in a timeline's directory.
pub(crate) const FLUSHED: &str = "flushed";
/// Bytes of the file.
const LENGTH: u64 = 41;

/// The mark of one timeline, on disk.
#[derive(Debug)]
pub(crate) struct FlushMark {
    storage: Arc<dyn Storage>,
    dir: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// None as long as there is no file that holds a mark.
    file: Option<Arc<dyn StorageFile>>,
    noted: Lsn,
}

impl FlushMark {
    /// Reads the mark in a timeline's directory. One that is damaged or cannot be read is no reason not to use the rest.
    pub fn open(storage: Arc<dyn Storage>, dir: &Path) -> FlushMark {
        let path = dir.join(FLUSHED);
        let read = read_file(&*storage, &path, LENGTH).map(|bytes| parse(&bytes));
        let file = storage.open(&path);
        let state = match (read, file) {
            (Ok(Some(noted)), Ok(file)) => State { file: Some(file), noted },
            (read, _) => {
                let missing = matches!(&read, Err(error) if error.kind() == std::io::ErrorKind::NotFound);
                if !missing {
                    let error = read.err().map_or_else(|| "it is damaged".to_owned(), |error| error.to_string());
                    tracing::warn!(path = %path.display(), error, "not known up to where WAL was on disk");
                }
                State { file: None, noted: Lsn::INVALID }
            }
        };
        FlushMark { storage, dir: dir.to_owned(), state: Mutex::new(state) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Up to where whole records were on disk at least; [`Lsn::INVALID`] if that is not known.
    pub fn noted(&self) -> Lsn {
        self.lock().noted
    }

    /// Notes that whole records are on disk up to `lsn`. An earlier position than the last changes nothing: what was there once has to come again.
    pub fn note(&self, lsn: Lsn) -> Result<(), StorageError> {
        let mut state = self.lock();
        if lsn <= state.noted {
            return Ok(());
        }
        let path = self.dir.join(FLUSHED);
        let bytes = to_bytes(lsn);
        match &state.file {
            Some(file) => write_all_at(&**file, &bytes, 0).context("write", &path)?,
            None => {
                let file = self.storage.create(&path).context("create", &path)?;
                write_all_at(&*file, &bytes, 0).context("write", &path)?;
                file.sync().context("sync", &path)?;
                self.storage.sync_dir(&self.dir).context("sync", &self.dir)?;
                state.file = Some(file);
            }
        }
        state.noted = lsn;
        Ok(())
    }
}

fn to_bytes(lsn: Lsn) -> Vec<u8> {
    let content = format!("flushed {:016X} crc32c ", lsn.0);
    let crc = crc32c::crc32c(content.as_bytes());
    format!("{content}{crc:08X}\n").into_bytes()
}

/// The position, if these are exactly the bytes that are written for it.
fn parse(bytes: &[u8]) -> Option<Lsn> {
    let digits = std::str::from_utf8(bytes.get(8..24)?).ok()?;
    let lsn = Lsn(u64::from_str_radix(digits, 16).ok()?);
    (to_bytes(lsn) == bytes).then_some(lsn)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_and_every_byte_is_protected() {
        let bytes = to_bytes(Lsn(0x3AD_E810));
        assert_eq!((bytes.len() as u64, parse(&bytes)), (LENGTH, Some(Lsn(0x3AD_E810))));
        assert_eq!(parse(&to_bytes(Lsn(u64::MAX))), Some(Lsn(u64::MAX)));
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                assert_eq!(parse(&changed), None, "byte {at} bit {bit}");
            }
            assert_eq!(parse(&bytes[..at]), None);
        }
    }

    /// The remains of one mark and the beginning of the next.
    #[test]
    fn a_torn_mark_is_none_or_one_of_the_two() {
        let (old, new) = (to_bytes(Lsn(0x3AD_E810)), to_bytes(Lsn(0x4AD_E818)));
        for at in 0..=old.len() {
            let torn = [&new[..at], &old[at..]].concat();
            let read = parse(&torn);
            assert!(torn == old || torn == new || read.is_none(), "{at}: {read:?}");
        }
    }
}
