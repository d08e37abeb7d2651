//! How the engines are put together: native with PostgreSQL on demand, and both compared.

mod support;

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use pgdata::{Fork, Page, PageKey, PgVersion, page_lsn};
use support::{Chain, REL, ZERO, pool, raw_record, request};
use walredo::{
    NativeRedo, OnDemand, PostgresRedo, Redo, RedoCase, RedoError, RedoRecord, RedoRequest, VerifyRedo, VerifyStats,
};

/// A number of an extension's resource manager.
const CUSTOM: u8 = 130;
const HEAP: u8 = 10;
const HEAP_DELETE: u8 = 0x10;
const HEAP2: u8 = 9;
const HEAP2_VISIBLE: u8 = 0x40;

/// A record that refers to these forks' blocks, counted from 0, with this main data.
fn about(rmid: u8, info: u8, blocks: &[(Fork, u32)], main_data: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    for (id, (fork, block)) in (0..).zip(blocks) {
        body.extend([id, fork.number(), 0, 0]);
        for number in [REL.spc, REL.db, REL.rel, *block] {
            body.extend(number.to_le_bytes());
        }
    }
    body.extend([255, main_data.len() as u8]);
    body.extend(main_data);
    raw_record(rmid, info, &body)
}

/// A deletion of the first tuple.
fn delete(block: u32) -> Vec<u8> {
    about(HEAP, HEAP_DELETE, &[(Fork::Main, block)], &[1, 3, 0, 0, 1, 0, 0, 0])
}

fn made(engine: &impl Redo, chain: &Chain) -> Page {
    let mut page = ZERO;
    engine.redo(&request(chain, &chain.refs()), &mut page).unwrap();
    page
}

#[test]
fn native_starts_no_server_until_a_record_needs_one() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    let engine = NativeRedo::new(
        false,
        OnDemand::new(move || {
            counter.fetch_add(1, Ordering::Relaxed);
            Err("there is no server here".into())
        }),
    );
    let mut chain = Chain::inserts(7, 20, 9);
    assert!(chain.is_made(&made(&engine, &chain), 9));
    assert_eq!(asked.load(Ordering::Relaxed), 0);

    chain.records[5].1 = about(CUSTOM, 0x10, &[(Fork::Main, 7)], &[1]);
    let error = engine.redo(&request(&chain, &chain.refs()), &mut ZERO.clone()).unwrap_err();
    assert!(matches!(error, RedoError::NoPostgres { rmid: CUSTOM, .. }));
    let text = error.to_string();
    assert!(text.contains("custom130") && text.contains("no server here") && text.contains("0/6000"), "{text}");
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

#[test]
fn native_without_an_engine_names_the_resource_manager() {
    let engine = NativeRedo::new(false, None::<PostgresRedo>);
    let mut chain = Chain::inserts(7, 3, 9);
    chain.records[2].1 = about(CUSTOM, 0x10, &[(Fork::Main, 7)], &[1]);
    let error = engine.redo(&request(&chain, &chain.refs()), &mut ZERO.clone()).unwrap_err();
    assert!(error.to_string().contains("resource manager 130"), "{error}");
}

#[test]
fn pages_made_alike_are_counted_and_leave_no_report() {
    let (postgres, scratch) = pool(1, Duration::from_secs(10));
    let reports = scratch.path().join("differences");
    let engine = VerifyRedo::new(false, Arc::new(postgres), reports.clone());
    for block in 0..5 {
        let chain = Chain::inserts(block, 100, 3);
        assert!(chain.is_made(&made(&engine, &chain), 3));
    }
    assert_eq!(engine.stats(), VerifyStats { equal: 5, ..VerifyStats::default() });
    assert!(!reports.exists());
}

#[test]
fn an_lsn_is_masked() {
    let (postgres, scratch) = pool(1, Duration::from_secs(10));
    // It is told that hint bits are logged, which the stock server does not know: the record leaves another LSN.
    let engine = VerifyRedo::new(true, Arc::new(postgres), scratch.path().join("differences"));
    let mut chain = Chain::inserts(7, 4, 9);
    chain.records[3].1 = about(HEAP2, HEAP2_VISIBLE, &[(Fork::Vm, 0), (Fork::Main, 7)], &[0, 0, 0, 0, 1]);
    let page = made(&engine, &chain);
    assert_eq!(engine.stats(), VerifyStats { equal_masked: 1, ..VerifyStats::default() });
    assert_eq!(page_lsn(&page), chain.records[2].0, "the answer is the stock server's");
}

#[test]
fn a_difference_is_counted_and_can_be_reproduced_from_its_report() {
    let (postgres, scratch) = pool(1, Duration::from_secs(10));
    let reports = scratch.path().join("differences");
    let engine = VerifyRedo::new(false, Arc::new(postgres), reports.clone());
    let mut page = made(&engine, &Chain::inserts(7, 2, 9));
    // The first tuple lies below pd_upper now: damage that PostgreSQL does not look for here.
    page[14..16].copy_from_slice(&8190_u16.to_le_bytes());
    let bytes = delete(7);
    let lsn = pgdata::Lsn(0x9000);
    let records = [RedoRecord { lsn, bytes: &bytes }];
    let request =
        RedoRequest { version: PgVersion::V15, key: PageKey::relation(REL, 7), has_base: true, records: &records };
    let base = page;
    engine.redo(&request, &mut page).unwrap();
    assert_eq!(page_lsn(&page), lsn, "the stock server's page is the answer");
    assert_eq!(engine.stats(), VerifyStats { equal: 1, different: 1, ..VerifyStats::default() });

    let file = fs::read_dir(&reports).unwrap().next().unwrap().unwrap().path();
    let case = RedoCase::parse(&fs::read_to_string(file).unwrap()).unwrap();
    assert_eq!((case.base.as_deref(), &*case.postgres), (Some(&base), &page));
    let error = case.native_again().unwrap_err().to_string();
    assert!(error.contains("DELETE") && error.contains("line pointer 1"), "{error}");
    assert_eq!(case.native, Err(error));
}

#[test]
fn the_stock_servers_error_is_the_error() {
    let (postgres, scratch) = pool(1, Duration::from_secs(10));
    let engine = VerifyRedo::new(false, Arc::new(postgres), scratch.path().join("differences"));
    let mut chain = Chain::inserts(7, 2, 9);
    chain.records[1].1 = about(CUSTOM, 0x10, &[(Fork::Main, 7)], &[1]);
    // The stock server does not know it either.
    let error = engine.redo(&request(&chain, &chain.refs()), &mut ZERO.clone()).unwrap_err();
    assert!(matches!(error, RedoError::Child { .. }), "{error}");
    assert_eq!(engine.stats(), VerifyStats::default());
}
