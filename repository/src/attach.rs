//! The files of a base backup become a timeline.

use std::path::PathBuf;
use std::sync::Arc;

use page_cache::{BaseWriter, TimelineInfo};
use pgdata::{ControlFile, DataFile, Lsn, Object, PAGE_SIZE, SEGMENT_BLOCKS, Timelines};

use crate::{AttachTimelineError, Id, Repository, Timeline, names};

/// The largest file that is kept whole: all but relations and SLRU segments. Configuration, maps and two-phase state are far smaller.
const MAX_BLOB: u64 = 64 << 20;
/// Pages are handed on in pieces of this many bytes.
const PIECE: usize = 32 * PAGE_SIZE;

/// Takes a base backup file by file. Memory does not depend on the size of the database.
///
/// Nothing is a timeline before [`Attach::finish`]; dropped before that, it removes what it wrote.
pub struct Attach {
    repository: Arc<Repository>,
    id: Id,
    name: String,
    dir: PathBuf,
    writer: Option<BaseWriter>,
    info: TimelineInfo,
    current: Option<Current>,
    has_control_file: bool,
    finished: bool,
}

/// The file whose content is coming.
struct Current {
    path: String,
    size: u64,
    got: u64,
    target: Target,
    /// Bytes not handed on yet: less than a piece of pages, or all so far of a small file.
    pending: Vec<u8>,
}

enum Target {
    Pages { object: Object, next_block: u32 },
    Blob { control: bool },
    Nothing,
}

impl Attach {
    pub(crate) fn new(
        repository: Arc<Repository>,
        id: Id,
        name: String,
        dir: PathBuf,
        info: TimelineInfo,
    ) -> Result<Self, AttachTimelineError> {
        names::write(&dir.join(crate::timeline::NAME_FILE), &name)?;
        let writer =
            BaseWriter::create_on(Arc::clone(&repository.storage), &dir.join(crate::timeline::VERSIONS), info)?;
        Ok(Attach {
            repository,
            id,
            name,
            dir,
            writer: Some(writer),
            info,
            current: None,
            has_control_file: false,
            finished: false,
        })
    }

    fn writer(&mut self) -> Result<&mut BaseWriter, AttachTimelineError> {
        self.writer.as_mut().ok_or(AttachTimelineError::Store(page_cache::AttachError::Failed))
    }

    /// A symbolic link: tablespaces are told apart by them.
    ///
    /// # Errors
    /// If it cannot be stored, or is none of a data directory.
    pub fn link(&mut self, path: &str, target: &str) -> Result<(), AttachTimelineError> {
        if DataFile::classify(self.info.version, path)? == DataFile::Blob {
            self.writer()?.blob(path, target.as_bytes())?;
        }
        Ok(())
    }

    /// The history file of PostgreSQL's timeline that the backup is of, which is not among the files of one.
    ///
    /// # Errors
    /// If it is none, or cannot be stored.
    pub fn history_file(&mut self, file: &[u8]) -> Result<(), AttachTimelineError> {
        Timelines::parse(self.info.pg_timeline, file)?;
        let path = history_path(self.info.pg_timeline);
        Ok(self.writer()?.blob(&path, file)?)
    }

    /// A file of `size` bytes begins. Its path is relative to the data directory; files of a tablespace have `pg_tblspc/OID/` in front.
    ///
    /// # Errors
    /// If the path is none of a data directory, or the file is not one that can be kept.
    pub fn file_begin(&mut self, path: &str, size: u64) -> Result<(), AttachTimelineError> {
        let target = match DataFile::classify(self.info.version, path)? {
            DataFile::Relation { rel, segment } => {
                let next_block = segment.saturating_mul(SEGMENT_BLOCKS);
                let object = Object::Relation(rel);
                self.writer()?.object(object, next_block)?;
                Target::Pages { object, next_block }
            }
            DataFile::Slru(slru) => {
                let object = Object::Slru(slru);
                self.writer()?.object(object, 0)?;
                Target::Pages { object, next_block: 0 }
            }
            DataFile::Control => Target::Blob { control: true },
            DataFile::Blob => Target::Blob { control: false },
            DataFile::Skipped => Target::Nothing,
        };
        if matches!(target, Target::Blob { .. }) && size > MAX_BLOB {
            return Err(AttachTimelineError::TooLarge { path: path.to_owned(), size, limit: MAX_BLOB });
        }
        self.current = Some(Current { path: path.to_owned(), size, got: 0, target, pending: Vec::new() });
        Ok(())
    }

    /// The next bytes of the file that began last.
    ///
    /// # Errors
    /// If they are more than announced, or cannot be stored.
    pub fn file_data(&mut self, data: &[u8]) -> Result<(), AttachTimelineError> {
        let Some(mut current) = self.current.take() else {
            return Ok(());
        };
        current.got += data.len() as u64;
        if current.got > current.size {
            return Err(current.wrong_length());
        }
        match current.target {
            Target::Nothing => {}
            Target::Blob { .. } => current.pending.extend_from_slice(data),
            Target::Pages { .. } => {
                current.pending.extend_from_slice(data);
                if current.pending.len() >= PIECE {
                    self.hand_on_pages(&mut current)?;
                }
            }
        }
        self.current = Some(current);
        Ok(())
    }

    /// The file is complete.
    ///
    /// # Errors
    /// If it has fewer bytes than announced, or cannot be stored.
    pub fn file_end(&mut self) -> Result<(), AttachTimelineError> {
        let Some(mut current) = self.current.take() else {
            return Ok(());
        };
        if current.got != current.size {
            return Err(current.wrong_length());
        }
        match current.target {
            Target::Nothing => {}
            Target::Blob { control } => {
                if control {
                    self.check_control_file(&current.pending)?;
                }
                self.writer()?.blob(&current.path, &current.pending)?;
            }
            Target::Pages { .. } => {
                self.hand_on_pages(&mut current)?;
                if !current.pending.is_empty() {
                    // A page that was being appended while the file was copied. PostgreSQL does not count it either, and the WAL has it.
                    tracing::warn!(
                        path = current.path,
                        bytes = current.pending.len(),
                        "file ends in a part of a page, which is left out"
                    );
                }
            }
        }
        Ok(())
    }

    fn hand_on_pages(&mut self, current: &mut Current) -> Result<(), AttachTimelineError> {
        let Target::Pages { object, next_block } = &mut current.target else {
            return Ok(());
        };
        let whole = current.pending.len() / PAGE_SIZE * PAGE_SIZE;
        if whole > 0 {
            let pages = &current.pending[..whole];
            self.writer()?.pages(*object, *next_block, pages)?;
            *next_block += (whole / PAGE_SIZE) as u32;
            current.pending.drain(..whole);
        }
        Ok(())
    }

    fn check_control_file(&mut self, bytes: &[u8]) -> Result<(), AttachTimelineError> {
        let control = ControlFile::parse(bytes)?;
        if control.system_identifier != self.info.system_id {
            return Err(AttachTimelineError::Cluster { expected: self.info.system_id, got: control.system_identifier });
        }
        self.has_control_file = true;
        Ok(())
    }

    /// Makes the backup durable and the timeline part of the repository. `end_lsn` is where the backup ended: reads are possible
    /// once the WAL up to there was received.
    ///
    /// # Errors
    /// If the backup is not whole, cannot be stored, or there is no engine for it; then nothing is left of it.
    pub fn finish(mut self, end_lsn: Lsn) -> Result<Arc<Timeline>, AttachTimelineError> {
        if !self.has_control_file {
            return Err(AttachTimelineError::NoControlFile);
        }
        let writer = self.writer.take().ok_or(AttachTimelineError::Store(page_cache::AttachError::Failed))?;
        writer.finish(end_lsn)?;
        // What cannot be opened now cannot be at the next start either, so it goes as an interrupted one does.
        let timeline = self.repository.adopt(self.id, &self.name, &self.dir)?;
        self.finished = true;
        Ok(timeline)
    }
}

/// Where the history file of the base backup's timeline is among the small files.
pub(crate) fn history_path(timeline: u32) -> String {
    format!("pg_wal/{}", Timelines::file_name(timeline))
}

impl Current {
    fn wrong_length(&self) -> AttachTimelineError {
        AttachTimelineError::Length { path: self.path.clone(), expected: self.size, got: self.got }
    }
}

impl Drop for Attach {
    fn drop(&mut self) {
        if !self.finished {
            self.repository.discard(self.id, &self.dir);
        }
    }
}
