//! What it costs to write and to understand the messages of a page stream, without sockets.
//!
//! Run: `cargo bench -p page_service`.
//! Method: criterion's mean, one thread, all in memory; a round is one page request understood and written, or one page answer of
//! 8192 bytes written (the page's copy included) or understood (nothing is copied).
#![allow(missing_docs, reason = "the macros of criterion make public functions without documentation")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use page_service::messages::{BackendMessage, FrontendMessage, write_page};
use page_service::{Header, Operation, ReadLsn, Request, Response, Version};
use pgdata::{Lsn, PAGE_SIZE, RelTag};

fn benches(criterion: &mut Criterion) {
    let rel = RelTag { spc: 1663, db: 5, rel: 16384, ..RelTag::default() };
    let header = Header { reqid: 7, at: ReadLsn::at(Lsn(0x16B_3748)) };
    let request = Request { header, operation: Operation::Page { rel, block: 3 } };
    let page = [7; PAGE_SIZE];
    for version in Version::ALL {
        let mut group = criterion.benchmark_group(version.command());
        let mut out = Vec::with_capacity(1 << 14);
        group.bench_function("request: write, frame, parse", |bench| {
            bench.iter(|| {
                out.clear();
                black_box(&request).write(&mut out, version);
                let message = FrontendMessage::parse(black_box(&out));
                let Ok(Some((FrontendMessage::CopyData(body), _))) = message else { panic!("{message:?}") };
                Request::parse(version, body)
            });
        });
        group.bench_function("page answer: write", |bench| {
            bench.iter(|| {
                out.clear();
                write_page(&mut out, version, &header, (rel, 3), |slot| {
                    slot.copy_from_slice(black_box(&page));
                    Ok::<_, ()>(())
                })
            });
        });
        group.bench_function("page answer: frame, parse", |bench| {
            bench.iter(|| {
                let message = BackendMessage::parse(black_box(&out));
                let Ok(Some((BackendMessage::CopyData(body), _))) = message else { panic!("{message:?}") };
                black_box(Response::parse(version, body)).is_ok()
            });
        });
        group.finish();
    }
}

criterion_group!(all, benches);
criterion_main!(all);
