//! How fast the native engine is, by type of record and by length of chain, next to the stock server and to copying a page.
//!
//! Method, all in one run, with two kinds of time: what passes ("wall"), and what a processor works, which others on the machine disturb less.
//!
//! - `copy`: 8 KiB from one page to another, the floor. Processor time.
//! - `record`: a real record of each type and each part that a page has in it, out of WAL that PostgreSQL 15 writes for `tests/workload.sql`, is
//!   applied to a fresh copy of the page before it; the copy is part of the time. `FPI` is an image without a hole. Processor time. At the end there is
//!   a table of the least samples, by type and one for each part in the order of the block ids, or the range of more than four.
//! - `chain`: inserts of 8-byte tuples into a page that the first one initialises, up to 200, then locks of these tuples; by the native engine; by one
//!   process of PostgreSQL 15, one request after the other from one thread ("synchronous"); and by the same process with 256 requests in flight
//!   ("pipelined"; the time is for all of them). Wall time.
//! - Then a table of what one thread makes of chains of 100 records, and what two make at once, each with a page of its own: pages in wall time, and the
//!   processor time of each, which would grow if they were in each other's way.
//! - At the end a table of processor time for a page of such chains: of this process for native redo, of this one's and the server's together for
//!   batches of requests. It says what one core can do, however many there are.
//!
//! Run with `cargo bench -p walredo --bench native`.
//!
//! Reference, 2026-11-25, two shared virtual cores of an AMD EPYC, busy with other work (load 10), PostgreSQL 15: copy 77 ns; medians over the types and parts
//! of heap 144 ns, heap2 171 ns, btree 190 ns, hash 149 ns, gin 254 ns, gist 234 ns, spgist 230 ns, brin 153 ns; README.md has the whole table. Two threads at once: 5.3 µs of processor
//! time for a page of 100 records, as with one.
//!
//! | records | native | stock server, pipelined | times |
//! |---|---|---|---|
//! | 1 | 0.21 µs | 3.73 µs | 17.7 |
//! | 10 | 0.66 µs | 6.04 µs | 9.1 |
//! | 100 | 5.26 µs | 21.76 µs | 4.1 |
//! | 1000 | 48.73 µs | 154.49 µs | 3.2 |
//!
//! By the clock, on an idle machine, the stock server took 3.9, 9.9, 18.8 and 150 µs for one request after the other.

#![allow(missing_docs, reason = "criterion_group makes a public function without any")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

#[path = "../tests/support/mod.rs"]
mod support;

use criterion::measurement::WallTime;
use pgdata::{Lsn, PAGE_SIZE, Page, PageKey, PgVersion};
use rustix::time::ClockId;
use support::recording::Recording;
use support::samples::Samples;
use support::{Chain, REL, ZERO, raw_record, request};
use walredo::{NativeRedo, PostgresRedo, Redo, RedoRecord, RedoRequest};

const LENGTHS: [u16; 4] = [1, 10, 100, 1000];
const BATCH: usize = 256;
/// How long each processor time is taken.
const SPAN: Duration = Duration::from_secs(2);

fn engine() -> NativeRedo<Option<PostgresRedo>> {
    NativeRedo::new(false, None)
}

fn copy(criterion: &mut Criterion) {
    let (base, mut page) = ([7; PAGE_SIZE], ZERO);
    let mut copy = || black_box(&mut page).copy_from_slice(black_box(&base));
    criterion.bench_function("copy", |bencher| bencher.iter_custom(|times| worked(times, &mut copy)));
}

/// The processor time of this thread for so many calls.
fn worked(times: u64, mut work: impl FnMut()) -> Duration {
    let start = thread_time();
    for _ in 0..times {
        work();
    }
    thread_time() - start
}

fn thread_time() -> Duration {
    clock(ClockId::ThreadCPUTime)
}

fn clock(id: ClockId) -> Duration {
    let time = rustix::time::clock_gettime(id);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn records(criterion: &mut Criterion) {
    let recording = Recording::get(PgVersion::V15, "plain", &[], "");
    let samples = Samples::of(&recording);
    let mut group = criterion.benchmark_group("record");
    group.warm_up_time(Duration::from_millis(100)).measurement_time(Duration::from_millis(400)).sample_size(20);
    let mut table = Table::default();
    let fpi = (RedoRecord { lsn: Lsn(0x1000), bytes: &image() }, PageKey::relation(REL, 7));
    table.add(["XLOG", "FPI", "block 0"], record(&mut group, "XLOG FPI block 0", fpi, None));
    for ([rmgr, name, part], sample) in samples.firsts() {
        let raw = RedoRecord { lsn: sample.lsn(), bytes: &sample.bytes };
        let median = record(&mut group, &format!("{rmgr} {name} {part}"), (raw, sample.key), sample.base.as_deref());
        table.add([&rmgr, &name, &part], median);
    }
    group.finish();
    print!("{}", table.text());
}

/// A record that is an image of a page, and nothing else.
fn image() -> Vec<u8> {
    let mut body = vec![0, 0x10, 0, 0];
    body.extend((PAGE_SIZE as u16).to_le_bytes());
    body.extend([0, 0, 0x02]);
    body.extend([REL.spc, REL.db, REL.rel, 7].map(u32::to_le_bytes).as_flattened());
    body.extend([7; PAGE_SIZE]);
    raw_record(0, 0xB0, &body)
}

/// The time of applying a record to a copy of a page, in nanoseconds, the least of many samples: others on the machine only add to it. `None` if it is not wanted in this run, or not possible: a page may be
/// missing that a recording does not have.
fn record(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    (raw, key): (RedoRecord<'_>, PageKey),
    base: Option<&Page>,
) -> Option<f64> {
    let engine = engine();
    let request = RedoRequest { version: PgVersion::V15, key, has_base: base.is_some(), records: &[raw] };
    let base = base.unwrap_or(&ZERO);
    let mut page = *base;
    engine.redo(&request, &mut page).ok()?;
    let mut samples = Vec::new();
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|times| {
            let elapsed = worked(times, || {
                page.copy_from_slice(black_box(base));
                engine.redo(&request, black_box(&mut page)).expect("it was possible before");
            });
            samples.push(elapsed.as_nanos() as f64 / times as f64);
            elapsed
        });
    });
    samples.into_iter().reduce(f64::min)
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// Nanoseconds by resource manager, operation and part.
#[derive(Default)]
struct Table(BTreeMap<String, BTreeMap<String, Vec<f64>>>);

impl Table {
    /// Pages of visibility maps have a row of their own.
    fn add(&mut self, [rmgr, name, part]: [&str; 3], nanoseconds: Option<f64>) {
        let rmgr = if part == "visibility map" { part } else { rmgr };
        if let Some(nanoseconds) = nanoseconds {
            self.0.entry(rmgr.to_owned()).or_default().entry(name.to_owned()).or_default().push(nanoseconds);
        }
    }

    fn text(&self) -> String {
        let mut text = "| | median | ns for each type of record |\n|---|---|---|\n".to_owned();
        for (rmgr, types) in &self.0 {
            let all: Vec<_> = types.values().flatten().copied().collect();
            let middle = median(all).unwrap_or_default();
            let cells: Vec<_> = types.iter().map(|(name, parts)| format!("{name} {}", cell(parts))).collect();
            let _ = writeln!(text, "| {rmgr} | {middle:.0} | {} |", cells.join(", "));
        }
        text
    }
}

fn cell(parts: &[f64]) -> String {
    let numbers: Vec<_> = parts.iter().map(|part| format!("{part:.0}")).collect();
    if parts.len() <= 4 {
        return numbers.join("/");
    }
    let by = |choose: fn(f64, f64) -> f64| parts.iter().copied().reduce(choose).unwrap_or_default();
    format!("{:.0}–{:.0}", by(f64::min), by(f64::max))
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

/// Pages that one thread makes, and two at once, and what a page costs then.
fn threads(_: &mut Criterion) {
    const LENGTH: u16 = 100;
    let native = engine();
    let chain = Chain::long(7, LENGTH, 1);
    let records = chain.refs();
    let request = request(&chain, &records);
    println!("| threads | pages of {LENGTH} records per second | processor time for one |\n|---|---|---|");
    for count in [1, 2] {
        let (start, before) = (Instant::now(), clock(ClockId::ProcessCPUTime));
        let make = || {
            let (mut page, mut pages) = (ZERO, 0_u64);
            while start.elapsed() < SPAN {
                for _ in 0..100 {
                    native.redo(&request, black_box(&mut page)).expect("redo");
                    pages += 1;
                }
            }
            pages
        };
        let pages: u64 = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..count).map(|_| scope.spawn(make)).collect();
            threads.into_iter().map(|thread| thread.join().expect("it ends")).sum()
        });
        let (span, worked) = (start.elapsed(), clock(ClockId::ProcessCPUTime) - before);
        let each = worked.as_secs_f64() * 1e6 / pages as f64;
        println!("| {count} | {:.0} | {each:.2} µs |", pages as f64 / span.as_secs_f64());
    }
}

/// Processor time for a page, natively and by a batch of requests to the stock server.
fn processor_time(_: &mut Criterion) {
    let (stock, _scratch) = support::pool(1, Duration::from_secs(10));
    let native = engine();
    println!("| records | native | stock server, pipelined | times |\n|---|---|---|---|");
    for length in LENGTHS {
        let chain = Chain::long(7, length, 1);
        let records = chain.refs();
        let request = request(&chain, &records);
        let mut page = ZERO;
        let ours = microseconds(&[], || {
            native.redo(&request, black_box(&mut page)).expect("redo");
            1
        });
        let (requests, mut pages) = (vec![request; BATCH], vec![ZERO; BATCH]);
        let theirs = microseconds(&stock.idle_pids(), || {
            assert!(stock.redo_batch(&requests, black_box(&mut pages)).iter().all(Result::is_ok));
            BATCH
        });
        println!("| {length} | {ours:.2} µs | {theirs:.2} µs | {:.1} |", theirs / ours);
    }
}

/// What this process and some others work for a page, where each call of `work` makes some.
fn microseconds(others: &[u32], mut work: impl FnMut() -> usize) -> f64 {
    let all = || clock(ClockId::ProcessCPUTime) + others.iter().map(|pid| time_of(*pid)).sum::<Duration>();
    let (start, before, mut pages) = (Instant::now(), all(), 0);
    while start.elapsed() < SPAN {
        for _ in 0..10 {
            pages += work();
        }
    }
    (all() - before).as_secs_f64() * 1e6 / pages as f64
}

/// `utime` and `stime` of another process.
fn time_of(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process runs");
    let fields = stat.rsplit(") ").next().expect("fields behind the name").split(' ');
    let ticks: u64 = fields.skip(11).take(2).map(|field| field.parse::<u64>().expect("a number of ticks")).sum();
    // A tick is a hundredth of a second on every Linux in use (`USER_HZ`).
    Duration::from_millis(10 * ticks)
}

criterion_group!(benches, copy, records, chains, threads, processor_time);
criterion_main!(benches);
