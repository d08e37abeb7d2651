//! The native engine before two judges, record by record: the page must equal the image that the primary put into the WAL under
//! `wal_consistency_checking = all`, after the resource manager's own `rm_mask`; and the page that the stock server's redo makes of the same
//! base and record, byte for byte, unmasked.
//!
//! To work on one resource manager: `WALREDO_RECORDINGS=/some/dir cargo test -p walredo --test native -- --nocapture` keeps the WAL in
//! that directory (see `support/recording.rs`), and `WALREDO_RMGR=Btree` shows that one's differences alone.

mod support;

use std::collections::{BTreeMap, HashMap};

use pgdata::maps::vm_position;
use pgdata::{ControlFile, Fork, Object, PAGE_SIZE, Page, PageKey, PgVersion, page_is_new};
use support::recording::Recording;
use wal_decoder::rmgr::rmgr_name;
use wal_decoder::{Record, VmEdit};
use walredo::{NativeRedo, PostgresRedo, Redo, RedoError, RedoRecord, RedoRequest, record_type};

/// Where the bits of a visibility map page begin.
const VM_MAP: usize = 24;
/// Every so many records one is left out, to see that the judge notices.
const CONTROL: u64 = 100;
/// The record that another version's server cannot judge: 18 wants invalidation messages in it.
const NOT_FOREIGN: &str = "INPLACE";
/// How many differences are shown.
const SHOWN: usize = 20;
/// What was seen of one type of record.
#[derive(Default)]
struct Row {
    calls: u64,
    /// With images to compare with.
    compared: u64,
    /// Other than the primary's page.
    mismatched: u64,
    /// Other than the stock server's page, in any byte.
    differing: u64,
    /// Left to an engine behind.
    passed_on: u64,
    /// Left out on purpose, and how many of these the comparison noticed.
    dropped: u64,
    noticed: u64,
}

struct Judge {
    native: NativeRedo<Option<PostgresRedo>>,
    stock: PostgresRedo,
    judge: PgVersion,
    version: PgVersion,
    only: Option<String>,
    pages: HashMap<PageKey, Box<Page>>,
    table: BTreeMap<(u8, &'static str), Row>,
    differences: Vec<String>,
    calls: u64,
}

impl Judge {
    /// `judge` is the version of the stock server that judges.
    fn new(recording: &Recording, judge: PgVersion) -> Judge {
        let control = ControlFile::parse(&recording.control).unwrap();
        Judge {
            native: NativeRedo::new(control.data_checksums() || control.wal_log_hints, None),
            stock: if judge == recording.version { recording.pool() } else { recording.foreign_pool(judge) },
            judge,
            version: recording.version,
            only: std::env::var("WALREDO_RMGR").ok(),
            pages: HashMap::new(),
            table: BTreeMap::new(),
            differences: Vec::new(),
            calls: 0,
        }
    }

    fn record(&mut self, record: &Record<'_>, raw: RedoRecord<'_>) {
        for key in self.keys(record) {
            self.page(key, record, raw);
        }
    }

    /// The pages that the record changes, but for those of SLRUs.
    fn keys(&self, record: &Record<'_>) -> Vec<PageKey> {
        let mut keys: Vec<_> = record.blocks.iter().map(|block| PageKey::relation(block.rel, block.block)).collect();
        keys.extend(VmEdit::of(record).unwrap().iter().filter(|edit| !edit.registered).map(VmEdit::page));
        let truncate = wal_decoder::SmgrTruncate::parse(record).unwrap();
        let truncated = truncate.and_then(|truncate| truncate.cleared_vm_page());
        keys.extend(truncated.filter(|key| self.pages.contains_key(key)));
        keys.dedup();
        keys
    }

    fn page(&mut self, key: PageKey, record: &Record<'_>, raw: RedoRecord<'_>) {
        let base = self.pages.remove(&key);
        let is_map = matches!(key.object, Object::Relation(rel) if rel.fork == Fork::Vm);
        let request =
            RedoRequest { version: self.version, key, has_base: base.is_some(), records: std::slice::from_ref(&raw) };
        let before = base.unwrap_or_else(|| Box::new([0; PAGE_SIZE]));
        let (mut ours, mut theirs) = (before.clone(), before.clone());
        let made = self.native.redo(&request, &mut ours);
        let name = record_type(self.version, record.rmid, record.info);
        self.calls += 1;
        let number = self.calls;
        let row = self.table.entry((record.rmid, name)).or_default();
        row.calls += 1;
        match made {
            Err(RedoError::NoEngine { .. }) => {
                row.passed_on += 1;
                self.judged(&request, &mut theirs);
                self.pages.insert(key, theirs);
                return;
            }
            Err(error) => {
                row.mismatched += 1;
                self.difference(record, format!("{error}"));
            }
            Ok(()) => {}
        }
        // The stock server's redo of one record knows neither truncation nor where a page is wanted but not referred to.
        if is_map || (self.judge != self.version && name == NOT_FOREIGN) {
            theirs.copy_from_slice(&*ours);
        } else {
            self.judged(&request, &mut theirs);
            if let Some(at) = first_difference(&ours, &theirs) {
                self.row(record).differing += 1;
                self.difference(record, format!("{key}: {}; the stock server's page", describe(&ours, &theirs, at)));
            }
        }
        self.compare_with_image(key, record, &ours);
        if number.is_multiple_of(CONTROL) && !is_map {
            self.control(key, record, &before, &theirs);
        }
        self.pages.insert(key, theirs);
    }

    /// The page as the stock server makes it.
    fn judged(&self, request: &RedoRequest<'_>, page: &mut Page) {
        let request = RedoRequest { version: self.judge, ..*request };
        self.stock.redo(&request, page).unwrap_or_else(|error| panic!("{error}"));
    }

    fn row(&mut self, record: &Record<'_>) -> &mut Row {
        self.table.entry((record.rmid, record_type(self.version, record.rmid, record.info))).or_default()
    }

    fn difference(&mut self, record: &Record<'_>, what: String) {
        let rmgr = rmgr_name(record.rmid);
        if self.only.as_ref().is_none_or(|only| *only == rmgr) && self.differences.len() < SHOWN {
            let name = record_type(self.version, record.rmid, record.info);
            self.differences.push(format!("{rmgr} {name} ending at {}: {what}", record.lsn));
        }
    }

    /// Whether the page differs from the record's image after masking; `None` without such an image.
    fn masked_difference(&self, key: PageKey, record: &Record<'_>, page: &Page) -> Option<Option<String>> {
        let block = record.blocks.iter().find(|block| PageKey::relation(block.rel, block.block) == key)?;
        let image = block.image.filter(|image| !image.apply)?;
        let (mut ours, mut theirs) = (*page, [0; PAGE_SIZE]);
        image.restore(&mut theirs).unwrap();
        // Resource managers mask the whole map away, as the unused space of a page.
        if block.rel.fork == Fork::Vm && ours[VM_MAP..] != theirs[VM_MAP..] {
            return Some(Some("the maps differ".to_owned()));
        }
        self.stock.mask(record.rmid, block.block, &mut ours, &mut theirs).unwrap();
        Some(first_difference(&ours, &theirs).map(|at| describe(&ours, &theirs, at)))
    }

    fn compare_with_image(&mut self, key: PageKey, record: &Record<'_>, page: &Page) {
        let Some(difference) = self.masked_difference(key, record, page) else { return };
        self.row(record).compared += 1;
        if let Some(difference) = difference {
            self.row(record).mismatched += 1;
            self.difference(record, format!("{key}: {difference}; the primary's page"));
        }
    }

    /// Without the record the page must not pass for the one after it, if the record does anything that shows in a masked page: a
    /// confirmation does not, nor does a second lock.
    fn control(&mut self, key: PageKey, record: &Record<'_>, before: &Page, after: &Page) {
        if page_is_new(before) || page_is_new(after) {
            return;
        }
        let (mut masked_before, mut masked_after) = (*before, *after);
        self.stock.mask(record.rmid, key.block, &mut masked_before, &mut masked_after).unwrap();
        if masked_before == masked_after {
            return;
        }
        if let Some(difference) = self.masked_difference(key, record, before) {
            let row = self.row(record);
            row.dropped += 1;
            row.noticed += u64::from(difference.is_some());
        }
    }

    fn table(&self) -> String {
        let mut text = format!(
            "PostgreSQL {}\n{:10} {:22} {:>8} {:>8} {:>10} {:>9} {:>9} {:>15}\n",
            self.version, "", "record", "calls", "compared", "mismatched", "differing", "passed on", "control noticed"
        );
        for ((rmid, name), row) in &self.table {
            text += &format!(
                "{:10} {name:22} {:>8} {:>8} {:>10} {:>9} {:>9} {:>10} of {}\n",
                rmgr_name(*rmid),
                row.calls,
                row.compared,
                row.mismatched,
                row.differing,
                row.passed_on,
                row.noticed,
                row.dropped
            );
        }
        text
    }
}

fn first_difference(ours: &Page, theirs: &Page) -> Option<usize> {
    (0..PAGE_SIZE).find(|&at| ours[at] != theirs[at])
}

fn describe(ours: &Page, theirs: &Page, at: usize) -> String {
    let count = ours.iter().zip(theirs).filter(|(a, b)| a != b).count();
    format!("{count} bytes differ, the first at {at}: ours {:02X}, not {:02X}", ours[at], theirs[at])
}

fn judge(version: PgVersion, name: &str, initdb_options: &[&str], config: &str) {
    judge_by(version, Recording::get(version, name, initdb_options, config));
}

fn judge_by(judge: PgVersion, recording: Recording) {
    let mut judge = Judge::new(&recording, judge);
    recording.replay(|record, raw| judge.record(record, raw));
    println!("{}", judge.table());
    let shown = judge.differences.join("\n");
    let wrong = judge.table.values().any(|row| row.mismatched + row.differing > 0);
    assert!(judge.differences.is_empty() && !wrong, "pages differ:\n{shown}");
    let (dropped, noticed) =
        judge.table.values().fold((0, 0), |(dropped, noticed), row| (dropped + row.dropped, noticed + row.noticed));
    assert!(dropped > 0 && noticed == dropped, "{noticed} of {dropped} records left out were noticed");
    assert_eq!(vm_position(0).byte, VM_MAP);
}

#[test]
fn records_of_15() {
    judge(PgVersion::V15, "plain", &[], "");
}

#[test]
fn records_of_15_with_checksums() {
    judge(PgVersion::V15, "checksums", &["-k"], "wal_compression = lz4");
}

#[test]
#[ignore = "needs PostgreSQL 16 and a build with its headers: set PG_BIN_16"]
fn records_of_16() {
    judge(PgVersion::V16, "plain", &[], "");
}

#[test]
#[ignore = "needs PostgreSQL 17 and a build with its headers: set PG_BIN_17"]
fn records_of_17() {
    judge(PgVersion::V17, "plain", &[], "");
}

/// The records that appear here have the same layout in 17 and 18.
#[test]
#[ignore = "needs PostgreSQL 17 and 18 and a build with the headers of 18: set PG_BIN_17 and PG_BIN_18"]
fn records_of_17_judged_by_18() {
    judge_by(PgVersion::V18, Recording::get(PgVersion::V17, "plain", &[], ""));
}

#[test]
#[ignore = "needs PostgreSQL 18 and a build with its headers: set PG_BIN_18"]
fn records_of_18() {
    judge(PgVersion::V18, "plain", &[], "");
}
