//! `basebackup`: a data directory at an LSN, as a tar stream.

use std::sync::Arc;

use ::basebackup::{Backup, BackupError, Options, StandbyOptions};
use flate2::Compression;
use flate2::write::GzEncoder;
use page_service::{RowSink, ServiceError, SqlState};
use pgdata::Lsn;
use repository::{ReadError, Timeline};

use crate::cli::BasebackupQuery;
use crate::source::sql_state;
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
        // The client has left, most often: nothing is wrong with the data.
        BackupError::Write { .. } => SqlState::CONNECTION_FAILURE,
        BackupError::Source { source, .. } => {
            source.downcast_ref::<ReadError>().map_or(SqlState::DATA_CORRUPTED, sql_state)
        }
        _ => SqlState::DATA_CORRUPTED,
    };
    ServiceError::new(code, format!("base backup: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_damage_is_called_damage() {
        let lsn = Lsn(8);
        let code = |error: &BackupError| backup_error(error).code;
        let source = |source| BackupError::Source { lsn, what: "a page".to_owned(), source };
        let gone = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        assert_eq!(code(&BackupError::Write { path: "base".to_owned(), source: gone }), SqlState::CONNECTION_FAILURE);
        assert_eq!(code(&source(Box::new(ReadError::Shutdown))), SqlState::ADMIN_SHUTDOWN);
        assert_eq!(code(&source("it is on fire".into())), SqlState::DATA_CORRUPTED);
    }

    #[test]
    fn the_size_is_read_from_its_notice_alone() {
        assert_eq!(size_in_notice(&format!("{SIZE_NOTICE}77")), Some(77));
        assert_eq!(size_in_notice("77"), None);
    }
}
