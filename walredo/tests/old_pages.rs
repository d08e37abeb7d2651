//! Pages that no supported server writes, but that `pg_upgrade` may have brought: the native engine makes of them what the stock server makes.

mod support;

use std::time::Duration;

use pgdata::{Lsn, PAGE_SIZE, Page, PgVersion};
use support::{Chain, REL, pool, raw_record};
use walredo::{NativeRedo, PostgresRedo, Redo, RedoRecord, RedoRequest};

const RM_GIN_ID: u8 = 13;
const VACUUM_DATA_LEAF_PAGE: u8 = 0x90;
const BLOCK: u32 = 7;
/// `GIN_DATA | GIN_LEAF`, and not `GIN_COMPRESSED`.
const FLAGS: u16 = 3;

/// A heap tuple as `ItemPointerData`.
fn place(block: u32, offset: u16) -> [u8; 6] {
    let words = [(block >> 16) as u16, block as u16, offset];
    words.map(u16::to_le_bytes).as_flattened().try_into().unwrap()
}

/// A leaf of a posting tree as before 9.4: an array of heap tuples behind the right bound, and a `pd_lower` that nobody set.
fn leaf(places: &[[u8; 6]]) -> Page {
    let mut page = [0; PAGE_SIZE];
    page[12..14].copy_from_slice(&24_u16.to_le_bytes());
    for field in [14, 16] {
        page[field..field + 2].copy_from_slice(&8184_u16.to_le_bytes());
    }
    page[18..20].copy_from_slice(&0x2004_u16.to_le_bytes());
    let array = places.as_flattened();
    page[32..32 + array.len()].copy_from_slice(array);
    page[8184..8188].copy_from_slice(&u32::MAX.to_le_bytes());
    page[8188..8190].copy_from_slice(&(places.len() as u16).to_le_bytes());
    page[8190..].copy_from_slice(&FLAGS.to_le_bytes());
    page
}

/// A record with one action on a segment, as block data.
fn record(actions: &[u8]) -> Vec<u8> {
    let data = [&1_u16.to_le_bytes()[..], actions].concat();
    let mut body = vec![0, 0x20];
    body.extend((data.len() as u16).to_le_bytes());
    for number in [REL.spc, REL.db, REL.rel, BLOCK] {
        body.extend(number.to_le_bytes());
    }
    body.extend(data);
    raw_record(RM_GIN_ID, VACUUM_DATA_LEAF_PAGE, &body)
}

fn assert_same(stock: &PostgresRedo, base: &Page, record: &[u8]) {
    let records = [RedoRecord { lsn: Lsn(0x5000), bytes: record }];
    let key = Chain::inserts(BLOCK, 1, 0).key();
    let request = RedoRequest { version: PgVersion::V15, key, has_base: true, records: &records };
    let (mut ours, mut theirs) = (*base, *base);
    NativeRedo::new(false, None::<PostgresRedo>).redo(&request, &mut ours).unwrap();
    stock.redo(&request, &mut theirs).unwrap();
    assert!(ours != *base, "the record changes nothing");
    assert!(ours == theirs, "byte {} differs", (0..PAGE_SIZE).find(|&at| ours[at] != theirs[at]).unwrap());
}

#[test]
fn leaves_of_posting_trees_without_compression() {
    let (stock, _scratch) = pool(1, Duration::from_secs(30));
    let few: Vec<_> = (0..900_u32).map(|i| place(i * i * 3, 1 + (i % 200) as u16)).collect();
    let full: Vec<_> = (0..1358_u32).map(|i| place(i / 200, 1 + (i % 200) as u16)).collect();
    let list = [&place(70_000, 9)[..], &[0, 0]].concat();
    let add = [&[0, 4, 2, 0][..], &place(1, 1), &place(u32::MAX - 1, 2047)].concat();
    for base in [leaf(&few), leaf(&full)] {
        assert_same(&stock, &base, &record(&add));
        assert_same(&stock, &base, &record(&[&[1, 2][..], &list].concat()));
        assert_same(&stock, &base, &record(&[0, 1]));
    }
    assert_same(&stock, &leaf(&[]), &record(&[&[0, 2][..], &list].concat()));
}
