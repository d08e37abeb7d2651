//! `basebackup`: a data directory at an LSN, as a tar stream.

use std::io::{BufWriter, Write};
use std::sync::Arc;

use ::basebackup::{Backup, BackupError, DataSource, Options, SourceError};
use flate2::Compression;
use flate2::write::GzEncoder;
use page_service::{RowSink, ServiceError, SqlState};
use pgdata::{ClusterState, Lsn, Object, Page, PageKey};
use repository::Timeline;

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
        Ok(self.timeline.get_page(key, self.lsn, page)?)
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

    fn wal(&self, start: Lsn, bytes: &mut [u8]) -> Result<bool, SourceError> {
        Ok(self.timeline.read_wal(start, bytes)?)
    }
}

/// Sends the archive. `lsn` must be one that can be read at.
pub fn run(timeline: Arc<Timeline>, lsn: Lsn, gzip: bool, out: &mut dyn RowSink) -> Result<String, ServiceError> {
    let source = TimelineAt { timeline, lsn };
    let backup = Backup::new(&source, &Options::default()).map_err(|error| backup_error(&error))?;
    let copy = out.copy_out()?;
    if gzip {
        let encoder = backup.write(GzEncoder::new(copy, Compression::fast())).map_err(|error| backup_error(&error))?;
        encoder.finish()?.flush()?;
    } else {
        backup.write(BufWriter::new(copy)).map_err(|error| backup_error(&error))?.flush()?;
    }
    Ok(format!("BASEBACKUP {lsn}"))
}

fn backup_error(error: &BackupError) -> ServiceError {
    ServiceError::new(SqlState::DATA_CORRUPTED, format!("base backup: {error}"))
}
