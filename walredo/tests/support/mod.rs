//! What the tests with a real server share.
#![allow(dead_code, reason = "each test file uses a part of it")]

#[allow(dead_code)] // used by the tests of the native engine alone
pub mod judge;
pub mod recording;
pub mod samples;

use std::path::PathBuf;
use std::time::Duration;

use pgdata::{ControlFile, Fork, Lsn, PAGE_SIZE, Page, PageKey, PgVersion, RelTag, page_lsn};
use tempfile::TempDir;
use walredo::{PostgresRedo, PostgresRedoConfig, RedoRecord, RedoRequest};

/// The directory of a version's programs: `$PG_BIN_<major>`, else Debian's.
pub fn bin_dir(version: PgVersion) -> PathBuf {
    let variable = format!("PG_BIN_{version}");
    let bin = std::env::var_os(&variable)
        .map_or_else(|| PathBuf::from(format!("/usr/lib/postgresql/{version}/bin")), PathBuf::from);
    assert!(
        bin.join("postgres").exists(),
        "PostgreSQL {version} is not installed: there is no {}/postgres. Install postgresql-{version}, or set {variable}",
        bin.display()
    );
    bin
}

/// A configuration for a cluster of `version` with nothing special about it, with short limits and its own scratch place.
pub fn config(version: PgVersion, scratch: &TempDir) -> PostgresRedoConfig {
    PostgresRedoConfig {
        bin_dir: Some(bin_dir(version)),
        scratch_parent: scratch.path().to_owned(),
        max_children: 2,
        ..PostgresRedoConfig::new(ControlFile::initial(version, 42).to_bytes())
    }
}

/// A place that the server's user can reach.
pub fn scratch() -> TempDir {
    use std::os::unix::fs::PermissionsExt as _;
    let scratch = tempfile::Builder::new().prefix("walredo-test-").tempdir().expect("make a temporary directory");
    std::fs::set_permissions(scratch.path(), std::fs::Permissions::from_mode(0o755)).expect("set its mode");
    scratch
}

/// A pool of at most `children` processes of PostgreSQL 15.
pub fn pool(children: usize, request_timeout: Duration) -> (PostgresRedo, TempDir) {
    let scratch = scratch();
    let config = PostgresRedoConfig { max_children: children, request_timeout, ..config(PgVersion::V15, &scratch) };
    (PostgresRedo::start(config).expect("PostgreSQL 15 starts as a redo process"), scratch)
}

pub const REL: RelTag = RelTag { spc: 1663, db: 5, rel: 16384, fork: Fork::Main };

/// Raw records of one heap page: an insert that initialises it, then inserts of small tuples.
#[derive(Clone)]
pub struct Chain {
    pub block: u32,
    pub records: Vec<(Lsn, Vec<u8>)>,
}

impl Chain {
    /// `count` inserts (at most 200 fit on the page) into `block`. `seed` makes the page recognisable.
    pub fn inserts(block: u32, count: u16, seed: u8) -> Chain {
        let records = (1..=count).map(|offset| (Lsn(0x1000 * u64::from(offset)), heap_insert(block, offset, seed)));
        Chain { block, records: records.collect() }
    }

    /// As many inserts as fit, then locks of the tuples, to `count` records.
    pub fn long(block: u32, count: u16, seed: u8) -> Chain {
        let mut chain = Chain::inserts(block, count.min(200), seed);
        for number in chain.records.len() as u16 + 1..=count {
            chain.records.push((Lsn(0x1000 * u64::from(number)), heap_lock(block, number % 200 + 1)));
        }
        chain
    }

    pub fn key(&self) -> PageKey {
        PageKey::relation(REL, self.block)
    }

    pub fn refs(&self) -> Vec<RedoRecord<'_>> {
        self.records.iter().map(|(lsn, bytes)| RedoRecord { lsn: *lsn, bytes }).collect()
    }

    /// Whether `page` is what the chain makes: its LSN, its number of tuples and the last tuple's data.
    pub fn is_made(&self, page: &Page, seed: u8) -> bool {
        let lower = u16::from_le_bytes([page[12], page[13]]) as usize;
        let upper = u16::from_le_bytes([page[14], page[15]]) as usize;
        let last = self.records.last().expect("chains are not empty").0;
        page_lsn(page) == last && lower == 24 + 4 * self.records.len() && page[upper + 24] == seed
    }
}

/// The request for a page that a chain makes from nothing.
pub fn request<'a>(chain: &Chain, records: &'a [RedoRecord<'a>]) -> RedoRequest<'a> {
    RedoRequest { version: PgVersion::V15, key: chain.key(), has_base: false, records }
}

pub const ZERO: Page = [0; PAGE_SIZE];

/// A heap insert record of an 8-byte tuple (`access/heapam_xlog.h`); the first on a page initialises it.
pub fn heap_insert(block: u32, offset: u16, seed: u8) -> Vec<u8> {
    let init = offset == 1;
    let mut tuple = vec![1, 0, 0, 8, 24, 0];
    tuple.extend([seed; 8]);
    let mut body = vec![0, if init { 0x60 } else { 0x20 }];
    body.extend((tuple.len() as u16).to_le_bytes());
    for number in [REL.spc, REL.db, REL.rel, block] {
        body.extend(number.to_le_bytes());
    }
    body.extend([255, 3]);
    body.extend(tuple);
    body.extend(offset.to_le_bytes());
    body.push(0);
    raw_record(10, if init { 0x80 } else { 0 }, &body)
}

/// A heap lock record of one tuple.
pub fn heap_lock(block: u32, offset: u16) -> Vec<u8> {
    let mut body = vec![0, 0, 0, 0];
    for number in [REL.spc, REL.db, REL.rel, block] {
        body.extend(number.to_le_bytes());
    }
    body.extend([255, 8]);
    body.extend(701_u32.to_le_bytes());
    body.extend(offset.to_le_bytes());
    // Locked only, exclusively.
    body.extend([0x06, 0]);
    raw_record(10, 0x60, &body)
}

/// A record with this body. Redo processes check no CRC.
pub fn raw_record(rmid: u8, info: u8, body: &[u8]) -> Vec<u8> {
    let mut record = (24 + body.len() as u32).to_le_bytes().to_vec();
    record.extend(700u32.to_le_bytes());
    record.extend(0u64.to_le_bytes());
    record.extend([info, rmid, 0, 0]);
    record.extend(0u32.to_le_bytes());
    record.extend(body);
    record
}
