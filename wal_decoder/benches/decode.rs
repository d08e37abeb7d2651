//! How fast WAL becomes records, next to two bounds on the same bytes.
//!
//! Method: 16 MiB of WAL are made once with [`WalWriter`], in three mixes: `small` has main data of 20 to 200 bytes as ordinary
//! transactions write them, `images` has 8 kB each as after a checkpoint, `long` has 1 MB each. They are fed in pieces of 128 KiB, as
//! a replication connection delivers them, and polled after each. The bounds, over the same bytes in the same run:
//! `memcpy` copies each piece into one buffer; `crc` computes CRC-32C piece by piece with the crate that the decoder uses. `parse`
//! is the decoder with `Record::parse` on top.
//!
//! ```text
//! cargo bench -p wal_decoder --bench decode
//! ```
//!
//! Reference, 2026-11-23, two shared cores of an AMD EPYC under heavy other load (so read the columns against each other, not as
//! absolute speeds), optimisation level 3 with debug assertions on; medians in MiB/s:
//!
//! | mix | memcpy | crc | decode | parse |
//! |---|---|---|---|---|
//! | small | 2139 | 1286 | 146 | 101 |
//! | images | 1429 | 1563 | 631 | 669 |
//! | long | 1848 | 1014 | 618 | 638 |
//!
//! With small records the cost is per record and not per byte.
use std::hint::black_box;

use criterion::{Criterion, Throughput};
use pgdata::wal::SegmentSize;
use pgdata::{Lsn, PgVersion};
use wal_decoder::{NewRecord, Record, WalIdentity, WalStream, WalWriter, rmgr};

const VERSION: PgVersion = PgVersion::V15;
const SIZE: SegmentSize = SegmentSize::DEFAULT;
const START: Lsn = Lsn(16 << 20);
const TOTAL: usize = 16 << 20;
const PIECE: usize = 128 << 10;

/// WAL with records whose main data has these lengths, in turn.
fn wal(lengths: &[usize]) -> Vec<u8> {
    let identity = WalIdentity { version: VERSION, timeline: 1, system_id: 42, segment_size: SIZE };
    let mut writer = WalWriter::new(identity, START, Lsn(START.0 - 32)).expect("a writer");
    let data: Vec<u8> = (0..2_000_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for (index, &len) in lengths.iter().cycle().enumerate() {
        if writer.bytes().len() + len + 100_000 > TOTAL {
            break;
        }
        let main_data = &data[index % 1000..index % 1000 + len];
        writer.append(&NewRecord { xid: 731, info: 0, rmid: rmgr::RM_LOGICALMSG_ID, main_data }).expect("a record");
    }
    writer.bytes().to_vec()
}

/// Decodes all, handing each record to `each`; tells how many there were.
fn decode(wal: &[u8], mut each: impl FnMut(Lsn, &[u8])) -> usize {
    let mut stream = WalStream::new(START, SIZE.bytes(), VERSION).expect("a stream");
    let mut count = 0;
    for piece in wal.chunks(PIECE) {
        let mut whole = stream.feed(piece);
        while let Some(raw) = whole.next_record().expect("valid WAL") {
            each(raw.lsn, raw.bytes);
            count += 1;
        }
    }
    count
}

fn benches(c: &mut Criterion) {
    let mixes: [(&str, &[usize]); 3] = [("small", &[20, 60, 35, 200, 90]), ("images", &[8000]), ("long", &[1_000_000])];
    for (name, lengths) in mixes {
        let wal = wal(lengths);
        let mut group = c.benchmark_group(name);
        group.sample_size(20).throughput(Throughput::Bytes(wal.len() as u64));
        let mut buffer = vec![0; PIECE];
        group.bench_function("memcpy", |b| {
            b.iter(|| {
                for piece in black_box(&wal).chunks(PIECE) {
                    buffer[..piece.len()].copy_from_slice(piece);
                    black_box(&buffer);
                }
            });
        });
        group.bench_function("crc", |b| {
            b.iter(|| black_box(&wal).chunks(PIECE).fold(0, |crc, piece| crc ^ crc32c::crc32c(piece)));
        });
        group.bench_function("decode", |b| {
            b.iter(|| {
                decode(black_box(&wal), |lsn, bytes| {
                    black_box((lsn, bytes));
                })
            });
        });
        group.bench_function("parse", |b| {
            b.iter(|| {
                decode(black_box(&wal), |lsn, bytes| {
                    black_box(Record::parse(VERSION, lsn, bytes).expect("a record"));
                })
            });
        });
        group.finish();
    }
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    benches(&mut criterion);
    criterion.final_summary();
}
