//! The native engine, and beside it the stock server's redo of the same requests.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use anyhow::{Result, ensure};
use integration_tests::Cluster;
use pgdata::{ControlFile, Fork, Lsn, Object, Page, PageKey, PgVersion};
use repository::Engines;
use wal_decoder::Record;
use wal_decoder::rmgr::rmgr_name;
use walredo::{NativeRedo, PostgresRedo, Redo, RedoError, RedoRequest, record_type};

use super::{Resuming, StockEngine};

/// Pages by the native engine; each of a relation is made by the stock server too, and every byte compared.
pub struct BothEngines {
    pub stock: Arc<PostgresRedo>,
    pub seen: Arc<Seen>,
    hint_bits_logged: bool,
}

/// What the comparison has seen, and a way to spoil it.
#[derive(Default)]
pub struct Seen {
    rows: Mutex<BTreeMap<(u8, &'static str), Row>>,
    differences: Mutex<Vec<String>>,
    requests: AtomicU64,
    /// Each so many requests the last record is left out; 0: never.
    drop_every: AtomicU64,
    dropped: Mutex<Vec<(PageKey, Lsn)>>,
}

/// By type of the last record of a request.
#[derive(Default)]
struct Row {
    calls: u64,
    differing: u64,
    /// Made by the stock server alone: the native engine does not know the record.
    passed_on: u64,
}

impl BothEngines {
    /// For the WAL of a cluster.
    pub fn of(cluster: &Cluster) -> Result<BothEngines> {
        let StockEngine(stock) = StockEngine::of(cluster)?;
        let control = ControlFile::parse(&fs::read(cluster.data().join("global/pg_control"))?)?;
        let hint_bits_logged = control.data_checksums() || control.wal_log_hints;
        Ok(BothEngines { stock, seen: Arc::default(), hint_bits_logged })
    }
}

impl Engines for BothEngines {
    fn engine(&self, _: PgVersion, _: &[u8]) -> Result<Arc<dyn Redo>, Box<dyn Error + Send + Sync>> {
        let both = Both {
            native: NativeRedo::new(self.hint_bits_logged, None),
            stock: Arc::clone(&self.stock),
            seen: Arc::clone(&self.seen),
        };
        Ok(Arc::new(Resuming::new(both)))
    }
}

struct Both {
    native: NativeRedo<Option<PostgresRedo>>,
    stock: Arc<PostgresRedo>,
    seen: Arc<Seen>,
}

impl Redo for Both {
    fn redo(&self, request: &RedoRequest<'_>, page: &mut Page) -> Result<(), RedoError> {
        let of_relation = matches!(request.key.object, Object::Relation(rel) if rel.fork != Fork::Vm);
        let Some(last) = request.records.last().filter(|_| of_relation) else {
            return self.native.redo(request, page);
        };
        let record = Record::parse(request.version, last.lsn, last.bytes)
            .map_err(|source| RedoError::Record { key: request.key, source: Box::new(source) })?;
        if self.seen.drops(request, &record) {
            let records = &request.records[..request.records.len() - 1];
            return self.native.redo(&RedoRequest { records, ..*request }, page);
        }
        let mut theirs = *page;
        self.stock.redo(request, &mut theirs)?;
        let ours = match self.native.redo(request, page) {
            Err(RedoError::NoEngine { .. }) => {
                *page = theirs;
                None
            }
            made => {
                made?;
                Some(&*page)
            }
        };
        self.seen.count(request.key, &record, ours, &theirs);
        Ok(())
    }
}

impl Seen {
    /// From now on the last record of each so many requests is left out.
    pub fn drop_every(&self, every: u64) {
        self.drop_every.store(every, Ordering::Relaxed);
    }

    /// The pages that lack a record, with the record's end.
    pub fn dropped(&self) -> Vec<(PageKey, Lsn)> {
        self.dropped.lock().expect("no panic").clone()
    }

    fn drops(&self, request: &RedoRequest<'_>, record: &Record<'_>) -> bool {
        let every = self.drop_every.load(Ordering::Relaxed);
        let block = record.blocks.iter().find(|block| PageKey::relation(block.rel, block.block) == request.key);
        // Without a page before it there would be none.
        let makes_page = block.is_none_or(|block| block.will_init || block.image.is_some_and(|image| image.apply));
        let chosen = every > 0
            && request.has_base
            && !makes_page
            && self.requests.fetch_add(1, Ordering::Relaxed) % every == every - 1;
        if chosen {
            self.dropped.lock().expect("no panic").push((request.key, record.lsn));
        }
        chosen
    }

    fn count(&self, key: PageKey, record: &Record<'_>, ours: Option<&Page>, theirs: &Page) {
        let name = record_type(record.version, record.rmid, record.info);
        let mut rows = self.rows.lock().expect("no panic");
        let row = rows.entry((record.rmid, name)).or_default();
        row.calls += 1;
        match ours {
            None => row.passed_on += 1,
            Some(ours) if ours == theirs => {}
            Some(ours) => {
                row.differing += 1;
                let at = ours.iter().zip(theirs).position(|(a, b)| a != b).unwrap_or(0);
                let what = format!(
                    "{key} after {} {name} ending at {}: byte {at} is {:#04X}, the stock server's {:#04X}",
                    rmgr_name(record.rmid),
                    record.lsn,
                    ours[at],
                    theirs[at]
                );
                self.differences.lock().expect("no panic").push(what);
            }
        }
    }

    /// An error if any page was not the stock server's; else a table.
    pub fn verdict(&self) -> Result<String> {
        let differences = self.differences.lock().expect("no panic");
        ensure!(differences.is_empty(), "{} pages differ, the first: {}", differences.len(), differences[0]);
        let mut text = format!("  {:12} {:22} {:>9} {:>9} {:>9}\n", "", "record", "calls", "differing", "passed on");
        for ((rmid, name), row) in &*self.rows.lock().expect("no panic") {
            let rmgr = rmgr_name(*rmid);
            writeln!(text, "  {rmgr:12} {name:22} {:>9} {:>9} {:>9}", row.calls, row.differing, row.passed_on)?;
        }
        Ok(text)
    }
}
