//! One record to be applied to a page that no resource manager's routine makes: of an SLRU or a visibility map.

use pgdata::{Lsn, PageKey};
use wal_decoder::Record;

use super::site::Site;
use crate::RedoError;

/// One record and the page that it is to change.
#[derive(Clone, Copy)]
pub(crate) struct Step<'r, 'a> {
    pub key: PageKey,
    pub record: &'r Record<'a>,
    /// Whether there is a page; otherwise the buffer holds zeros.
    pub has_base: bool,
}

impl Step<'_, '_> {
    pub(crate) fn lsn(&self) -> Lsn {
        self.record.lsn
    }

    /// The record's payload is wrong.
    pub(crate) fn bad_record(&self, source: wal_decoder::RecordError) -> RedoError {
        Site::bad_record(self.key, source)
    }

    /// What errors say.
    pub(crate) fn site(&self) -> Site {
        Site::of_whole(self.key, self.record)
    }

    /// The record does nothing to the page that could be done here.
    pub(crate) fn not_applicable(&self) -> RedoError {
        self.site().not_applicable()
    }

    /// The record changes a page that must be there.
    pub(crate) fn need_base(&self) -> Result<(), RedoError> {
        if self.has_base { Ok(()) } else { Err(self.site().no_base()) }
    }
}
