//! What a base backup is made of: a timeline of the repository. The tests of `basebackup` have it from here too.

use std::sync::Arc;

use ::basebackup::{DataSource, SourceError};
use pgdata::{ClusterState, Lsn, Object, Page, PageKey};
use repository::Timeline;

/// A timeline at one LSN, as a backup is made of it.
pub struct TimelineAt {
    /// The timeline.
    pub timeline: Arc<Timeline>,
    /// An LSN that can be read at.
    pub lsn: Lsn,
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
