//! A timeline as page streams see it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use page_service::{PageSource, ReadLsn, ServiceError, SqlState};
use pgdata::{Fork, Lsn, Object, Page, PageKey, RelTag, SlruSegment};
use repository::{LookupError, ReadError, StateError, Timeline};

use crate::metrics::Metrics;

/// Reads of one timeline, with the time that a read may wait.
pub struct TimelineSource {
    pub timeline: Arc<Timeline>,
    pub wait: Duration,
    pub metrics: Arc<Metrics>,
}

impl TimelineSource {
    /// The LSN to read at: see [`ReadLsn`] for the rule. Waits for it if it has not arrived.
    pub fn resolve(&self, at: ReadLsn) -> Result<Lsn, ServiceError> {
        let last = self.timeline.last_record_lsn();
        if at.not_modified_since > last {
            let begun = Instant::now();
            let waited = self.timeline.wait_for(at.not_modified_since, self.wait);
            self.metrics.waits.observe(begun.elapsed());
            waited.map_err(service_error)?;
            return Ok(at.not_modified_since);
        }
        Ok(last.min(at.request))
    }
}

impl PageSource for TimelineSource {
    fn is_ready(&self, at: ReadLsn) -> bool {
        at.not_modified_since <= self.timeline.last_record_lsn()
    }

    fn exists(&self, rel: RelTag, at: ReadLsn) -> Result<bool, ServiceError> {
        let lsn = self.resolve(at)?;
        self.timeline.exists(rel, lsn).map_err(service_error)
    }

    fn size(&self, rel: RelTag, at: ReadLsn) -> Result<u32, ServiceError> {
        let lsn = self.resolve(at)?;
        let object = Object::Relation(rel);
        match self.timeline.size(object, lsn).map_err(service_error)? {
            Some(blocks) => Ok(blocks),
            // These forks come and go without anybody being told.
            None if matches!(rel.fork, Fork::Fsm | Fork::Vm) => Ok(0),
            None => Err(service_error(ReadError::Missing { object, lsn })),
        }
    }

    fn page(&self, rel: RelTag, block: u32, at: ReadLsn, page: &mut Page) -> Result<(), ServiceError> {
        let lsn = self.resolve(at)?;
        let asked = PageKey::relation(rel, block);
        match self.timeline.get_page(asked, lsn, page) {
            // The protocol's rule: behind a relation's end there are zero pages, as PostgreSQL has them while it extends one. A page that
            // is missing where this one was copied from is another matter.
            Err(ReadError::Lookup(LookupError::Beyond { key, .. })) if key == asked => {
                page.fill(0);
                Ok(())
            }
            other => other.map_err(service_error),
        }
    }

    fn database_size(&self, db: u32, at: ReadLsn) -> Result<u64, ServiceError> {
        let lsn = self.resolve(at)?;
        let size = self.timeline.database_size(db, lsn).map_err(service_error)?;
        size.ok_or_else(|| {
            ServiceError::new(SqlState::UNDEFINED_OBJECT, format!("database {db} does not exist at {lsn}"))
        })
    }

    fn slru_segment(&self, segment: SlruSegment, at: ReadLsn) -> Result<Vec<u8>, ServiceError> {
        let lsn = self.resolve(at)?;
        self.timeline.slru_segment(segment, lsn).map_err(service_error)
    }
}

/// A read's error in the terms of the protocol.
pub fn service_error(error: ReadError) -> ServiceError {
    ServiceError::new(sql_state(&error), error.to_string())
}

/// Whose fault a read's error is, in the terms of the protocol.
pub fn sql_state(error: &ReadError) -> SqlState {
    match error {
        ReadError::Timeout { .. } => SqlState::QUERY_CANCELED,
        ReadError::Shutdown => SqlState::ADMIN_SHUTDOWN,
        ReadError::Missing { .. } | ReadError::Lookup(LookupError::NoObject { .. } | LookupError::Beyond { .. }) => {
            SqlState::UNDEFINED_OBJECT
        }
        ReadError::State(error) | ReadError::Lookup(LookupError::Lsn(error)) => match error {
            StateError::NotYet { .. } | StateError::BeforeConsistent { .. } => {
                SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE
            }
            _ => SqlState::DATA_CORRUPTED,
        },
        ReadError::Lookup(_) | ReadError::CopyDepth { .. } => SqlState::DATA_CORRUPTED,
        ReadError::Redo(_) => SqlState::INTERNAL_ERROR,
    }
}
