//! The WAL log: bytes as they came, what is promised, what is cut off.

use page_cache::{PageCache, WalLogError};
use pgdata::Lsn;

use crate::disk::Fault;
use crate::wal::{append_rest, fresh, info, open};

fn read_all(cache: &PageCache, from: Lsn) -> Vec<u8> {
    let mut reader = cache.wal().read_from(from).unwrap();
    let (mut at, mut bytes) = (from, Vec::new());
    while let Some((lsn, chunk)) = reader.next_chunk().unwrap() {
        assert_eq!(lsn, at);
        assert!(chunk.len() <= 256 << 10);
        bytes.extend_from_slice(chunk);
        at = Lsn(at.0 + chunk.len() as u64);
    }
    bytes
}

fn bytes_of(len: usize, salt: u8) -> Vec<u8> {
    (0..len).map(|i| (i / 251) as u8 ^ i as u8 ^ salt).collect()
}

#[test]
fn segment_files_hold_the_bytes_as_they_came() {
    let (disk, cache, _) = fresh(0);
    let bytes = bytes_of((2 << 20) + 12345, 0);
    for piece in bytes.chunks(77_777) {
        cache.wal().append(cache.wal().end(), piece).unwrap();
    }
    assert_eq!(cache.wal().sync().unwrap(), Lsn((5 << 20) + 12345));
    let names = ["000000010000000000000003", "000000010000000000000004", "000000010000000000000005"];
    let files = names.map(|name| disk.read(format!("/data/timeline/wal/{name}").as_ref()));
    assert_eq!(files.map(|file| file.len()), [1 << 20, 1 << 20, 12345]);
    assert!(read_all(&cache, Lsn(3 << 20)) == bytes);
    assert!(read_all(&cache, Lsn((4 << 20) - 5)) == bytes[(1 << 20) - 5..]);
    let again = open(&disk, 0);
    assert_eq!((again.wal().end(), again.wal().durable_since()), (Lsn((5 << 20) + 12345), Lsn(5 << 20)));
    assert!(read_all(&again, Lsn(3 << 20)) == bytes);
}

#[test]
fn only_what_continues_the_log_is_taken() {
    let (_disk, cache, _) = fresh(0);
    let end = cache.wal().end();
    assert_eq!(end, Lsn(3 << 20));
    assert!(matches!(cache.wal().append(Lsn(end.0 + 1), b"x"), Err(WalLogError::NotAtEnd { .. })));
    assert!(matches!(cache.wal().read_from(Lsn(end.0 + 1)), Err(WalLogError::OutOfRange { .. })));
    assert!(matches!(cache.wal().read_from(Lsn(end.0 - 1)), Err(WalLogError::OutOfRange { .. })));
}

#[test]
fn what_is_cut_off_is_written_anew() {
    for cut in [0, 1, 5000, 1 << 20, (1 << 20) + 1, (2 << 20) - 1, 2 << 20, (2 << 20) + 99] {
        let (disk, cache, _) = fresh(0);
        let mut bytes = bytes_of((2 << 20) + 100, 0);
        cache.wal().append(cache.wal().end(), &bytes).unwrap();
        let lsn = Lsn((3 << 20) + cut as u64);
        cache.wal().truncate_to(lsn).unwrap();
        assert_eq!(cache.wal().end(), lsn);
        assert!(read_all(&open(&disk, 0), Lsn(3 << 20)) == bytes[..cut], "{cut}");
        bytes.truncate(cut);
        bytes.extend(bytes_of((1 << 20) + 7, 0x55));
        cache.wal().append(lsn, &bytes[cut..]).unwrap();
        cache.wal().sync().unwrap();
        assert!(read_all(&cache, Lsn(3 << 20)) == bytes, "{cut}");
        assert!(read_all(&open(&disk.after_crash(1), 0), Lsn(3 << 20)) == bytes, "{cut}");
    }
}

#[test]
fn records_in_use_are_not_cut_off() {
    let (_disk, cache, mut wal) = fresh(0);
    let record = wal.record(100);
    wal.record(100);
    append_rest(&cache, &wal);
    cache.ingest(record.start, record.lsn, record.bytes.len(), &[]).unwrap();
    assert!(matches!(cache.wal().truncate_to(Lsn(record.lsn.0 - 8)), Err(WalLogError::CannotTruncate { .. })));
    assert!(matches!(cache.wal().truncate_to(Lsn(wal.end().0 + 8)), Err(WalLogError::CannotTruncate { .. })));
    cache.wal().truncate_to(record.lsn).unwrap();
}

#[test]
fn after_a_failed_sync_nothing_is_acknowledged() {
    let (disk, cache, _) = fresh(0);
    cache.wal().append(cache.wal().end(), &[1; 100]).unwrap();
    let flushed = cache.wal().sync().unwrap();
    cache.wal().append(cache.wal().end(), &[2; 100]).unwrap();
    disk.fault_at(disk.steps() + 1, Fault::Fail);
    assert!(matches!(cache.wal().sync(), Err(WalLogError::Poisoned(_))));
    assert!(matches!(cache.wal().sync(), Err(WalLogError::Poisoned(_))));
    assert!(matches!(cache.wal().append(cache.wal().end(), &[3]), Err(WalLogError::Poisoned(_))));
    assert_eq!(cache.wal().flushed(), flushed);
    assert!(cache.status().wal_poison.unwrap().contains("cannot sync"));
}

/// Who reads the file now sees what was never written: the process that comes next must not believe it.
#[test]
fn what_a_failed_sync_lost_is_not_taken_for_durable_by_the_next_process() {
    let (disk, cache, _) = fresh(0);
    let bytes = bytes_of(300_000, 7);
    cache.wal().append(cache.wal().end(), &bytes).unwrap();
    disk.fault_at(disk.steps() + 1, Fault::Fail);
    assert!(cache.wal().sync().is_err());
    drop(cache);
    let again = open(&disk, 0);
    let safe = again.wal().flushed().bytes_since(again.wal().start()) as usize;
    assert!(read_all(&again, again.wal().start())[..safe] == bytes[..safe]);
    let after = open(&disk.after_crash(1), 0);
    assert!(read_all(&after, after.wal().start())[..safe] == bytes[..safe], "{safe} bytes were told to be durable");
}

#[test]
fn a_full_disk_loses_nothing_and_can_be_tried_again() {
    let (disk, cache, _) = fresh(0);
    disk.set_short_writes(10_000);
    let bytes = bytes_of((1 << 20) + 300_000, 3);
    disk.set_capacity(Some(disk.used() + (1 << 20) + 1000));
    let error = cache.wal().append(cache.wal().end(), &bytes).unwrap_err();
    assert!(matches!(&error, WalLogError::Storage(e) if e.is_full()), "{error}");
    let taken = cache.wal().end().bytes_since(Lsn(3 << 20)) as usize;
    assert_eq!(taken, 1 << 20);
    assert!(cache.wal().flushed() <= cache.wal().end());
    disk.set_capacity(None);
    cache.wal().append(cache.wal().end(), &bytes[taken..]).unwrap();
    cache.wal().sync().unwrap();
    assert!(read_all(&open(&disk.after_crash(5), 0), Lsn(3 << 20)) == bytes);
}

#[test]
fn a_missing_segment_is_noticed() {
    let (disk, cache, _) = fresh(0);
    cache.wal().append(cache.wal().end(), &vec![1; 3 << 20]).unwrap();
    cache.wal().sync().unwrap();
    drop(cache);
    let path = "/data/timeline/wal/000000010000000000000004";
    disk.overwrite(path.as_ref(), vec![0; 1000]);
    let refused = PageCache::open_on(disk.storage(), crate::wal::DIR.as_ref(), page_cache::Options::default());
    let error = refused.err().unwrap().to_string();
    assert!(error.contains(path) && error.contains("1000"), "{error}");
}

#[test]
fn records_that_cross_segments_are_read_back() {
    let (_disk, cache, mut wal) = fresh(0);
    let records: Vec<_> = (0..40).map(|i| wal.record(i * 3000)).collect();
    assert!(wal.end() > Lsn(5 << 20));
    append_rest(&cache, &wal);
    let key = pgdata::PageKey { object: crate::wal::clog(0), block: 0 };
    let change = pgdata::Change::Page { key, effect: pgdata::PageEffect::Modify };
    for record in &records {
        cache.ingest(record.start, record.lsn, record.bytes.len(), std::slice::from_ref(&change)).unwrap();
        cache.advance(record.lsn).unwrap();
    }
    let found = cache.lookup(key, wal.end(), &mut [0; 8192]).unwrap();
    assert_eq!(found.records.len(), records.len());
    for (found, record) in found.records.iter().zip(&records) {
        assert!(found[..] == record.bytes[..] && found.lsn() == record.lsn);
    }
    assert_eq!(info().segment_size.segment_of(wal.end()), 5);
    assert_eq!(cache.status().window_bytes, 0);
}

fn names(disk: &crate::disk::Disk) -> Vec<String> {
    let mut names = disk.storage().list("/data/timeline/wal".as_ref()).unwrap();
    names.sort();
    names
}

#[test]
fn a_segment_gets_its_name_when_the_one_before_it_is_durable() {
    let (disk, cache, _) = fresh(0);
    let bytes = bytes_of((2 << 20) + 100, 1);
    let (third, fourth) = ("000000010000000000000003".to_owned(), "000000010000000000000004".to_owned());
    cache.wal().append(cache.wal().end(), &bytes[..(1 << 20) + 100]).unwrap();
    assert_eq!(names(&disk), [third.clone(), fourth.clone() + ".tmp"]);
    // What is there can be read, whatever the file is called.
    assert!(read_all(&cache, Lsn(3 << 20)) == bytes[..(1 << 20) + 100]);
    assert_eq!(cache.wal().sync_to(Lsn(4 << 20)).unwrap(), Lsn(4 << 20));
    // Who starts now finds what is durable, and nothing of the rest.
    let after = disk.after_crash(3);
    assert!(open(&after, 0).wal().end() >= Lsn(4 << 20) && !names(&after).contains(&(fourth.clone() + ".tmp")));
    // Another one ahead: now the first must be durable, and has its name.
    cache.wal().append(cache.wal().end(), &bytes[(1 << 20) + 100..]).unwrap();
    assert_eq!(names(&disk), [third.clone(), fourth.clone(), "000000010000000000000005.tmp".to_owned()]);
    assert_eq!(cache.wal().sync().unwrap(), cache.wal().end());
    assert_eq!(names(&disk), [third, fourth, "000000010000000000000005".to_owned()]);
    assert!(read_all(&open(&disk.after_crash(4), 0), Lsn(3 << 20)) == bytes);
}

#[test]
fn without_the_name_of_a_segment_nothing_in_it_is_acknowledged() {
    let (disk, cache, _) = fresh(0);
    let bytes = bytes_of((1 << 20) + 100, 1);
    cache.wal().append(cache.wal().end(), &bytes).unwrap();
    // The file, the directory, the name.
    disk.fault_at(disk.steps() + 3, Fault::Fail);
    assert!(matches!(cache.wal().sync(), Err(WalLogError::Poisoned(_))));
    assert_eq!(cache.wal().flushed(), Lsn(4 << 20));
    assert!(read_all(&open(&disk, 0), Lsn(3 << 20)) == bytes[..1 << 20]);
}
