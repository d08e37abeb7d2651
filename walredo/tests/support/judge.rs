//! Replays WAL with the native engine and has the stock server judge each page.
//!
//! The native engine works on, record by record, from its own page of the record before. The judge asks for many answers at once: pages
//! and records gather, and then the stock server makes and masks all of them in one go.

mod table;

use std::collections::{HashMap, HashSet};

use pgdata::maps::vm_position;
use pgdata::{
    Change, ClusterState, ControlFile, DbTag, Fork, Lsn, Object, PAGE_SIZE, Page, PageKey, PgVersion, RelTag,
    page_is_new,
};
use wal_decoder::rmgr::{RM_GIST_ID, RM_SMGR_ID, rmgr_name};
use wal_decoder::{Interpreter, Record, VmEdit};
use walredo::{MaskRequest, NativeRedo, PostgresRedo, Redo, RedoError, RedoRecord, RedoRequest, record_type};

use super::recording::Recording;
use table::{Row, Table};

/// Where the bits of a visibility map page begin.
const VM_MAP: usize = 24;
/// For every so many changes of a page the judge gets one page more, without the change, to see that it notices.
const CONTROL: u64 = 100;
/// The record that another version's server cannot judge: 18 wants invalidation messages in it.
const NOT_FOREIGN: &str = "INPLACE";
/// How many differences are shown.
const SHOWN: usize = 20;
/// So many pages are judged at once.
const BATCH: usize = 1000;

/// A page that the native engine made of one record.
#[derive(Clone)]
struct Made {
    key: PageKey,
    lsn: Lsn,
    rmid: u8,
    name: &'static str,
    record: Vec<u8>,
    has_base: bool,
    before: Box<Page>,
    ours: Box<Page>,
    /// The primary's, if the record has it.
    image: Option<Box<Page>>,
    /// Whether it is a map that may lack bits of the primary's: see [`Judge::watch_map`].
    hollow: bool,
    /// Whether the stock server can make it of this record.
    by_stock: bool,
    /// Whether the record was left out: `ours` is the page before it, and a comparison is to find that.
    dropped: bool,
}

/// Our page and the primary's, to compare after masking.
struct Pair {
    of: usize,
    pages: [Box<Page>; 2],
}

pub struct Judge<'r> {
    recording: &'r Recording,
    /// Tells what becomes of whole objects and databases.
    interpreter: Interpreter,
    /// Databases made by copying files, and whose files of before the work these are.
    copies: HashMap<DbTag, DbTag>,
    native: NativeRedo<Option<PostgresRedo>>,
    stock: PostgresRedo,
    judge: PgVersion,
    version: PgVersion,
    only: Option<String>,
    pages: HashMap<PageKey, Box<Page>>,
    /// Maps that came into the WAL without their contents.
    hollow: HashSet<PageKey>,
    made: Vec<Made>,
    table: Table,
    differences: Vec<String>,
    /// Changes of pages so far, of which some are left out.
    changes: u64,
}

impl<'r> Judge<'r> {
    /// `judge` is the version of the stock server that judges.
    pub fn new(recording: &'r Recording, judge: PgVersion) -> Judge<'r> {
        assert_eq!(vm_position(0).byte, VM_MAP);
        let control = ControlFile::parse(&recording.control).unwrap();
        Judge {
            recording,
            native: NativeRedo::new(control.data_checksums() || control.wal_log_hints, None),
            interpreter: Interpreter::new(recording.version, ClusterState::new(control)),
            copies: HashMap::new(),
            stock: if judge == recording.version { recording.pool() } else { recording.foreign_pool(judge) },
            judge,
            version: recording.version,
            only: std::env::var("WALREDO_RMGR").ok(),
            pages: HashMap::new(),
            hollow: HashSet::new(),
            made: Vec::new(),
            table: Table::default(),
            differences: Vec::new(),
            changes: 0,
        }
    }

    pub fn record(&mut self, record: &Record<'_>, raw: RedoRecord<'_>) {
        for key in self.keys(record) {
            self.page(key, record, raw);
        }
        self.objects(record);
        if self.made.len() >= BATCH {
            self.judge_made();
        }
    }

    /// What happens to whole objects and databases.
    fn objects(&mut self, record: &Record<'_>) {
        let mut changes = Vec::new();
        self.interpreter.changes(record, &mut changes).unwrap();
        for change in changes {
            match change {
                Change::Drop(object) => self.pages.retain(|key, _| key.object != object),
                Change::Truncate { object, blocks } => {
                    self.pages.retain(|key, _| key.object != object || key.block < blocks);
                }
                Change::DropDatabase(tag) => self.pages.retain(|key, _| database(key.object) != Some(tag)),
                Change::CopyDatabase { from, to } => {
                    let copied: Vec<_> = self
                        .pages
                        .iter()
                        .filter(|(key, _)| database(key.object) == Some(from))
                        .map(|(key, page)| (in_database(*key, to), page.clone()))
                        .collect();
                    self.pages.extend(copied);
                    self.copies.insert(to, *self.copies.get(&from).unwrap_or(&from));
                }
                _ => {}
            }
        }
    }

    /// The page before the record, if there is one.
    fn base(&mut self, key: PageKey) -> Option<Box<Page>> {
        self.pages.remove(&key).or_else(|| {
            let first = database(key.object).and_then(|tag| self.copies.get(&tag)).map(|from| in_database(key, *from));
            self.recording.first_page(first.unwrap_or(key))
        })
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
        let base = self.base(key);
        let has_base = base.is_some();
        let before = base.unwrap_or_else(|| Box::new([0; PAGE_SIZE]));
        let mut ours = before.clone();
        let request = RedoRequest { version: self.version, key, has_base, records: std::slice::from_ref(&raw) };
        let made = self.native.redo(&request, &mut ours);
        let name = record_type(self.version, record.rmid, record.info);
        let row = self.table.row(record.rmid, name);
        row.calls += 1;
        if let Err(error) = made {
            match error {
                RedoError::NoEngine { .. } => row.passed_on += 1,
                error => {
                    row.mismatched += 1;
                    self.difference(record.rmid, name, record.lsn, error.to_string());
                }
            }
            let mut theirs = before;
            let request = RedoRequest { version: self.judge, ..request };
            self.stock.redo(&request, &mut theirs).unwrap_or_else(|error| panic!("{error}"));
            self.pages.insert(key, theirs);
            return;
        }
        if is_map(key) {
            self.watch_map(key, record);
        }
        self.pages.insert(key, ours.clone());
        let made = Made {
            key,
            lsn: record.lsn,
            rmid: record.rmid,
            name,
            record: raw.bytes.to_vec(),
            has_base,
            before,
            ours,
            image: image_of(key, record),
            hollow: self.hollow.contains(&key),
            // What truncation leaves of a map is no work of the stock server's redo process, which makes no files shorter.
            by_stock: record.rmid != RM_SMGR_ID && (self.judge == self.version || name != NOT_FOREIGN),
            dropped: false,
        };
        // What changes nothing may be missing, and resource managers mask no pages of zeros.
        if made.ours != made.before && !page_is_new(&made.before) && (made.by_stock || made.image.is_some()) {
            self.changes += 1;
            if self.changes.is_multiple_of(CONTROL) {
                self.made.push(Made { ours: made.before.clone(), dropped: true, ..made.clone() });
            }
        }
        self.made.push(made);
    }

    /// `CREATE DATABASE` logs the pages that it copies as such whose unused space is a hole. That of a map is all of it but the header: no
    /// standby has these bits, until the map comes whole. PostgreSQL itself does not see that, because its masks hide maps.
    fn watch_map(&mut self, key: PageKey, record: &Record<'_>) {
        let block = record.blocks.iter().find(|block| PageKey::relation(block.rel, block.block) == key);
        match block.and_then(|block| block.image).filter(|image| image.apply) {
            Some(image) if image.hole_length > 0 => _ = self.hollow.insert(key),
            Some(_) => _ = self.hollow.remove(&key),
            None => {}
        }
    }

    fn difference(&mut self, rmid: u8, name: &str, lsn: Lsn, what: String) {
        let rmgr = rmgr_name(rmid);
        if self.only.as_ref().is_none_or(|only| *only == rmgr) && self.differences.len() < SHOWN {
            self.differences.push(format!("{rmgr} {name} ending at {lsn}: {what}"));
        }
    }

    fn judge_made(&mut self) {
        let made = std::mem::take(&mut self.made);
        let mut noticed = vec![false; made.len()];
        self.compare_with_stock(&made, &mut noticed);
        self.compare_with_images(&made, &mut noticed);
        for (made, noticed) in made.iter().zip(noticed).filter(|(made, _)| made.dropped) {
            let row = self.row(made);
            row.dropped += 1;
            row.noticed += u64::from(noticed);
            if !noticed {
                self.difference(
                    made.rmid,
                    made.name,
                    made.lsn,
                    format!("{}: nobody noticed that it was left out", made.key),
                );
            }
        }
    }

    /// The primary's pages are the same after masking.
    fn compare_with_images(&mut self, made: &[Made], noticed: &mut [bool]) {
        let mut pairs = self.pairs(made, noticed);
        let mut masks: Vec<_> = pairs
            .iter_mut()
            .map(|pair| {
                let [first, second] = &mut pair.pages;
                MaskRequest { rmid: made[pair.of].rmid, block: made[pair.of].key.block, pages: [first, second] }
            })
            .collect();
        self.stock.mask_batch(&mut masks).unwrap();
        drop(masks);
        for Pair { of, pages: [ours, theirs] } in &pairs {
            if !made[*of].dropped && is_postgres_own(&made[*of], ours, theirs) {
                self.row(&made[*of]).own += 1;
            } else if let Some(at) = first_difference(ours, theirs) {
                self.mismatch(&made[*of], describe(ours, theirs, at), &mut noticed[*of]);
            }
        }
    }

    /// The stock server makes the same pages of the same bases and records.
    fn compare_with_stock(&mut self, made: &[Made], noticed: &mut [bool]) {
        let (judged, noticed): (Vec<_>, Vec<_>) = made.iter().zip(noticed).filter(|(made, _)| made.by_stock).unzip();
        let mut pages: Vec<Page> = judged.iter().map(|made| *made.before).collect();
        let records: Vec<_> = judged.iter().map(|made| [RedoRecord { lsn: made.lsn, bytes: &made.record }]).collect();
        let requests: Vec<_> = judged
            .iter()
            .zip(&records)
            .map(|(made, records)| RedoRequest { version: self.judge, key: made.key, has_base: made.has_base, records })
            .collect();
        for result in self.stock.redo_batch(&requests, &mut pages) {
            result.unwrap_or_else(|error| panic!("{error}"));
        }
        for ((made, noticed), theirs) in judged.iter().zip(noticed).zip(&pages) {
            let Some(at) = first_difference(&made.ours, theirs) else { continue };
            if made.dropped {
                *noticed = true;
                continue;
            }
            self.row(made).differing += 1;
            let what = format!("{}: {}; the stock server's page", made.key, describe(&made.ours, theirs, at));
            self.difference(made.rmid, made.name, made.lsn, what);
            // So that the next records are not judged by this one's mistake, where that is still possible.
            if self.pages.get(&made.key) == Some(&made.ours) {
                self.pages.insert(made.key, Box::new(*theirs));
            }
        }
    }

    /// What has to be masked before it can be compared. Pages that are equal as they are need no masking.
    fn pairs(&mut self, made: &[Made], noticed: &mut [bool]) -> Vec<Pair> {
        let mut pairs = Vec::new();
        for (of, made) in made.iter().enumerate() {
            let Some(image) = &made.image else { continue };
            let row = self.row(made);
            *(if made.dropped { &mut row.dropped_with_image } else { &mut row.compared }) += 1;
            // Resource managers mask the whole map away, as the unused space of a page.
            if is_map(made.key) && made.ours[VM_MAP..] != image[VM_MAP..] {
                let lacks_only =
                    made.ours[VM_MAP..].iter().zip(&image[VM_MAP..]).all(|(ours, theirs)| ours & !theirs == 0);
                if made.hollow && made.by_stock && lacks_only {
                    self.row(made).hollow += u64::from(!made.dropped);
                } else {
                    self.mismatch(made, "the maps differ".to_owned(), &mut noticed[of]);
                }
            } else if made.ours != *image {
                pairs.push(Pair { of, pages: [made.ours.clone(), image.clone()] });
            }
        }
        pairs
    }

    fn mismatch(&mut self, made: &Made, what: String, noticed: &mut bool) {
        if made.dropped {
            *noticed = true;
            self.row(made).noticed_by_image += 1;
            return;
        }
        self.row(made).mismatched += 1;
        self.difference(made.rmid, made.name, made.lsn, format!("{}: {what}; the primary's page", made.key));
    }

    fn row(&mut self, made: &Made) -> &mut Row {
        self.table.row(made.rmid, made.name)
    }

    /// Prints the table, and panics if anything differs, the judge did not notice what was left out, something was left to another engine, or there
    /// was no record of one of these types.
    pub fn verdict(mut self, expected: &[(u8, &'static str)]) {
        self.judge_made();
        println!("{}", self.table.text(self.version));
        let sum = |count| self.table.sum(count);
        let own = sum(|row| row.own);
        if own > 0 {
            println!(
                "{own} GiST pages differ from the primary's in a flag that nothing reads, as those of PostgreSQL's own redo do"
            );
        }
        let hollow = sum(|row| row.hollow);
        if hollow > 0 {
            println!(
                "{hollow} visibility maps lack bits of the primary's, as those of PostgreSQL's own redo do: CREATE DATABASE does not log them"
            );
        }
        let shown = self.differences.join("\n");
        let wrong = sum(|row| row.mismatched + row.differing);
        assert!(wrong == 0, "{wrong} pages differ:\n{shown}");
        assert_eq!(sum(|row| row.passed_on), 0, "records were left to another engine");
        assert_eq!(self.stock.stats().starts, 1, "a record made the stock server's redo process fail");
        let missing: Vec<_> = expected.iter().filter(|of| !self.table.has(of)).collect();
        assert!(missing.is_empty(), "there was no record of {missing:?}");
        let (dropped, noticed) = (sum(|row| row.dropped), sum(|row| row.noticed));
        let (with_image, by_image) = (sum(|row| row.dropped_with_image), sum(|row| row.noticed_by_image));
        println!(
            "Control: {noticed} of {dropped} changes left out were noticed, by the image alone {by_image} of {with_image} that have one"
        );
        assert!(dropped > 0 && noticed == dropped, "{noticed} of {dropped} changes left out were noticed:\n{shown}");
        // What masking hides, such as a mark that all is visible, an image alone does not show.
        assert!(by_image * 10 > with_image * 9, "images alone show too little");
    }
}

fn is_map(key: PageKey) -> bool {
    matches!(key.object, Object::Relation(rel) if rel.fork == Fork::Vm)
}

fn database(object: Object) -> Option<DbTag> {
    match object {
        Object::Relation(rel) => Some(rel.database()),
        Object::Slru(_) => None,
    }
}

fn in_database(key: PageKey, tag: DbTag) -> PageKey {
    match key.object {
        Object::Relation(rel) => PageKey::relation(RelTag { spc: tag.spc, db: tag.db, ..rel }, key.block),
        Object::Slru(_) => key,
    }
}

/// The one difference between PostgreSQL's redo and its primaries, in minor releases before the flag was given up: redo of a record that deletes
/// tuples from a GiST page sets `F_TUPLES_DELETED`, which nothing reads, and the primary did not. Ours follows redo, as a standby does; that it does is
/// seen by the comparison with the stock server's page.
fn is_postgres_own(made: &Made, ours: &Page, theirs: &Page) -> bool {
    const FLAGS: usize = PAGE_SIZE - 4;
    const TUPLES_DELETED: u8 = 1 << 2;
    made.rmid == RM_GIST_ID
        && made.by_stock
        && ours[FLAGS] ^ theirs[FLAGS] == TUPLES_DELETED
        && ours[..FLAGS] == theirs[..FLAGS]
        && ours[FLAGS + 1..] == theirs[FLAGS + 1..]
}

/// The page as the primary had it after the record, if the record carries it for comparing.
fn image_of(key: PageKey, record: &Record<'_>) -> Option<Box<Page>> {
    let block = record.blocks.iter().find(|block| PageKey::relation(block.rel, block.block) == key)?;
    let image = block.image.filter(|image| !image.apply)?;
    let mut page = Box::new([0; PAGE_SIZE]);
    image.restore(&mut page).unwrap();
    Some(page)
}

fn first_difference(ours: &Page, theirs: &Page) -> Option<usize> {
    if ours == theirs { None } else { (0..PAGE_SIZE).find(|&at| ours[at] != theirs[at]) }
}

fn describe(ours: &Page, theirs: &Page, at: usize) -> String {
    let count = ours.iter().zip(theirs).filter(|(a, b)| a != b).count();
    format!("{count} bytes differ, the first at {at}: ours {:02X}, not {:02X}", ours[at], theirs[at])
}
