//! An engine that is started when it is first needed, if ever.

use std::error::Error;
use std::sync::{Arc, OnceLock};

use pgdata::Page;
use wal_decoder::Record;

use crate::native::parse;
use crate::{PostgresRedo, Redo, RedoError, RedoRequest};

type Start = dyn Fn() -> Result<Arc<PostgresRedo>, Box<dyn Error + Send + Sync>> + Send + Sync;

/// PostgreSQL behind an engine that seldom needs it.
pub struct OnDemand {
    start: Box<Start>,
    pool: OnceLock<Arc<PostgresRedo>>,
}

impl OnDemand {
    /// `start` is called for the first request, and again for the next one as long as it fails.
    pub fn new(
        start: impl Fn() -> Result<Arc<PostgresRedo>, Box<dyn Error + Send + Sync>> + Send + Sync + 'static,
    ) -> OnDemand {
        OnDemand { start: Box::new(start), pool: OnceLock::new() }
    }
}

impl Redo for OnDemand {
    fn redo(&self, request: &RedoRequest<'_>, page: &mut Page) -> Result<(), RedoError> {
        if let Some(pool) = self.pool.get() {
            return pool.redo(request, page);
        }
        match (self.start)() {
            // Two threads may both have started; `start` gives out one and the same pool or the second is dropped here.
            Ok(pool) => self.pool.get_or_init(|| pool).redo(request, page),
            Err(source) => Err(needed_for(request, source)),
        }
    }
}

/// Says which record could not be applied for want of an engine.
fn needed_for(request: &RedoRequest<'_>, source: Box<dyn Error + Send + Sync>) -> RedoError {
    let key = request.key;
    let Some(first) = request.records.first() else { return RedoError::Nothing { key } };
    match parse(request, first) {
        Ok(Record { lsn, rmid, info, .. }) => RedoError::NoPostgres { key, lsn, rmid, info, source },
        Err(error) => error,
    }
}
