//! PostgreSQL itself is the judge: under `wal_consistency_checking = all` each record carries the pages as the primary had them
//! after it. Every page that redo makes of such WAL must equal them, after the resource manager's own `rm_mask`.

mod support;

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use pgdata::{ControlFile, Fork, PAGE_SIZE, Page, PageKey, PgVersion, RelTag};
use tempfile::TempDir;
use wal_decoder::{BlockRef, Record, WalStream, rmgr};
use walredo::{PostgresRedo, PostgresRedoConfig, Redo, RedoRecord, RedoRequest};

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

/// A cluster that a single-user server has worked in.
struct Source {
    scratch: TempDir,
    version: PgVersion,
    /// As it was before the work.
    control: Vec<u8>,
}

impl Source {
    fn make(version: PgVersion, initdb_options: &[&str], config: &str) -> Source {
        let scratch = support::scratch();
        let source = Source { scratch, version, control: Vec::new() };
        let owner = server_user();
        if let Some((uid, gid)) = owner {
            std::os::unix::fs::chown(source.scratch.path(), Some(uid), Some(gid)).unwrap();
        }
        let mut initdb = source.command("initdb");
        initdb
            .args(["-N", "--no-locale", "-E", "UTF8", "-U", "postgres", "-D"])
            .arg(source.data())
            .args(initdb_options);
        succeed(initdb, "");
        let control = fs::read(source.data().join("global/pg_control")).unwrap();
        let mut file = fs::File::options().append(true).open(source.data().join("postgresql.conf")).unwrap();
        writeln!(file, "wal_consistency_checking = all\nfsync = off\nmax_wal_size = 10GB\nwal_keep_size = 10GB\ncheckpoint_timeout = 1h\n{config}")
            .unwrap();
        let mut single = source.command("postgres");
        single.args(["--single", "-j", "-D"]).arg(source.data()).arg("postgres");
        succeed(single, include_str!("workload.sql"));
        Source { control, ..source }
    }

    fn data(&self) -> PathBuf {
        self.scratch.path().join("data")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(support::bin_dir(self.version).join(program));
        command.env("LC_ALL", "C").env_remove("PGDATA").current_dir(self.scratch.path());
        if let Some((uid, gid)) = server_user() {
            command.uid(uid).gid(gid);
        }
        command
    }

    fn pool(&self) -> PostgresRedo {
        let config = PostgresRedoConfig {
            bin_dir: Some(support::bin_dir(self.version)),
            scratch_parent: self.scratch.path().to_owned(),
            max_children: 1,
            request_timeout: Duration::from_secs(60),
            ..PostgresRedoConfig::new(self.control.clone())
        };
        PostgresRedo::start(config).expect("the server starts as a redo process")
    }
}

/// The user that servers run as, if this is root.
fn server_user() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let passwd = fs::read_to_string("/etc/passwd").unwrap();
    let line = passwd.lines().find(|line| line.starts_with("postgres:")).expect("there is a user named postgres");
    let field = |index| line.split(':').nth(index).and_then(|field| field.parse().ok()).expect("a number");
    Some((field(2), field(3)))
}

fn succeed(mut command: Command, input: &str) {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{errors}", output.status);
    assert!(!errors.contains("ERROR:"), "{command:?}:\n{errors}");
}

/// The WAL files of a data directory, in their order.
fn wal_files(data: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(data.join("pg_wal"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file() && path.file_name().is_some_and(|name| name.len() == 24))
        .collect();
    files.sort();
    files
}

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

fn judge(version: PgVersion, initdb_options: &[&str], config: &str) {
    let source = Source::make(version, initdb_options, config);
    let control = ControlFile::parse(&source.control).unwrap();
    let start = control.check_point_copy.redo;
    let segment_size = u64::from(control.wal_segment_size);
    let mut stream = WalStream::new(start, control.wal_segment_size, version).unwrap();
    let mut judge = Judge {
        pool: source.pool(),
        version,
        pages: HashMap::new(),
        compared: BTreeMap::new(),
        mismatches: Vec::new(),
    };
    let mut skip = (start.0 % segment_size) as usize;
    'files: for file in wal_files(&source.data()) {
        let bytes = fs::read(&file).unwrap();
        stream.feed(&bytes[skip..]);
        skip = 0;
        loop {
            match stream.next_record() {
                Ok(Some(raw)) => {
                    let record = Record::parse(version, raw.lsn, raw.bytes).unwrap();
                    judge.record(&record, RedoRecord { lsn: raw.lsn, bytes: raw.bytes });
                }
                Ok(None) => break,
                // The end of the WAL.
                Err(_) => break 'files,
            }
        }
    }
    println!("PostgreSQL {version}: compared by resource manager {:?}; {:?}", judge.compared, judge.pool.stats());
    let end = ControlFile::parse(&fs::read(source.data().join("global/pg_control")).unwrap()).unwrap().check_point;
    assert!(stream.decoded_to() > end, "read to {}, the last checkpoint is at {end}", stream.decoded_to());
    let shown = judge.mismatches.iter().take(20).cloned().collect::<Vec<_>>().join("\n");
    assert!(judge.mismatches.is_empty(), "{} pages differ:\n{shown}", judge.mismatches.len());
    for (rmid, name) in EXPECTED {
        assert!(judge.compared.get(rmid).is_some_and(|count| *count > 0), "no page of {name} was compared");
    }
    assert_eq!(judge.pool.stats().starts, 1, "no record made the process fail");
}

#[test]
fn pages_of_15_are_the_primarys() {
    judge(PgVersion::V15, &[], "");
}

#[test]
fn pages_of_15_with_checksums_are_the_primarys() {
    judge(PgVersion::V15, &["-k"], "wal_compression = lz4");
}

#[test]
fn pages_of_15_with_hints_logged_are_the_primarys() {
    judge(PgVersion::V15, &[], "wal_log_hints = on\nwal_level = logical");
}

#[test]
#[ignore = "needs PostgreSQL 16 and a build with its headers: set PG_BIN_16"]
fn pages_of_16_are_the_primarys() {
    judge(PgVersion::V16, &[], "");
}

#[test]
#[ignore = "needs PostgreSQL 17 and a build with its headers: set PG_BIN_17"]
fn pages_of_17_are_the_primarys() {
    judge(PgVersion::V17, &[], "");
}

#[test]
#[ignore = "needs PostgreSQL 18 and a build with its headers: set PG_BIN_18"]
fn pages_of_18_are_the_primarys() {
    judge(PgVersion::V18, &[], "");
}
