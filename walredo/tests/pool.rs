//! Many requests at once: batches, threads, pipes that fill up; and nothing left behind.

mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use pgdata::{ControlFile, Fork, Lsn, PAGE_SIZE, PageKey, PgVersion};
use support::{Chain, REL, ZERO, pool, request};
use walredo::{PostgresRedo, PostgresRedoConfig, Redo, RedoRecord, RedoRequest, StartError};

const PLENTY: Duration = Duration::from_secs(60);

#[test]
fn pages_come_out_of_records() {
    let (pool, _scratch) = pool(1, PLENTY);
    for count in [1, 10, 100] {
        let chain = Chain::inserts(count.into(), count, 0x21);
        let mut page = ZERO;
        pool.redo(&request(&chain, &chain.refs()), &mut page).unwrap();
        assert!(chain.is_made(&page, 0x21));
    }
    assert_eq!((pool.stats().pages, pool.stats().records, pool.stats().starts), (3, 111, 1));
}

#[test]
fn a_base_page_goes_on_from_where_it_is() {
    let (pool, _scratch) = pool(1, PLENTY);
    let chain = Chain::inserts(3, 100, 0x22);
    let refs = chain.refs();
    let (mut whole, mut halves) = (ZERO, ZERO);
    pool.redo(&request(&chain, &refs), &mut whole).unwrap();
    pool.redo(&request(&chain, &refs[..50]), &mut halves).unwrap();
    pool.redo(&RedoRequest { has_base: true, ..request(&chain, &refs[50..]) }, &mut halves).unwrap();
    assert!(whole == halves);
    // Records that the page has already change nothing.
    pool.redo(&RedoRequest { has_base: true, ..request(&chain, &refs[1..]) }, &mut halves).unwrap();
    assert!(whole == halves);
}

#[test]
fn a_base_page_without_records_comes_back_as_it_is() {
    let (pool, _scratch) = pool(1, PLENTY);
    let chain = Chain::inserts(3, 1, 0);
    let mut page = std::array::from_fn(|at| at as u8);
    pool.redo(&RedoRequest { has_base: true, ..request(&chain, &[]) }, &mut page).unwrap();
    assert!(page == std::array::from_fn(|at| at as u8));
}

/// A process looks for its next request before it sleeps, but not for long.
#[test]
fn an_idle_process_sleeps() {
    let (pool, _scratch) = pool(1, PLENTY);
    let chain = Chain::inserts(7, 10, 0);
    for _ in 0..100 {
        pool.redo(&request(&chain, &chain.refs()), &mut ZERO.clone()).unwrap();
    }
    let [pid] = pool.idle_pids()[..] else { panic!("one process") };
    let start = Instant::now();
    // Seen so many times in a row, it is no coincidence.
    let mut sleeping = 0;
    while sleeping < 20 {
        sleeping = if state_of(pid) == 'S' { sleeping + 1 } else { 0 };
        assert!(start.elapsed() < PLENTY, "the process does not sleep");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// `R` for running, `S` for sleeping, and so on.
fn state_of(pid: u32) -> char {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process runs");
    stat.rsplit(") ").next().and_then(|rest| rest.chars().next()).expect("a state")
}

#[test]
fn a_visibility_map_page_may_start_from_nothing() {
    let (pool, _scratch) = pool(1, PLENTY);
    // heap2 visible: block 0 is the map, block 1 the heap; xl_heap_visible is a horizon and the bits.
    let mut body = vec![0, Fork::Vm.number(), 0, 0];
    for number in [REL.spc, REL.db, REL.rel, 0] {
        body.extend(number.to_le_bytes());
    }
    body.extend([1, Fork::Main.number() | 0x80, 0, 0]);
    body.extend(5u32.to_le_bytes());
    body.extend([255, 5, 0, 0, 0, 0, 3]);
    let bytes = support::raw_record(9, 0x40, &body);
    let records = [RedoRecord { lsn: Lsn(0x5000), bytes: &bytes }];
    let key = PageKey::relation(REL.with_fork(Fork::Vm), 0);
    let mut page = [0xEE; PAGE_SIZE];
    pool.redo(&RedoRequest { version: PgVersion::V15, key, has_base: false, records: &records }, &mut page).unwrap();
    assert_eq!(pgdata::page_lsn(&page), Lsn(0x5000));
    assert_eq!(page[24..28], [0, 0b1100, 0, 0], "block 5 is all visible and frozen");
}

#[test]
fn a_batch_larger_than_every_pipe_buffer_flows() {
    let (pool, _scratch) = pool(1, PLENTY);
    let chains: Vec<_> = (0..1500u32).map(|block| Chain::inserts(block, 2, block as u8)).collect();
    let refs: Vec<_> = chains.iter().map(Chain::refs).collect();
    let mut pages = vec![ZERO; chains.len()];
    let first: Vec<_> = chains.iter().zip(&refs).map(|(chain, refs)| request(chain, &refs[..1])).collect();
    assert!(pool.redo_batch(&first, &mut pages).iter().all(Result::is_ok));
    let second: Vec<_> = chains
        .iter()
        .zip(&refs)
        .map(|(chain, refs)| RedoRequest { has_base: true, ..request(chain, &refs[1..]) })
        .collect();
    assert!(pool.redo_batch(&second, &mut pages).iter().all(Result::is_ok));
    for (chain, page) in chains.iter().zip(&pages) {
        assert!(chain.is_made(page, chain.block as u8), "block {}", chain.block);
    }
    assert_eq!(pool.stats().starts, 1);
}

#[test]
fn one_request_larger_than_every_pipe_buffer_flows() {
    let (pool, _scratch) = pool(1, PLENTY);
    let chain = Chain::inserts(3, 150, 9);
    let refs = chain.refs();
    // The same records again and again: the page has them already.
    let many: Vec<_> = refs.iter().copied().chain((0..300).flat_map(|_| refs[1..].iter().copied())).collect();
    let mut page = ZERO;
    pool.redo(&request(&chain, &many), &mut page).unwrap();
    assert!(chain.is_made(&page, 9));
}

#[test]
fn threads_share_the_processes() {
    let (pool, _scratch) = pool(2, PLENTY);
    std::thread::scope(|scope| {
        for seed in 0..6u8 {
            let pool = &pool;
            scope.spawn(move || {
                for round in 0..50 {
                    let chain = Chain::inserts(u32::from(seed) * 100 + round, 20, seed);
                    let mut page = ZERO;
                    pool.redo(&request(&chain, &chain.refs()), &mut page).unwrap();
                    assert!(chain.is_made(&page, seed));
                }
            });
        }
    });
    assert_eq!(pool.stats().pages, 300);
    assert!(pool.stats().starts <= 2);
}

#[test]
fn nothing_is_left_behind() {
    let (pool, scratch) = pool(1, PLENTY);
    let pid = pool.idle_pids()[0];
    let entries = std::fs::read_dir(scratch.path()).unwrap().count();
    assert_eq!(entries, 0, "the start's files are gone");
    let files: Vec<_> = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().collect();
    assert_eq!(files.len(), 5, "three standard streams, the answers and /dev/zero");
    drop(pool);
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
    let segments = std::fs::read_to_string("/proc/sysvipc/shm").unwrap();
    let creator = |line: &str| line.split_whitespace().nth(4).map(str::to_owned);
    assert!(!segments.lines().any(|line| creator(line) == Some(pid.to_string())), "{segments}");
}

#[test]
fn the_process_is_locked_in() {
    let (pool, _scratch) = pool(1, PLENTY);
    let status = std::fs::read_to_string(format!("/proc/{}/status", pool.idle_pids()[0])).unwrap();
    assert!(status.contains("\nSeccomp:\t2\n"), "{status}");
    assert!(status.contains("\nNoNewPrivs:\t1\n"), "{status}");
}

#[test]
fn what_is_missing_is_said_at_the_start() {
    let scratch = support::scratch();
    let good = support::config(PgVersion::V15, &scratch);
    let start = |config| PostgresRedo::start(config).unwrap_err();

    let nowhere = PostgresRedoConfig { bin_dir: Some("/nonexistent".into()), ..good.clone() };
    let error = start(nowhere);
    assert!(error.to_string().contains("apt install postgresql-15"), "{error}");

    let error = start(PostgresRedoConfig { control_file: vec![0; 10], ..good.clone() });
    assert!(matches!(error, StartError::ControlFile(_)), "{error}");

    let error = start(PostgresRedoConfig { max_children: 0, ..good.clone() });
    assert!(matches!(error, StartError::NoChildren), "{error}");

    let error = start(PostgresRedoConfig { scratch_parent: "/nonexistent".into(), ..good });
    assert!(matches!(error, StartError::Io { .. }), "{error}");
}

#[test]
fn a_server_that_is_not_one_is_refused_with_its_words() {
    use std::os::unix::fs::PermissionsExt as _;
    let scratch = support::scratch();
    let program = scratch.path().join("postgres");
    std::fs::write(&program, "#!/bin/sh\necho no such luck >&2\nexit 3\n").unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let config =
        PostgresRedoConfig { bin_dir: Some(scratch.path().to_owned()), ..support::config(PgVersion::V15, &scratch) };
    let StartError::DidNotStart { failure, .. } = PostgresRedo::start(config).unwrap_err() else { panic!() };
    assert!(failure.stderr().contains("no such luck"), "{failure}");
    assert_eq!(failure.status().and_then(|status| status.code()), Some(3));
}

#[test]
fn a_server_that_gives_wrong_pages_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let scratch = support::scratch();
    let program = scratch.path().join("postgres");
    // Takes a ping and a request, and answers both with zeros.
    let script =
        "#!/bin/sh\nfor size in 5 100; do head -c $size >/dev/null; head -c 8192 /dev/zero; done\ncat >/dev/null\n";
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let config =
        PostgresRedoConfig { bin_dir: Some(scratch.path().to_owned()), ..support::config(PgVersion::V15, &scratch) };
    let error = PostgresRedo::start(config).unwrap_err();
    assert!(matches!(error, StartError::SelfTest { .. }), "{error}");
}

#[test]
fn a_control_file_of_another_version_asks_for_that_version() {
    let scratch = support::scratch();
    let config = PostgresRedoConfig {
        control_file: ControlFile::initial(PgVersion::V16, 1).to_bytes(),
        bin_dir: Some("/nonexistent".into()),
        ..support::config(PgVersion::V15, &scratch)
    };
    let error = PostgresRedo::start(config).unwrap_err().to_string();
    assert!(error.contains("16"), "{error}");
}
