//! Any record on any page: the native engine makes a page or gives an error, and the same one each time.
//!
//! ```text
//! 1 byte: bits 0-1 version, bit 2 there is a base page, bit 3 hint bits are logged │ 1 byte: which block reference is the page
//! 8192 bytes: the base page, if there is one │ the record; xl_tot_len and the order of LSNs are put right
//! ```
//! Seeds out of real WAL: `WALREDO_SEEDS=DIR cargo test -p walredo --test damage`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pgdata::{Lsn, PAGE_SIZE, Page, PageKey, PgVersion, page_lsn};
use wal_decoder::Record;
use walredo::{NativeRedo, PostgresRedo, Redo, RedoRecord, RedoRequest};

fuzz_target!(|input: &[u8]| {
    let [flags, block, rest @ ..] = input else { return };
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
    let Some(block) = parsed.blocks.get(usize::from(*block) % parsed.blocks.len().max(1)) else { return };
    let records = [RedoRecord { lsn, bytes: &bytes }];
    let key = PageKey::relation(block.rel, block.block);
    let request = RedoRequest { version, key, has_base: base.is_some(), records: &records };
    let engine = NativeRedo::new(flags & 8 != 0, None::<PostgresRedo>);

    let make = |filler: u8| {
        let mut page: Page = base.copied().unwrap_or([filler; PAGE_SIZE]);
        engine.redo(&request, &mut page).map(|()| page).map_err(|error| error.to_string())
    };
    assert_eq!(make(0x00), make(0xFF));
});
