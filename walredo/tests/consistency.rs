//! PostgreSQL itself is the judge: under `wal_consistency_checking = all` each record carries the pages as the primary had them
//! after it. Every page that redo makes of such WAL must equal them, after the resource manager's own `rm_mask`.

mod support;

use std::collections::{BTreeMap, HashMap};

use pgdata::{Fork, PAGE_SIZE, Page, PageKey, PgVersion, RelTag};
use support::recording::Recording;
use wal_decoder::{BlockRef, Record, rmgr};
use walredo::{PostgresRedo, Redo, RedoRecord, RedoRequest};

/// Heap blocks for which one visibility map page has bits.
const HEAP_BLOCKS_PER_VM_PAGE: u32 = 32_672;

/// Where the bits begin in such a page.
const VM_MAP: usize = 24;
/// `XLOG_SMGR_TRUNCATE`.
const SMGR_TRUNCATE: u8 = 0x20;

/// What must have been compared at least once, by resource manager.
const EXPECTED: &[(u8, &str)] = &[
    (rmgr::RM_HEAP_ID, "heap"),
    (rmgr::RM_HEAP2_ID, "heap2"),
    (rmgr::RM_BTREE_ID, "btree"),
    (rmgr::RM_HASH_ID, "hash"),
    (rmgr::RM_GIN_ID, "gin"),
    (rmgr::RM_GIST_ID, "gist"),
    (rmgr::RM_SEQ_ID, "sequence"),
    (rmgr::RM_SPGIST_ID, "spgist"),
    (rmgr::RM_BRIN_ID, "brin"),
];

/// Replays WAL page by page and compares.
struct Judge {
    pool: PostgresRedo,
    version: PgVersion,
    pages: HashMap<PageKey, Box<Page>>,
    compared: BTreeMap<u8, u64>,
    mismatches: Vec<String>,
}

impl Judge {
    fn redo(&mut self, key: PageKey, raw: RedoRecord<'_>, base: Option<Box<Page>>) -> Box<Page> {
        let has_base = base.is_some();
        let mut page = base.unwrap_or_else(|| Box::new([0; PAGE_SIZE]));
        let request = RedoRequest { version: self.version, key, has_base, records: &[raw] };
        self.pool.redo(&request, &mut page).unwrap_or_else(|error| panic!("{error}"));
        page
    }

    fn record(&mut self, record: &Record<'_>, raw: RedoRecord<'_>) {
        for block in &record.blocks {
            let key = PageKey::relation(block.rel, block.block);
            let made_anew = block.will_init || block.image.as_ref().is_some_and(|image| image.apply);
            let base = if made_anew { None } else { self.pages.get(&key).cloned() };
            assert!(
                made_anew || base.is_some() || block.rel.fork == Fork::Vm,
                "{key} is changed by the record that ends at {} before anything made it",
                record.lsn
            );
            let page = self.redo(key, raw, base);
            self.compare(record, block, &page);
            self.pages.insert(key, page);
        }
        if matches!(record.rmid, rmgr::RM_HEAP_ID | rmgr::RM_HEAP2_ID) {
            self.clear_visibility(record, raw);
        }
        if record.rmid == rmgr::RM_SMGR_ID && record.info & 0xF0 == SMGR_TRUNCATE {
            self.truncate_map(record.main_data);
        }
    }

    /// What `visibilitymap_prepare_truncate` does, which is no work of a redo process: bits of blocks that are gone go too.
    /// `xl_smgr_truncate` is the number of blocks left, tablespace, database, relation and flags.
    fn truncate_map(&mut self, truncate: &[u8]) {
        let number = |at: usize| u32::from_le_bytes(truncate[at..at + 4].try_into().unwrap());
        let rel = RelTag { spc: number(4), db: number(8), rel: number(12), fork: Fork::Vm };
        let left = (number(0) % HEAP_BLOCKS_PER_VM_PAGE) as usize;
        if let Some(page) = self.pages.get_mut(&PageKey::relation(rel, number(0) / HEAP_BLOCKS_PER_VM_PAGE)) {
            let map = &mut page[VM_MAP..];
            map[left / 4] &= (1 << (left % 4 * 2)) - 1;
            map[left / 4 + 1..].fill(0);
        }
    }

    /// Heap records clear bits of visibility map pages that they do not name.
    fn clear_visibility(&mut self, record: &Record<'_>, raw: RedoRecord<'_>) {
        let named = |rel: RelTag, page| record.blocks.iter().any(|block| (block.rel, block.block) == (rel, page));
        let mut maps: Vec<_> = record
            .blocks
            .iter()
            .filter(|block| block.rel.fork == Fork::Main)
            .map(|block| (block.rel.with_fork(Fork::Vm), block.block / HEAP_BLOCKS_PER_VM_PAGE))
            .filter(|&(rel, page)| !named(rel, page))
            .collect();
        maps.dedup();
        for (rel, page) in maps {
            let key = PageKey::relation(rel, page);
            if let Some(base) = self.pages.remove(&key) {
                let page = self.redo(key, raw, Some(base));
                self.pages.insert(key, page);
            }
        }
    }

    fn compare(&mut self, record: &Record<'_>, block: &BlockRef<'_>, page: &Page) {
        let Some(image) = block.image.as_ref().filter(|image| !image.apply) else { return };
        let (mut ours, mut theirs) = (*page, [0; PAGE_SIZE]);
        image.restore(&mut theirs).unwrap();
        // Resource managers mask the whole map away, as the unused space of a page.
        if block.rel.fork == Fork::Vm && ours[VM_MAP..] != theirs[VM_MAP..] {
            self.mismatches.push(format!("{} page {}: the maps differ after {}", block.rel, block.block, record.lsn));
        }
        self.pool.mask(record.rmid, block.block, &mut ours, &mut theirs).unwrap();
        *self.compared.entry(record.rmid).or_default() += 1;
        if let Some(at) = (0..PAGE_SIZE).find(|&at| ours[at] != theirs[at]) {
            self.mismatches.push(format!(
                "{} block {}, resource manager {} info {:02X}, record that ends at {}: byte {at} is {:02X}, primary had {:02X}",
                block.rel, block.block, record.rmid, record.info, record.lsn, ours[at], theirs[at]
            ));
        }
    }
}

fn judge(version: PgVersion, name: &str, initdb_options: &[&str], config: &str) {
    let recording = Recording::get(version, name, initdb_options, config);
    let mut judge = Judge {
        pool: recording.pool(),
        version,
        pages: HashMap::new(),
        compared: BTreeMap::new(),
        mismatches: Vec::new(),
    };
    recording.replay(|record, raw| judge.record(record, raw));
    println!("PostgreSQL {version}: compared by resource manager {:?}; {:?}", judge.compared, judge.pool.stats());
    let shown = judge.mismatches.iter().take(20).cloned().collect::<Vec<_>>().join("\n");
    assert!(judge.mismatches.is_empty(), "{} pages differ:\n{shown}", judge.mismatches.len());
    for (rmid, name) in EXPECTED {
        assert!(judge.compared.get(rmid).is_some_and(|count| *count > 0), "no page of {name} was compared");
    }
    assert_eq!(judge.pool.stats().starts, 1, "no record made the process fail");
}

#[test]
fn pages_of_15_are_the_primarys() {
    judge(PgVersion::V15, "plain", &[], "");
}

#[test]
fn pages_of_15_with_checksums_are_the_primarys() {
    judge(PgVersion::V15, "checksums", &["-k"], "wal_compression = lz4");
}

#[test]
fn pages_of_15_with_hints_logged_are_the_primarys() {
    judge(PgVersion::V15, "hints", &[], "wal_log_hints = on\nwal_level = logical");
}

#[test]
#[ignore = "needs PostgreSQL 16 and a build with its headers: set PG_BIN_16"]
fn pages_of_16_are_the_primarys() {
    judge(PgVersion::V16, "plain", &[], "");
}

#[test]
#[ignore = "needs PostgreSQL 17 and a build with its headers: set PG_BIN_17"]
fn pages_of_17_are_the_primarys() {
    judge(PgVersion::V17, "plain", &[], "");
}

#[test]
#[ignore = "needs PostgreSQL 18 and a build with its headers: set PG_BIN_18"]
fn pages_of_18_are_the_primarys() {
    judge(PgVersion::V18, "plain", &[], "");
}
