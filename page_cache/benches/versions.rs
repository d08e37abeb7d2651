//! Ingesting records and looking pages up, next to what a `BTreeMap` takes for the same.
//!
//! Method: `cargo bench -p page_cache`. Records of 104 bytes, each changing one of 20,000 pages picked by a multiplicative sequence,
//! come in batches of 1000 into a timeline whose WAL log was filled with zeros beforehand (appending to the log is not measured, nor
//! is decoding). One ingest is 100,000 records into an empty index. Lookups go to pages whose chains are 1, 10 or 100 records long,
//! base page of zeros, all in memory. The floor is a `BTreeMap` from (key, LSN) to record bytes: an insert with a copy of the
//! bytes, and a range scan back that borrows them. It knows nothing of sizes, truncations or checks.
//!
//! Reference, AMD EPYC, 2 virtual cores with other work on them, November 2026 (cache / floor): ingest 2.9 / 1.4 million records a
//! second; lookup of 1 record 0.74 / 0.53 µs, of 10 records 1.2 / 1.8 µs, of 100 records 18 / 3.9 µs (each from another batch's piece).

use std::collections::BTreeMap;
use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput};
use page_cache::{BaseWriter, Batch, Options, PageCache, TimelineInfo};
use pgdata::wal::SegmentSize;
use pgdata::{Change, Fork, Lsn, PAGE_SIZE, PageEffect, PageKey, PgVersion, RelTag};

const LEN: usize = 104;
const RECORDS: u32 = 100_000;
const PAGES: u32 = 20_000;
const TABLE: RelTag = RelTag { spc: 1663, db: 5, rel: 16384, fork: Fork::Main };

fn info() -> TimelineInfo {
    let segment_size = SegmentSize::new(1 << 30).expect("a size");
    TimelineInfo { version: PgVersion::V15, system_id: 7, segment_size, pg_timeline: 1, start_lsn: Lsn((1 << 30) + 40) }
}

/// A directory with a timeline whose log has room for every record.
fn timeline() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    BaseWriter::create(&dir.path().join("t"), info()).expect("new").finish(info().start_lsn).expect("finished");
    let cache = open(&dir);
    let zeros = vec![0; 1 << 20];
    (0..16).for_each(|_| cache.wal().append(cache.wal().end(), &zeros).expect("appended"));
    dir
}

fn open(dir: &tempfile::TempDir) -> PageCache {
    PageCache::open(&dir.path().join("t"), Options::default()).expect("a timeline")
}

/// Where record `number` starts: 78 in each WAL page, so that none crosses a page header.
fn start(number: u32) -> Lsn {
    Lsn((1 << 30) + 8192 * u64::from(number / 78) + 40 + LEN as u64 * u64::from(number % 78))
}

fn key(block: u32) -> PageKey {
    PageKey::relation(TABLE, block)
}

fn ingest(cache: &PageCache, records: u32, block: impl Fn(u32) -> u32) {
    for first in (0..records).step_by(1000) {
        let mut batch = Batch::new();
        for number in first..first + 1000 {
            let change = Change::Page { key: key(block(number)), effect: PageEffect::ModifyOrExtend };
            batch.push(start(number), Lsn(start(number).0 + LEN as u64), LEN, [change]);
        }
        cache.ingest_batch(&mut batch).expect("taken up");
    }
    cache.advance(Lsn(start(records - 1).0 + LEN as u64)).expect("advanced");
}

fn scattered(number: u32) -> u32 {
    number.wrapping_mul(0x9E37_79B1) % PAGES
}

fn benches(criterion: &mut Criterion) {
    let dir = timeline();
    let mut group = criterion.benchmark_group("ingest");
    group.throughput(Throughput::Elements(u64::from(RECORDS))).sample_size(10);
    group.bench_function("page_cache", |bench| {
        bench.iter_batched_ref(|| open(&dir), |cache| ingest(cache, RECORDS, scattered), BatchSize::PerIteration);
    });
    group.bench_function("floor", |bench| {
        bench.iter_with_large_drop(|| {
            let insert = |n: u32| ((key(scattered(n)), start(n)), Box::from([7u8; LEN].as_slice()));
            (0..RECORDS).fold(BTreeMap::<_, Box<[u8]>>::new(), |mut map, n| {
                let (key, bytes) = insert(n);
                map.insert(key, bytes);
                map
            })
        });
    });
    group.finish();

    let mut group = criterion.benchmark_group("lookup");
    for chain in [1, 10, 100] {
        let cache = open(&dir);
        ingest(&cache, RECORDS, |number| number % (RECORDS / chain));
        let lsn = cache.last_record_lsn();
        let (mut page, mut block) = ([0; PAGE_SIZE], 0);
        group.bench_function(format!("page_cache/{chain}"), |bench| {
            bench.iter(|| {
                block = (block + 7919) % (RECORDS / chain);
                let found = cache.lookup(key(block), lsn, &mut page).expect("a page");
                assert_eq!(black_box(found).records.len(), chain as usize);
            });
        });
        let records = (0..RECORDS).map(|n| ((key(n % (RECORDS / chain)), start(n)), Box::<[u8]>::from([7; LEN])));
        let map: BTreeMap<_, _> = records.collect();
        group.bench_function(format!("floor/{chain}"), |bench| {
            bench.iter(|| {
                block = (block + 7919) % (RECORDS / chain);
                page.fill(0);
                let range = (key(block), Lsn(0))..=(key(block), lsn);
                let found: Vec<&[u8]> = map.range(range).map(|(_, bytes)| &bytes[..]).collect();
                assert_eq!(black_box(found).len(), chain as usize);
            });
        });
    }
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    benches(&mut criterion);
    criterion.final_summary();
}
