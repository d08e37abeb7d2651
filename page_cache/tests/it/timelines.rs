//! The WAL log goes on with another timeline of PostgreSQL, also over crashes in between.

use page_cache::{Options, PageCache, WalLogError};
use pgdata::Lsn;

use crate::disk::{Disk, Fault};
use crate::wal::{DIR, fresh, open};

const MIB: usize = 1 << 20;
/// Where the log begins.
const START: Lsn = Lsn(3 << 20);

fn bytes_of(len: usize, salt: u8) -> Vec<u8> {
    (0..len).map(|i| (i / 251) as u8 ^ i as u8 ^ salt).collect()
}

fn history(ends: &[(u32, Lsn)]) -> Vec<u8> {
    ends.iter()
        .map(|(timeline, end)| format!("{timeline}\t{end}\tno recovery target specified\n"))
        .collect::<String>()
        .into_bytes()
}

fn read_all(cache: &PageCache) -> Vec<u8> {
    let mut reader = cache.wal().read_from(START).unwrap();
    let mut bytes = Vec::new();
    while let Some((_, chunk)) = reader.next_chunk().unwrap() {
        bytes.extend_from_slice(chunk);
    }
    bytes
}

fn file(disk: &Disk, name: &str) -> Vec<u8> {
    disk.read(format!("{DIR}/wal/{name}").as_ref())
}

fn error_of(disk: &Disk) -> String {
    PageCache::open_on(disk.storage(), DIR.as_ref(), Options::default()).err().expect("an error").to_string()
}

/// A log that ends at some length.
fn log_of(len: usize) -> (Disk, PageCache, Vec<u8>) {
    let (disk, cache, _) = fresh(0);
    let bytes = bytes_of(len, 0);
    cache.wal().append(START, &bytes).unwrap();
    (disk, cache, bytes)
}

#[test]
fn the_segment_of_the_switch_is_there_under_both_numbers() {
    let (disk, cache, mut bytes) = log_of(MIB + 5000);
    let switch = cache.wal().end();
    cache.wal().begin_timeline(2, &history(&[(1, switch)])).unwrap();
    let more = bytes_of(2 * MIB, 0x55);
    cache.wal().append(switch, &more).unwrap();
    cache.wal().sync().unwrap();
    bytes.extend(more);

    let old = file(&disk, "000000010000000000000004");
    assert!(old[..5000] == bytes[MIB..MIB + 5000] && old[5000..].iter().all(|&byte| byte == 0));
    assert_eq!(old.len(), MIB);
    assert!(file(&disk, "000000010000000000000003") == bytes[..MIB]);
    assert!(file(&disk, "000000020000000000000004") == bytes[MIB..2 * MIB]);
    assert!(file(&disk, "000000020000000000000006") == bytes[3 * MIB..]);
    assert!(file(&disk, "00000002.history").starts_with(&history(&[(1, switch)])));
    for cache in [&cache, &open(&disk, 0), &open(&disk.after_crash(3), 0)] {
        assert!(read_all(cache) == bytes);
        let timelines = cache.wal().timelines();
        assert_eq!((timelines.last(), timelines.begin()), (2, switch));
        assert_eq!(cache.wal().history_file(2).unwrap(), Some(history(&[(1, switch)])));
        assert_eq!(cache.wal().history_file(1).unwrap(), None);
    }
}

#[test]
fn timelines_begin_wherever_records_end() {
    for (first, second) in [(48, 56), (48, 48), (MIB, MIB + 8), (MIB - 8, MIB), (MIB, MIB), (MIB + 8, 2 * MIB + 16)] {
        let (disk, cache, mut bytes) = log_of(first);
        let (first, second) = (Lsn(START.0 + first as u64), Lsn(START.0 + second as u64));
        cache.wal().begin_timeline(2, &history(&[(1, first)])).unwrap();
        let more = bytes_of(second.bytes_since(first) as usize, 1);
        cache.wal().append(first, &more).unwrap();
        cache.wal().begin_timeline(5, &history(&[(1, first), (2, second)])).unwrap();
        let last = bytes_of(2 * MIB, 2);
        cache.wal().append(second, &last).unwrap();
        cache.wal().sync().unwrap();
        bytes.extend(more);
        bytes.extend(last);
        assert!(read_all(&cache) == bytes, "{first} {second}");
        let again = open(&disk, 0);
        assert!(read_all(&again) == bytes, "{first} {second}");
        assert_eq!(again.wal().timelines().ancestors(), [(1, first), (2, second)]);
        again.wal().append(again.wal().end(), &[7; MIB]).unwrap();
        assert!(read_all(&again)[..bytes.len()] == bytes);
    }
}

#[test]
fn only_a_child_that_begins_at_the_end_is_taken() {
    let (_disk, cache, _) = log_of(5000);
    let end = cache.wal().end();
    for (timeline, ends) in [
        (2, vec![(1, Lsn(end.0 - 8))]),
        (2, vec![(1, Lsn(end.0 + 8))]),
        (3, vec![(2, end)]),
        (3, vec![(1, START), (2, end)]),
        (1, vec![]),
    ] {
        let refused = cache.wal().begin_timeline(timeline, &history(&ends)).unwrap_err();
        assert!(matches!(refused, WalLogError::NotNext { .. }), "{refused}");
    }
    assert!(matches!(cache.wal().begin_timeline(2, b"nonsense"), Err(WalLogError::History(_))));
    cache.wal().begin_timeline(2, &history(&[(1, end)])).unwrap();
    let other = history(&[(1, Lsn(end.0 - 8)), (2, end)]);
    assert!(matches!(cache.wal().begin_timeline(3, &other), Err(WalLogError::NotNext { .. })));
}

#[test]
fn a_crash_leaves_the_old_timeline_or_the_new_one() {
    let switch = Lsn(START.0 + MIB as u64 + 5000);
    let mut ended = [0, 0];
    for step in 1.. {
        let (disk, cache, bytes) = log_of(MIB + 5000);
        cache.wal().sync().unwrap();
        disk.fault_at(disk.steps() + step, Fault::Crash);
        if cache.wal().begin_timeline(2, &history(&[(1, switch)])).is_ok() {
            break;
        }
        for seed in 0..6 {
            let disk = disk.after_crash(seed);
            let cache = open(&disk, 0);
            assert!(read_all(&cache) == bytes, "step {step} seed {seed}");
            let switched = cache.wal().timelines().last() == 2;
            ended[usize::from(switched)] += 1;
            if !switched {
                cache.wal().begin_timeline(2, &history(&[(1, switch)])).unwrap();
            }
            cache.wal().append(switch, &[1; 10]).unwrap();
            cache.wal().sync().unwrap();
            let (old, new) = (file(&disk, "000000010000000000000004"), file(&disk, "000000020000000000000004"));
            assert_eq!((old.len(), new.len()), (MIB, 5010), "step {step} seed {seed}");
        }
    }
    assert!(ended[0] > 0 && ended[1] > 0, "{ended:?}");
}

#[test]
fn a_full_disk_leaves_the_old_timeline_and_can_be_tried_again() {
    let (disk, cache, bytes) = log_of(500_000);
    let switch = cache.wal().end();
    disk.set_capacity(Some(disk.used() + 1000));
    let error = cache.wal().begin_timeline(2, &history(&[(1, switch)])).unwrap_err();
    assert!(matches!(&error, WalLogError::Storage(e) if e.is_full()), "{error}");
    assert_eq!(cache.wal().timelines().last(), 1);
    disk.set_capacity(None);
    cache.wal().begin_timeline(2, &history(&[(1, switch)])).unwrap();
    assert!(read_all(&open(&disk.after_crash(1), 0)) == bytes);
}

#[test]
fn a_damaged_history_is_noticed() {
    let (disk, cache, _) = log_of(5000);
    cache.wal().begin_timeline(2, &history(&[(1, cache.wal().end())])).unwrap();
    drop(cache);
    let path = format!("{DIR}/wal/00000002.history");
    let whole = disk.read(path.as_ref());
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        disk.overwrite(path.as_ref(), changed);
        let error = error_of(&disk);
        assert!(error.contains("00000002.history"), "byte {at}: {error}");
    }
    disk.overwrite(path.as_ref(), whole);
    open(&disk, 0);
}

#[test]
fn files_of_other_timelines_are_strange() {
    for name in ["000000020000000000000003", "000000030000000000000004", "000000010000000000000005"] {
        let (disk, cache, _) = log_of(MIB + 5000);
        cache.wal().begin_timeline(2, &history(&[(1, cache.wal().end())])).unwrap();
        drop(cache);
        let path = format!("{DIR}/wal/{name}");
        disk.storage().create(path.as_ref()).unwrap();
        assert!(error_of(&disk).contains(name));
    }
}
