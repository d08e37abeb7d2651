//! How fast a redo process makes a page out of a chain of heap records.
//!
//! Method: PostgreSQL 15 in one process, started from an initial control file; the chain is one insert that initialises the page
//! and 0, 9 or 99 inserts of 8-byte tuples. "synchronous" is one request after the other from one thread (criterion's estimate of
//! the time per page); "pipelined" is `redo_batch` over 256 such requests. Run with `cargo bench -p walredo`.
//!
//! Reference, 2026-11-23, PostgreSQL 15.20, two shared cores that other builds kept busy at the time (load 5): a process switch waits
//! for them, so the synchronous figures are upper bounds.
//!
//! | records | synchronous | pipelined |
//! |---|---|---|
//! | 1 | 23 µs | 244k pages/s |
//! | 10 | 28 µs | 140k pages/s, 1.4M records/s |
//! | 100 | 38 µs | 37k pages/s, 3.7M records/s |

#![allow(missing_docs, reason = "criterion_group makes a public function without any")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

#[path = "../tests/support/mod.rs"]
mod support;

use pgdata::PgVersion;
use support::{Chain, ZERO, request};
use walredo::{PostgresRedo, PostgresRedoConfig, Redo};

const LENGTHS: [u16; 3] = [1, 10, 100];
const BATCH: usize = 256;

fn start() -> (PostgresRedo, tempfile::TempDir) {
    let scratch = support::scratch();
    let config = PostgresRedoConfig { max_children: 1, ..support::config(PgVersion::V15, &scratch) };
    (PostgresRedo::start(config).expect("PostgreSQL 15 starts as a redo process"), scratch)
}

fn synchronous(criterion: &mut Criterion) {
    let (pool, _scratch) = start();
    let mut group = criterion.benchmark_group("synchronous");
    for length in LENGTHS {
        let chain = Chain::inserts(7, length, 1);
        let records = chain.refs();
        let mut page = ZERO;
        group.bench_function(BenchmarkId::from_parameter(length), |bencher| {
            bencher.iter(|| pool.redo(&request(&chain, &records), black_box(&mut page)).expect("redo"));
        });
    }
}

fn pipelined(criterion: &mut Criterion) {
    let (pool, _scratch) = start();
    let mut group = criterion.benchmark_group("pipelined");
    group.throughput(Throughput::Elements(BATCH as u64));
    for length in LENGTHS {
        let chain = Chain::inserts(7, length, 1);
        let records = chain.refs();
        let requests = vec![request(&chain, &records); BATCH];
        let mut pages = vec![ZERO; BATCH];
        group.bench_function(BenchmarkId::from_parameter(length), |bencher| {
            bencher.iter(|| assert!(pool.redo_batch(&requests, black_box(&mut pages)).iter().all(Result::is_ok)));
        });
    }
}

criterion_group!(benches, synchronous, pipelined);
criterion_main!(benches);
