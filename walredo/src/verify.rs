//! Both engines for every page of a relation, and a look at what they made.

use std::fs;
use std::ops::Add;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use pgdata::{Fork, Object, PAGE_SIZE, Page};
use wal_decoder::rmgr::RM_XLOG_ID;

use crate::case::RedoCase;
use crate::native::parse;
use crate::{NativeRedo, PostgresRedo, Redo, RedoError, RedoRequest};

/// How many differences are written to files; the others are only logged and counted.
const MAX_REPORTS: u64 = 100;

/// The native engine under the eyes of PostgreSQL's.
///
/// Every page of a relation is made by both. The stock server's page is the answer, and its error the error. Where the native
/// engine's page is another one, even after masking what redo need not keep (`rm_mask`), that is logged, counted, and written to a file as a
/// [`RedoCase`]. Visibility maps and SLRUs are made by the native engine alone: redo processes do not make them as a standby has them.
#[derive(Debug)]
pub struct VerifyRedo {
    hint_bits_logged: bool,
    native: NativeRedo<Option<PostgresRedo>>,
    postgres: Arc<PostgresRedo>,
    reports: PathBuf,
    counters: Counters,
}

#[derive(Debug, Default)]
struct Counters {
    equal: AtomicU64,
    equal_masked: AtomicU64,
    different: AtomicU64,
    not_native: AtomicU64,
}

/// What has been seen so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct VerifyStats {
    /// Pages that both engines made alike, byte for byte.
    pub equal: u64,
    /// Pages that are alike but for what PostgreSQL does not compare either.
    pub equal_masked: u64,
    /// Pages that differ, or that the native engine could not make.
    pub different: u64,
    /// Pages with a record that the native engine does not know.
    pub not_native: u64,
}

/// Of two engines together.
impl Add for VerifyStats {
    type Output = VerifyStats;

    fn add(self, other: VerifyStats) -> VerifyStats {
        VerifyStats {
            equal: self.equal + other.equal,
            equal_masked: self.equal_masked + other.equal_masked,
            different: self.different + other.different,
            not_native: self.not_native + other.not_native,
        }
    }
}

impl VerifyRedo {
    /// `reports` is the directory for differences, made when there is one.
    #[must_use]
    pub fn new(hint_bits_logged: bool, postgres: Arc<PostgresRedo>, reports: PathBuf) -> VerifyRedo {
        let native = NativeRedo::new(hint_bits_logged, None);
        VerifyRedo { hint_bits_logged, native, postgres, reports, counters: Counters::default() }
    }

    /// What has been seen so far.
    #[must_use]
    pub fn stats(&self) -> VerifyStats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        VerifyStats {
            equal: get(&self.counters.equal),
            equal_masked: get(&self.counters.equal_masked),
            different: get(&self.counters.different),
            not_native: get(&self.counters.not_native),
        }
    }

    /// Whether the pages are the same where the resource manager of the last change wants them to be.
    fn same_masked(&self, request: &RedoRequest<'_>, ours: &Page, theirs: &Page) -> Result<bool, RedoError> {
        let mut masker = None;
        for raw in request.records.iter().rev() {
            let rmid = parse(request, raw)?.rmid;
            if rmid != RM_XLOG_ID {
                masker = Some(rmid);
                break;
            }
        }
        // Images alone are compared as they are.
        let Some(rmid) = masker else { return Ok(false) };
        let (mut ours, mut theirs) = (*ours, *theirs);
        self.postgres.mask(rmid, request.key.block, &mut ours, &mut theirs)?;
        Ok(ours == theirs)
    }

    fn report(&self, request: &RedoRequest<'_>, base: &Page, postgres: &Page, native: Result<&Page, &RedoError>) {
        let number = self.counters.different.fetch_add(1, Ordering::Relaxed);
        let key = request.key;
        let first_byte = native.ok().and_then(|page| (0..PAGE_SIZE).find(|&at| page[at] != postgres[at]));
        let error = native.err().map(tracing::field::display);
        let (from, to) = (request.records.first(), request.records.last());
        let (from, to) = (from.map(|raw| raw.lsn.to_string()), to.map(|raw| raw.lsn.to_string()));
        let file = (number < MAX_REPORTS)
            .then(|| RedoCase::of(request, self.hint_bits_logged, base, postgres, native))
            .flatten()
            .map(|case| write(&self.reports, number, &case));
        match file {
            Some(Ok(file)) => {
                let file = file.display();
                tracing::error!(%key, from, to, first_byte, error, %file, "the engines make different pages");
            }
            Some(Err(why)) => {
                tracing::error!(%key, from, to, first_byte, error, %why, "the engines make different pages; no report could be written");
            }
            None => {
                tracing::error!(%key, from, to, first_byte, error, "the engines make different pages; no more reports are written");
            }
        }
    }
}

/// Writes a report under a name that none has yet.
fn write(dir: &Path, number: u64, case: &RedoCase) -> std::io::Result<PathBuf> {
    fs::create_dir_all(dir)?;
    let rel = case.rel.to_string().replace('/', "-");
    let name = format!("{rel}-{}-{}-{number}.case", case.block, std::process::id());
    let path = dir.join(name);
    fs::write(&path, case.to_string())?;
    Ok(path)
}

impl Redo for VerifyRedo {
    fn redo(&self, request: &RedoRequest<'_>, page: &mut Page) -> Result<(), RedoError> {
        let native_alone = match request.key.object {
            Object::Slru(_) => true,
            Object::Relation(rel) => rel.fork == Fork::Vm,
        };
        if native_alone || request.records.is_empty() {
            return self.native.redo(request, page);
        }
        let base = *page;
        let mut ours = base;
        self.postgres.redo(request, page)?;
        let counters = &self.counters;
        let count = |counter: &AtomicU64| {
            counter.fetch_add(1, Ordering::Relaxed);
        };
        match self.native.redo(request, &mut ours) {
            Ok(()) if ours == *page => count(&counters.equal),
            Ok(()) if self.same_masked(request, &ours, page)? => count(&counters.equal_masked),
            Ok(()) => self.report(request, &base, page, Ok(&ours)),
            Err(RedoError::NoEngine { .. }) => count(&counters.not_native),
            Err(error) => self.report(request, &base, page, Err(&error)),
        }
        Ok(())
    }
}
