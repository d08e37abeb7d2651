//! How fast the native engine is, by type of record and by length of chain, next to the stock server and to copying a page.
//!
//! Method: `record`: a real record of each type and each part in it, out of WAL that PostgreSQL 15 writes for `tests/workload.sql`, is applied
//! to a fresh copy of the page before it; the copy (8 KiB, see `copy`) is part of the time. `chain`: inserts of 8-byte tuples into a
//! page that the first one initialises, up to 200, then locks of these tuples; by the native engine; by one process of PostgreSQL 15, one request after
//! the other from one thread ("synchronous"); and by the same process with 256 requests in flight ("pipelined", per request).
//! Criterion's estimate of the time for one page; one thread. Run with `cargo bench -p walredo --bench native`.
//!
//! Reference, 2026-11-25, two shared virtual cores of an AMD EPYC, idle, PostgreSQL 15.20: copy 79 ns; medians over the samples of heap 213 ns, heap2
//! 239 ns, btree 293 ns, hash 250 ns, gin 597 ns, gist 281 ns, spgist 318 ns, brin 240 ns. Chains of 1, 10, 100, 1000 records: native 0.27, 1.25, 10.8,
//! 106 µs; synchronous 3.9, 9.9, 18.8, 150 µs; pipelined, per request, 4.5, 12, 18, 137 µs.

#![allow(missing_docs, reason = "criterion_group makes a public function without any")]

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

#[path = "../tests/support/mod.rs"]
mod support;

use criterion::measurement::WallTime;
use pgdata::{PAGE_SIZE, PgVersion};
use support::recording::Recording;
use support::samples::{Sample, Samples};
use support::{Chain, ZERO, request};
use walredo::{NativeRedo, PostgresRedo, Redo, RedoRecord, RedoRequest};

const LENGTHS: [u16; 4] = [1, 10, 100, 1000];
const BATCH: usize = 256;

fn engine() -> NativeRedo<Option<PostgresRedo>> {
    NativeRedo::new(false, None)
}

fn copy(criterion: &mut Criterion) {
    let (base, mut page) = ([7; PAGE_SIZE], ZERO);
    criterion.bench_function("copy", |bencher| bencher.iter(|| black_box(&mut page).copy_from_slice(black_box(&base))));
}

fn records(criterion: &mut Criterion) {
    let recording = Recording::get(PgVersion::V15, "plain", &[], "");
    let samples = Samples::of(&recording);
    let mut group = criterion.benchmark_group("record");
    group.warm_up_time(Duration::from_millis(100)).measurement_time(Duration::from_millis(400)).sample_size(20);
    for (name, sample) in samples.firsts() {
        record(&mut group, &name, sample);
    }
}

fn record(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, sample: &Sample) {
    let engine = engine();
    let raw = RedoRecord { lsn: sample.lsn(), bytes: &sample.bytes };
    let has_base = sample.base.is_some();
    let request = RedoRequest { version: PgVersion::V15, key: sample.key, has_base, records: &[raw] };
    let base = sample.base.as_deref().unwrap_or(&ZERO);
    let mut page = *base;
    if engine.redo(&request, &mut page).is_err() {
        return;
    }
    group.bench_function(name, |bencher| {
        bencher.iter(|| {
            page.copy_from_slice(black_box(base));
            engine.redo(&request, black_box(&mut page)).expect("it was possible before");
        });
    });
}

fn chains(criterion: &mut Criterion) {
    let (stock, _scratch) = support::pool(1, Duration::from_secs(10));
    let native = engine();
    let mut group = criterion.benchmark_group("chain");
    for length in LENGTHS {
        let chain = Chain::long(7, length, 1);
        let records = chain.refs();
        let request = request(&chain, &records);
        let mut page = ZERO;
        group.throughput(Throughput::Elements(u64::from(length)));
        group.bench_function(BenchmarkId::new("native", length), |bencher| {
            bencher.iter(|| native.redo(&request, black_box(&mut page)).expect("redo"));
        });
        group.bench_function(BenchmarkId::new("synchronous", length), |bencher| {
            bencher.iter(|| stock.redo(&request, black_box(&mut page)).expect("redo"));
        });
        let (requests, mut pages) = (vec![request; BATCH], vec![ZERO; BATCH]);
        group.throughput(Throughput::Elements(u64::from(length) * BATCH as u64));
        group.bench_function(BenchmarkId::new("pipelined", length), |bencher| {
            bencher.iter(|| assert!(stock.redo_batch(&requests, black_box(&mut pages)).iter().all(Result::is_ok)));
        });
    }
}

criterion_group!(benches, copy, records, chains);
criterion_main!(benches);
