//! `basebackup`: a data directory at an LSN, as a tar stream.

use std::io::{BufWriter, Write};
use std::sync::Arc;

use ::basebackup::{Backup, BackupError, DataSource, Options, SourceError, StandbyOptions};
use flate2::Compression;
use flate2::write::GzEncoder;
use page_service::{RowSink, ServiceError, SqlState};
use pgdata::{ClusterState, Lsn, Object, Page, PageKey};
use repository::Timeline;

use crate::cli::BasebackupQuery;

/// A timeline at one LSN, as a backup is made of it.
struct TimelineAt {
    timeline: Arc<Timeline>,
    lsn: Lsn,
}

impl DataSource for TimelineAt {
    fn lsn(&self) -> Lsn {
        self.lsn
    }

    fn cluster(&self) -> Result<ClusterState, SourceError> {
        Ok(self.timeline.cluster(self.lsn)?)
    }

    fn objects(&self) -> Result<Vec<(Object, u32)>, SourceError> {
        Ok(self.timeline.objects(self.lsn)?)
    }

    fn page(&self, key: PageKey, page: &mut Page) -> Result<(), SourceError> {
        Ok(self.timeline.get_page_once(key, self.lsn, page)?)
    }

    fn pages(&self, object: Object, first: u32, pages: &mut [Page]) -> Result<(), SourceError> {
        Ok(self.timeline.get_pages(object, first, self.lsn, pages)?)
    }

    fn blobs(&self) -> Result<Vec<String>, SourceError> {
        Ok(self.timeline.blobs(self.lsn)?)
    }

    fn blob(&self, name: &str) -> Result<Vec<u8>, SourceError> {
        Ok(self.timeline.blob(name, self.lsn)?.ok_or_else(|| format!("{name} does not exist at {}", self.lsn))?)
    }

    fn last_record_start(&self) -> Result<Option<Lsn>, SourceError> {
        // The WAL itself tells: all of it since the start of the timeline's first segment is kept.
        Ok(None)
    }

    fn history_file(&self, timeline: u32) -> Result<Option<Vec<u8>>, SourceError> {
        Ok(self.timeline.pg_history_file(timeline)?)
    }

    fn wal(&self, start: Lsn, bytes: &mut [u8]) -> Result<bool, SourceError> {
        Ok(self.timeline.read_wal(start, bytes)?)
    }
}

/// What stands in the notice before the size.
const SIZE_NOTICE: &str = "backup size in bytes, about: ";

/// The size in the notice that a client gets who asks for progress.
pub fn size_in_notice(text: &str) -> Option<u64> {
    text.strip_prefix(SIZE_NOTICE)?.parse().ok()
}

/// Sends the archive. `lsn` must be one that can be read at.
pub fn run(
    timeline: Arc<Timeline>,
    lsn: Lsn,
    args: &BasebackupQuery,
    out: &mut dyn RowSink,
) -> Result<String, ServiceError> {
    let source = TimelineAt { timeline, lsn };
    let standby = || StandbyOptions { primary_conninfo: args.kind.primary_conninfo.clone() };
    let options = Options { standby: args.kind.standby.then(standby), ..Options::default() };
    let backup = Backup::new(&source, &options).map_err(|error| backup_error(&error))?;
    if args.progress {
        out.notice(&format!("{SIZE_NOTICE}{}", backup.size()))?;
    }
    let copy = out.copy_out()?;
    if args.gzip {
        let encoder = backup.write(GzEncoder::new(copy, Compression::fast())).map_err(|error| backup_error(&error))?;
        encoder.finish()?.flush()?;
    } else {
        backup.write(BufWriter::new(copy)).map_err(|error| backup_error(&error))?.flush()?;
    }
    Ok(format!("BASEBACKUP {lsn}"))
}

fn backup_error(error: &BackupError) -> ServiceError {
    let code = match error {
        BackupError::ConnInfo | BackupError::NoRecordEnd { .. } | BackupError::Lsn { .. } => {
            SqlState::INVALID_PARAMETER_VALUE
        }
        BackupError::WalNotKept { .. } => SqlState::UNDEFINED_OBJECT,
        _ => SqlState::DATA_CORRUPTED,
    };
    ServiceError::new(code, format!("base backup: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_is_read_from_its_notice_alone() {
        assert_eq!(size_in_notice(&format!("{SIZE_NOTICE}77")), Some(77));
        assert_eq!(size_in_notice("77"), None);
    }
}
