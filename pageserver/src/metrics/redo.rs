//! What redo engines do, whichever they are.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use pgdata::Page;
use walredo::{Redo, RedoError, RedoRequest};

use super::histogram::Histogram;

/// One engine's work. Engines of the same name share it.
#[derive(Debug, Default)]
pub struct Engine {
    /// How long chains of records took, also those that could not be applied.
    pub pages: Histogram,
    records: AtomicU64,
    failures: AtomicU64,
}

impl Engine {
    /// Records in the chains.
    pub fn records(&self) -> u64 {
        self.records.load(Ordering::Relaxed)
    }

    /// Chains that could not be applied.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }
}

/// All engines by their names.
#[derive(Debug, Default)]
pub struct RedoWork {
    engines: Mutex<BTreeMap<&'static str, Arc<Engine>>>,
}

impl RedoWork {
    /// The work of the engines of this name.
    pub fn engine(&self, name: &'static str) -> Arc<Engine> {
        let mut engines = self.engines.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(engines.entry(name).or_default())
    }

    /// All that there are, by name.
    pub fn engines(&self) -> Vec<(&'static str, Arc<Engine>)> {
        let engines = self.engines.lock().unwrap_or_else(PoisonError::into_inner);
        engines.iter().map(|(name, engine)| (*name, Arc::clone(engine))).collect()
    }
}

/// An engine whose work is measured.
#[derive(Debug)]
pub struct Measured<R> {
    inner: R,
    work: Arc<Engine>,
}

impl<R> Measured<R> {
    /// Measures `inner`.
    pub fn new(inner: R, work: Arc<Engine>) -> Self {
        Measured { inner, work }
    }
}

impl<R: Redo> Redo for Measured<R> {
    fn redo(&self, request: &RedoRequest<'_>, page: &mut Page) -> Result<(), RedoError> {
        let begun = Instant::now();
        let result = self.inner.redo(request, page);
        self.work.pages.observe(begun.elapsed());
        self.work.records.fetch_add(request.records.len() as u64, Ordering::Relaxed);
        if result.is_err() {
            self.work.failures.fetch_add(1, Ordering::Relaxed);
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use pgdata::{Lsn, PAGE_SIZE, PageKey, PgVersion, RelTag};
    use walredo::RedoRecord;

    use super::*;

    /// Takes chains of two records.
    struct Pairs;

    impl Redo for Pairs {
        fn redo(&self, request: &RedoRequest<'_>, _: &mut Page) -> Result<(), RedoError> {
            if request.records.len() == 2 { Ok(()) } else { Err(RedoError::Nothing { key: request.key }) }
        }
    }

    #[test]
    fn chains_records_and_failures_are_counted_under_the_name_of_the_engine() {
        let work = RedoWork::default();
        let engine = Measured::new(Pairs, work.engine("pairs"));
        let record = RedoRecord { lsn: Lsn(8), bytes: &[] };
        let mut page = [0; PAGE_SIZE];
        let mut redo = |records: &[RedoRecord<'_>]| {
            let key = PageKey::relation(RelTag::default(), 0);
            engine.redo(&RedoRequest { version: PgVersion::V15, key, has_base: true, records }, &mut page).is_ok()
        };
        assert!(redo(&[record, record]) && redo(&[record, record]) && !redo(&[record]));
        let (names, engines): (Vec<_>, Vec<_>) = work.engines().into_iter().unzip();
        assert_eq!(names, ["pairs"]);
        assert_eq!((engines[0].pages.read().count(), engines[0].records(), engines[0].failures()), (3, 5, 1));
    }
}
