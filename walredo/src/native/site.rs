//! Which record of which page's chain something went wrong with.

use pgdata::{Lsn, PageKey, PgVersion};
use wal_decoder::{ImageError, PageRecord, Record, RecordError};

use super::fault::Fault;
use super::names::record_type;
use crate::RedoError;

/// A record of a page's chain, as errors name it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Site {
    key: PageKey,
    version: PgVersion,
    lsn: Lsn,
    rmid: u8,
    info: u8,
}

impl Site {
    pub(crate) fn of(key: PageKey, record: &PageRecord<'_>) -> Site {
        let PageRecord { version, lsn, rmid, info, .. } = *record;
        Site { key, version, lsn, rmid, info }
    }

    pub(crate) fn of_whole(key: PageKey, record: &Record<'_>) -> Site {
        let Record { version, lsn, rmid, info, .. } = *record;
        Site { key, version, lsn, rmid, info }
    }

    /// The record's payload is wrong.
    #[cold]
    pub(crate) fn bad_record(key: PageKey, source: RecordError) -> RedoError {
        RedoError::Record { key, source: Box::new(source) }
    }

    /// The record cannot be applied.
    #[cold]
    pub(crate) fn fault(self, fault: &Fault) -> RedoError {
        let Site { key, version, lsn, rmid, info } = self;
        let operation = record_type(version, rmid, info);
        RedoError::Native { key, lsn, rmid, info, operation, what: fault.to_string() }
    }

    /// The record's image of the page makes none.
    #[cold]
    pub(crate) fn bad_image(self, source: ImageError) -> RedoError {
        let Site { key, lsn, rmid, info, .. } = self;
        RedoError::Image { key, lsn, rmid, info, source }
    }

    /// The record does nothing to the page that could be done here.
    #[cold]
    pub(crate) fn not_applicable(self) -> RedoError {
        let Site { key, lsn, rmid, info, .. } = self;
        RedoError::NotApplicable { key, lsn, rmid, info }
    }

    /// The record changes a page that must be there.
    #[cold]
    pub(crate) fn no_base(self) -> RedoError {
        let Site { key, lsn, rmid, info, .. } = self;
        RedoError::NoBase { key, lsn, rmid, info }
    }
}
