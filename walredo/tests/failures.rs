//! A redo process that dies, hangs or is fed garbage: the request is tried again or reported, and the pool goes on.

mod support;

use std::time::Duration;

use pgdata::{Lsn, Page, PageKey, PgVersion, SlruKind};
use rustix::process::{Pid, Signal, kill_process};
use support::{Chain, ZERO, pool, request};
use walredo::{PostgresRedo, Redo, RedoError, RedoRecord, RedoRequest};

const PLENTY: Duration = Duration::from_secs(60);

fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    kill_process(pid, signal).expect("the process is ours and alive");
}

/// The only process of an idle pool of one.
fn only_pid(pool: &PostgresRedo) -> u32 {
    let pids = pool.idle_pids();
    assert_eq!(pids.len(), 1, "the pool is idle and has one process");
    pids[0]
}

fn make(pool: &PostgresRedo, chain: &Chain) -> Result<Page, RedoError> {
    let mut page = ZERO;
    pool.redo(&request(chain, &chain.refs()), &mut page).map(|()| page)
}

fn still_works(pool: &PostgresRedo) {
    let chain = Chain::inserts(9, 3, 0x5A);
    assert!(chain.is_made(&make(pool, &chain).expect("the pool works"), 0x5A));
}

#[test]
fn a_process_killed_while_idle_is_replaced_without_an_error() {
    let (pool, _scratch) = pool(1, PLENTY);
    let pid = only_pid(&pool);
    signal(pid, Signal::KILL);
    still_works(&pool);
    assert_ne!(only_pid(&pool), pid);
    assert_eq!((pool.stats().failures, pool.stats().starts, pool.stats().errors), (1, 2, 0));
}

#[test]
fn a_process_killed_in_the_middle_of_a_request_is_replaced_without_an_error() {
    let (pool, _scratch) = pool(1, PLENTY);
    let pid = only_pid(&pool);
    // Stopped, it cannot answer before it is killed.
    signal(pid, Signal::STOP);
    std::thread::scope(|scope| {
        let request = scope.spawn(|| still_works(&pool));
        while !pool.idle_pids().is_empty() {
            std::thread::yield_now();
        }
        signal(pid, Signal::KILL);
        request.join().expect("the request succeeds");
    });
    assert_eq!((pool.stats().failures, pool.stats().errors), (1, 0));
}

#[test]
fn a_process_that_hangs_is_killed_after_the_timeout_and_replaced() {
    let (pool, _scratch) = pool(1, Duration::from_millis(300));
    let pid = only_pid(&pool);
    signal(pid, Signal::STOP);
    still_works(&pool);
    assert_ne!(only_pid(&pool), pid);
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists(), "the hung process is gone and reaped");
}

#[test]
fn garbage_is_reported_with_page_lsns_and_what_the_server_said() {
    let (pool, _scratch) = pool(1, PLENTY);
    let mut chain = Chain::inserts(7, 3, 1);
    chain.records[1].1[24] = 77; // an impossible block id
    let error = make(&pool, &chain).unwrap_err();
    let RedoError::Child { key, records, from, to, failure } = &error else { panic!("{error}") };
    assert_eq!((*key, *records, *from, *to), (chain.key(), 3, Lsn(0x1000), Lsn(0x3000)));
    assert!(failure.stderr().contains("invalid block_id 77"), "{failure}");
    assert_eq!(pool.stats().failures, 2, "it was tried twice");
    still_works(&pool);
}

#[test]
fn random_damage_gives_an_error_or_a_page_and_never_a_hang() {
    let (pool, _scratch) = pool(1, PLENTY);
    let chain = Chain::inserts(7, 4, 1);
    for position in 0..40 {
        let mut damaged = chain.clone();
        let record = &mut damaged.records[2].1;
        let at = 4 + position % (record.len() - 4);
        record[at] ^= 0xFF;
        let _ = make(&pool, &damaged);
    }
    still_works(&pool);
}

#[test]
fn a_record_for_another_page_is_refused() {
    let (pool, _scratch) = pool(1, PLENTY);
    let mut chain = Chain::inserts(7, 3, 1);
    chain.records[2].1 = support::heap_insert(8, 3, 1);
    let error = make(&pool, &chain).unwrap_err().to_string();
    assert!(error.contains("does not bear on the page"), "{error}");
}

#[test]
fn a_page_that_is_not_there_is_an_error_and_not_a_zero_page() {
    let (pool, _scratch) = pool(1, PLENTY);
    let mut chain = Chain::inserts(7, 3, 1);
    chain.records.remove(0);
    let error = make(&pool, &chain).unwrap_err().to_string();
    assert!(error.contains("invalid pages"), "{error}");
}

#[test]
fn a_bad_request_in_a_batch_fails_alone() {
    let (pool, _scratch) = pool(1, PLENTY);
    let good = Chain::inserts(1, 5, 2);
    let mut bad = Chain::inserts(2, 5, 3);
    bad.records[3].1.truncate(20);
    let (good_refs, bad_refs) = (good.refs(), bad.refs());
    let slru = RedoRequest { key: PageKey::slru(SlruKind::Clog, 1), ..request(&good, &good_refs) };
    let requests = [
        request(&good, &good_refs),
        request(&bad, &bad_refs),
        request(&good, &good_refs),
        slru,
        request(&good, &good_refs),
    ];
    let mut pages = [ZERO; 5];
    let results = pool.redo_batch(&requests, &mut pages);
    assert!(matches!(results[1], Err(RedoError::Child { .. })), "{:?}", results[1]);
    assert!(matches!(results[3], Err(RedoError::NotARelation { .. })), "{:?}", results[3]);
    for index in [0, 2, 4] {
        assert!(results[index].is_ok() && good.is_made(&pages[index], 2), "page {index}: {:?}", results[index]);
    }
}

#[test]
fn what_cannot_be_asked_is_refused_before_a_process_sees_it() {
    let (pool, _scratch) = pool(1, PLENTY);
    let chain = Chain::inserts(1, 1, 2);
    let refs = chain.refs();
    let huge = vec![0; 17 * 1024 * 1024];
    let huge_refs = [RedoRecord { lsn: Lsn(8), bytes: &huge }];
    let good = request(&chain, &refs);
    let mut page = ZERO;
    let mut refused = |request: RedoRequest<'_>| pool.redo(&request, &mut page).unwrap_err();
    assert!(matches!(refused(RedoRequest { version: PgVersion::V16, ..good }), RedoError::WrongVersion { .. }));
    assert!(matches!(refused(RedoRequest { records: &[], ..good }), RedoError::Nothing { .. }));
    assert!(matches!(refused(RedoRequest { records: &huge_refs, ..good }), RedoError::RecordTooLong { .. }));
    assert_eq!(pool.stats().failures, 0);
}

#[test]
fn a_pool_whose_processes_are_all_in_use_says_so_after_a_while() {
    let scratch = support::scratch();
    let config = walredo::PostgresRedoConfig {
        max_children: 1,
        queue_timeout: Duration::from_millis(100),
        ..support::config(PgVersion::V15, &scratch)
    };
    let pool = PostgresRedo::start(config).unwrap();
    let pid = only_pid(&pool);
    signal(pid, Signal::STOP);
    std::thread::scope(|scope| {
        let first = scope.spawn(|| still_works(&pool));
        while !pool.idle_pids().is_empty() {
            std::thread::yield_now();
        }
        let error = make(&pool, &Chain::inserts(1, 1, 2)).unwrap_err();
        assert!(matches!(error, RedoError::Busy { processes: 1, .. }), "{error}");
        signal(pid, Signal::CONT);
        first.join().expect("the first request is served in the end");
    });
}
