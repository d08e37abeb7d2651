//! Any record on any page: the native engine makes a page or gives an error, and the same one each time.
//!
//! ```text
//! 1 byte: bits 0-1 version, bit 2 there is a base page, bit 3 hint bits are logged │ 1 byte: which of the record's pages
//! 8192 bytes: the base page, if there is one │ the record; xl_tot_len and the order of LSNs are put right
//! ```
//! A record's pages are those that it refers to, and those that it changes besides: of visibility maps and SLRUs. Seeds out of real WAL, of all resource
//! managers: `WALREDO_SEEDS=DIR cargo test -p walredo --test damage`, with `-- --include-ignored` of all versions. Then, in `walredo`, with a nightly compiler or
//! `RUSTC_BOOTSTRAP=1`: `cargo fuzz run native CORPUS DIR`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pgdata::{Change, ClusterState, ControlFile, Lsn, PAGE_SIZE, Page, PageKey, PgVersion, page_lsn};
use wal_decoder::{Interpreter, Record};
use walredo::{NativeRedo, PostgresRedo, Redo, RedoRecord, RedoRequest};

fuzz_target!(|input: &[u8]| {
    let [flags, which, rest @ ..] = input else { return };
    let (base, record) = match rest.split_first_chunk::<PAGE_SIZE>() {
        Some((base, record)) if flags & 4 != 0 => (Some(base), record),
        _ => (None, rest),
    };
    let Some((_, tail)) = record.split_first_chunk::<4>() else { return };
    let mut bytes = (record.len() as u32).to_le_bytes().to_vec();
    bytes.extend_from_slice(tail);

    let version = PgVersion::ALL[usize::from(flags & 3)];
    let lsn = Lsn(base.map_or(0, |page| page_lsn(page).0).saturating_add(8));
    let Ok(parsed) = Record::parse(version, lsn, &bytes) else { return };
    let pages = pages(&parsed);
    let Some(&key) = pages.get(usize::from(*which) % pages.len().max(1)) else { return };
    let records = [RedoRecord { lsn, bytes: &bytes }];
    let request = RedoRequest { version, key, has_base: base.is_some(), records: &records };
    let engine = NativeRedo::new(flags & 8 != 0, None::<PostgresRedo>);

    let make = |filler: u8| {
        let mut page: Page = base.copied().unwrap_or([filler; PAGE_SIZE]);
        engine.redo(&request, &mut page).map(|()| page).map_err(|error| error.to_string())
    };
    assert_eq!(make(0x00), make(0xFF));
});

/// The pages that the record refers to, in its order, then those that it changes besides, while commit timestamps are kept.
fn pages(record: &Record<'_>) -> Vec<PageKey> {
    let mut keys: Vec<_> = record.blocks.iter().map(|block| PageKey::relation(block.rel, block.block)).collect();
    let control = ControlFile { track_commit_timestamp: true, ..ControlFile::initial(record.version, 42) };
    let mut changes = Vec::new();
    // What it is no record for has no such pages.
    let _ = Interpreter::new(record.version, ClusterState::new(control)).changes(record, &mut changes);
    for change in changes {
        match change {
            Change::Page { key, .. } if !keys.contains(&key) => keys.push(key),
            _ => {}
        }
    }
    keys
}
