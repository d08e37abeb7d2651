//! A directory of WAL segments, read as fast as it goes.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use anyhow::{Context, Result};
use pgdata::Lsn;
use repository::TimelineInfo;
use wal_decoder::WalStream;

/// Bytes in a piece: as much as a replication connection's messages hold at most.
pub const PIECE: usize = 128 << 10;

/// The WAL of one cluster, from where its base backup begins.
pub struct Segments {
    dir: PathBuf,
    info: TimelineInfo,
    /// The end of the last whole record.
    end: Lsn,
}

impl Segments {
    /// Looks for the end of the WAL: of the last whole record in the last file that is there.
    pub fn open(dir: &Path, info: TimelineInfo) -> Result<Segments> {
        let mut all = Segments { dir: dir.to_owned(), info, end: Lsn::MAX };
        all.end = all.decode()?;
        anyhow::ensure!(
            all.end > info.start_lsn,
            "{} has no WAL from {} on, where the base backup begins",
            dir.display(),
            info.start_lsn
        );
        Ok(all)
    }

    /// Where the WAL begins that the base backup needs: at a segment's start.
    pub fn start(&self) -> Lsn {
        Lsn(self.info.start_lsn.0 - u64::from(self.info.segment_size.offset_of(self.info.start_lsn)))
    }

    /// The end of the last whole record.
    pub fn end(&self) -> Lsn {
        self.end
    }

    /// How much there is, in millions of bytes.
    pub fn megabytes(&self) -> f64 {
        self.end.bytes_since(self.start()) as f64 / 1e6
    }

    /// Hands out all of it in pieces.
    pub fn each_piece(&self, mut take: impl FnMut(Lsn, &[u8]) -> Result<()>) -> Result<()> {
        let size = self.info.segment_size;
        let mut buffer = vec![0; PIECE];
        let mut at = self.start();
        while at < self.end {
            let name = size.file_name(self.info.pg_timeline, size.segment_of(at));
            let path = self.dir.join(name);
            let mut file = match File::open(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound && self.end == Lsn::MAX => return Ok(()),
                file => file.with_context(|| format!("cannot open {}", path.display()))?,
            };
            file.seek(SeekFrom::Start(u64::from(size.offset_of(at))))?;
            let mut left = u64::from(size.bytes() - size.offset_of(at)).min(self.end.bytes_since(at));
            while left > 0 {
                let piece = &mut buffer[..left.min(PIECE as u64) as usize];
                file.read_exact(piece).with_context(|| format!("cannot read {}", path.display()))?;
                take(at, piece)?;
                at = Lsn(at.0 + piece.len() as u64);
                left -= piece.len() as u64;
            }
        }
        Ok(())
    }

    /// The least that can be done with WAL: reading it, and a CRC-32C over every byte of it.
    pub fn checksum(&self) -> Result<u32> {
        let mut crc = 0;
        self.each_piece(|_, piece| {
            crc = crc32c::crc32c_append(crc, piece);
            Ok(())
        })?;
        Ok(crc)
    }

    /// The least that keeping WAL takes: the files again, in `dir`, each made durable while the next one is written.
    pub fn write(&self, dir: &Path) -> Result<()> {
        let size = self.info.segment_size;
        let (full, fulls) = mpsc::sync_channel::<File>(0);
        std::thread::scope(|scope| {
            let syncing = scope.spawn(move || fulls.iter().try_for_each(|file| file.sync_data()));
            let mut current: Option<(u64, File)> = None;
            let written = self.each_piece(|at, piece| {
                let segno = size.segment_of(at);
                if current.as_ref().is_none_or(|(last, _)| *last != segno) {
                    let file = File::create_new(dir.join(size.file_name(self.info.pg_timeline, segno)))?;
                    if let Some((_, file)) = current.replace((segno, file)) {
                        // If it was not taken, its thread says why.
                        let _ = full.send(file);
                    }
                }
                let (_, file) = current.as_mut().expect("one was made");
                Ok(file.write_all(piece)?)
            });
            let _ = current.map(|(_, file)| full.send(file));
            drop(full);
            let synced = syncing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            written.and(synced.map_err(Into::into)).with_context(|| format!("cannot write in {}", dir.display()))
        })
    }

    /// Reads all records and checks the CRC of each; tells where the last one ends.
    pub fn decode(&self) -> Result<Lsn> {
        let (start, info) = (self.info.start_lsn, self.info);
        let mut stream =
            WalStream::new(start, info.segment_size.bytes(), info.version)?.expect_system_id(info.system_id);
        let mut ended = false;
        self.each_piece(|at, piece| {
            let skipped = start.bytes_since(at).min(piece.len() as u64) as usize;
            if ended {
                return Ok(());
            }
            let mut whole = stream.feed(&piece[skipped..]);
            loop {
                match whole.next_record() {
                    Ok(Some(_)) => {}
                    Ok(None) => return Ok(()),
                    Err(error) if error.is_end_of_wal() => {
                        ended = true;
                        return Ok(());
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        })?;
        Ok(stream.decoded_to())
    }
}
