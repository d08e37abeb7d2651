//! `basebackup`: a data directory at an LSN, as a tar stream.

use std::sync::Arc;

use ::basebackup::{Backup, BackupError, Options, StandbyOptions};
use flate2::Compression;
use flate2::write::GzEncoder;
use page_service::{RowSink, ServiceError, SqlState};
use pgdata::Lsn;
use repository::Timeline;

use crate::cli::BasebackupQuery;
use crate::timeline_at::TimelineAt;

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
        backup.write(copy).map_err(|error| backup_error(&error))?.flush()?;
    }
    Ok(format!("BASEBACKUP {lsn}"))
}

fn backup_error(error: &BackupError) -> ServiceError {
    let code = match error {
        BackupError::ConnInfo | BackupError::NoRecordEnd { .. } | BackupError::Lsn { .. } => {
            SqlState::INVALID_PARAMETER_VALUE
        }
        BackupError::WalNotKept { .. } | BackupError::Switched { .. } => SqlState::UNDEFINED_OBJECT,
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
