//! Records and pages that a workload does not make in reasonable time, or that no supported server writes but `pg_upgrade` may have brought:
//! the native engine makes of them what the stock server makes, byte for byte.

mod support;

use std::time::Duration;

use pgdata::{Lsn, PAGE_SIZE, Page, PageKey, PgVersion};
use support::{REL, pool, raw_record};
use wal_decoder::rmgr::{RM_GIN_ID, RM_HASH_ID};
use walredo::{NativeRedo, PostgresRedo, Redo, RedoRecord, RedoRequest};

/// A block of a record.
#[derive(Default)]
struct Block<'a> {
    number: u32,
    will_init: bool,
    /// An image that redo restores.
    image: Option<&'a Page>,
    data: &'a [u8],
}

/// A record with these blocks, numbered from 0, where there is one.
fn record(rmid: u8, info: u8, blocks: &[Option<Block<'_>>], main: &[u8]) -> Vec<u8> {
    let (mut headers, mut contents) = (Vec::new(), Vec::new());
    for (id, block) in blocks.iter().enumerate() {
        let Some(Block { number, will_init, image, data }) = block else { continue };
        let flags = [(!data.is_empty(), 0x20), (*will_init, 0x40), (image.is_some(), 0x10)];
        headers.extend([id as u8, flags.iter().map(|&(on, flag)| if on { flag } else { 0 }).sum()]);
        headers.extend((data.len() as u16).to_le_bytes());
        if let Some(image) = image {
            headers.extend((PAGE_SIZE as u16).to_le_bytes());
            headers.extend([0, 0, 0x02]);
            contents.extend_from_slice(*image);
        }
        headers.extend([REL.spc, REL.db, REL.rel, *number].map(u32::to_le_bytes).as_flattened());
        contents.extend_from_slice(data);
    }
    if !main.is_empty() {
        headers.extend([255, main.len() as u8]);
    }
    raw_record(rmid, info, &[&headers, &contents, main].concat())
}

/// Asserts that both engines make the same of a base page, or of none, and answers with it.
fn same(stock: &PostgresRedo, number: u32, base: Option<&Page>, record: &[u8]) -> Page {
    let records = [RedoRecord { lsn: Lsn(0x5000), bytes: record }];
    let key = PageKey::relation(REL, number);
    let request = RedoRequest { version: PgVersion::V15, key, has_base: base.is_some(), records: &records };
    let before = *base.unwrap_or(&[0; PAGE_SIZE]);
    let (mut ours, mut theirs) = (before, before);
    NativeRedo::new(false, None::<PostgresRedo>).redo(&request, &mut ours).unwrap();
    stock.redo(&request, &mut theirs).unwrap();
    assert!(ours != before, "the record changes nothing");
    assert!(ours == theirs, "byte {} differs", (0..PAGE_SIZE).find(|&at| ours[at] != theirs[at]).unwrap());
    ours
}

/// An empty page with a special space.
fn page(special: &[u8]) -> Page {
    let mut page = [0; PAGE_SIZE];
    let start = PAGE_SIZE - special.len();
    let fields = [24, start as u16, start as u16, 0x2004];
    page[12..20].copy_from_slice(fields.map(u16::to_le_bytes).as_flattened());
    page[start..].copy_from_slice(special);
    page
}

/// A heap tuple as `ItemPointerData`.
fn place(block: u32, offset: u16) -> [u8; 6] {
    let words = [(block >> 16) as u16, block as u16, offset];
    words.map(u16::to_le_bytes).as_flattened().try_into().unwrap()
}

/// A leaf of a GIN posting tree as before 9.4: an array of heap tuples behind the right bound, and a `pd_lower` that nobody set.
fn uncompressed_leaf(places: &[[u8; 6]]) -> Page {
    // `GIN_DATA | GIN_LEAF`, and not `GIN_COMPRESSED`.
    let opaque = [u16::MAX, u16::MAX, places.len() as u16, 3];
    let mut page = page(opaque.map(u16::to_le_bytes).as_flattened());
    let array = places.as_flattened();
    page[32..32 + array.len()].copy_from_slice(array);
    page
}

#[test]
fn leaves_of_posting_trees_without_compression() {
    let (stock, _scratch) = pool(1, Duration::from_secs(30));
    let few: Vec<_> = (0..900_u32).map(|i| place(i * i * 3, 1 + (i % 200) as u16)).collect();
    let full: Vec<_> = (0..1358_u32).map(|i| place(i / 200, 1 + (i % 200) as u16)).collect();
    let list = [&place(70_000, 9)[..], &[0, 0]].concat();
    let add = [&[0, 4, 2, 0][..], &place(1, 1), &place(u32::MAX - 1, 2047)].concat();
    let vacuum = |action: &[u8]| {
        let data = [&[1, 0], action].concat();
        record(RM_GIN_ID, 0x90, &[Some(Block { number: 7, data: &data, ..Block::default() })], &[])
    };
    for base in [uncompressed_leaf(&few), uncompressed_leaf(&full)] {
        same(&stock, 7, Some(&base), &vacuum(&add));
        same(&stock, 7, Some(&base), &vacuum(&[&[1, 2][..], &list].concat()));
        same(&stock, 7, Some(&base), &vacuum(&[0, 1]));
    }
    same(&stock, 7, Some(&uncompressed_leaf(&[])), &vacuum(&[&[0, 2][..], &list].concat()));
}

fn init_hash_meta(tuples: f64, fill_factor: u16) -> Vec<u8> {
    let main = [&tuples.to_le_bytes()[..], &450_u32.to_le_bytes(), &fill_factor.to_le_bytes()].concat();
    record(RM_HASH_ID, 0x00, &[Some(Block { will_init: true, ..Block::default() })], &main)
}

#[test]
fn hash_indexes_of_every_size_begin_with_as_many_buckets() {
    let (stock, _scratch) = pool(1, Duration::from_secs(30));
    let sizes = (0..40).flat_map(|power| [-1.0, 0.0, 1.0, 300.0].map(|more| (1_u64 << power) as f64 * 1.37 + more));
    for tuples in sizes.chain([-5.0, 0.0, 1e18, 307.0 * 1024.0, 307.0 * 1280.0, 307.0 * f64::from(0x4000_0000)]) {
        for fill_factor in [1, 307, 409] {
            same(&stock, 0, None, &init_hash_meta(tuples, fill_factor));
        }
    }
}

#[test]
fn another_bitmap_of_a_hash_index() {
    let (stock, _scratch) = pool(1, Duration::from_secs(30));
    let mut meta = same(&stock, 0, None, &init_hash_meta(1e6, 307));
    meta[..8].fill(0);
    let data = 40_000_u32.to_le_bytes();
    let block = |number| Block { number, data: &data, ..Block::default() };
    for is_reused in [0, 1] {
        let bitmap = Block { will_init: true, number: 78, ..Block::default() };
        let blocks = [Some(Block { will_init: true, ..block(77) }), Some(block(5)), None, Some(bitmap), Some(block(0))];
        let added = record(RM_HASH_ID, 0x30, &blocks, &[0, 16, is_reused]);
        same(&stock, 0, Some(&meta), &added);
        same(&stock, 77, None, &added);
        same(&stock, 78, None, &added);
        same(&stock, 5, Some(&bucket_page()), &added);
    }
}

/// The first page of a hash index's bucket, without tuples.
fn bucket_page() -> Page {
    let words = [3, u32::MAX, 2, 0xFF80_0002];
    page(words.map(u32::to_le_bytes).as_flattened())
}

/// What a page says of itself is changed after its image is restored.
#[test]
fn buckets_that_are_divided_with_images() {
    let (stock, _scratch) = pool(1, Duration::from_secs(30));
    let base = bucket_page();
    let complete = [0x42, 0, 0x82, 0];
    let allocate = [&4_u32.to_le_bytes()[..], &[0x22, 0, 0x12, 0, 0]].concat();
    for image in [None, Some(&base)] {
        let block = |number| Some(Block { number, image, ..Block::default() });
        let completed = record(RM_HASH_ID, 0x60, &[block(3), block(5)], &complete);
        same(&stock, 3, Some(&base), &completed);
        same(&stock, 5, Some(&base), &completed);
        let new = Some(Block { number: 5, will_init: true, ..Block::default() });
        let allocated = record(RM_HASH_ID, 0x40, &[block(3), new, block(0)], &allocate);
        same(&stock, 3, Some(&base), &allocated);
        same(&stock, 5, None, &allocated);
    }
}
