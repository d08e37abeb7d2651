//! What the write path takes, refuses, and shows to readers.

use std::time::Duration;

use page_cache::{AdvanceError, Base, Batch, IngestError, IngestFault, LookupError, ReadError, WaitError};
use pgdata::{Change, DbTag, Fork, Lsn, PAGE_SIZE, PageEffect, PageKey};

use crate::disk::Disk;
use crate::wal::{Wal, append_rest, attach, clog, fresh, info, open, rel};

fn change(block: u32, effect: PageEffect) -> Change {
    Change::Page { key: PageKey { object: rel(1663, 1, 100, Fork::Main), block }, effect }
}

#[test]
fn a_version_is_seen_only_after_advance() {
    let (_disk, cache, mut wal) = fresh(1 << 20);
    let record = wal.record(10);
    append_rest(&cache, &wal);
    cache.ingest(record.start, record.lsn, record.bytes.len(), &[change(9, PageEffect::Replace)]).unwrap();
    let table = rel(1663, 1, 100, Fork::Main);
    assert_eq!(cache.size(table, info().start_lsn).unwrap(), Some(4));
    let early = cache.lookup(PageKey { object: table, block: 9 }, record.lsn, &mut [0; PAGE_SIZE]);
    assert!(matches!(early, Err(LookupError::Lsn(ReadError::NotYet { .. }))));
    assert!(matches!(cache.wait_for(record.lsn, Duration::ZERO), Err(WaitError::Timeout { .. })));
    assert_eq!(cache.advance(record.lsn).unwrap(), info().start_lsn);
    cache.wait_for(record.lsn, Duration::ZERO).unwrap();
    assert_eq!(cache.size(table, record.lsn).unwrap(), Some(10));
    assert_eq!(cache.advance(info().start_lsn).unwrap(), record.lsn);
    assert_eq!(cache.last_record_lsn(), record.lsn);
}

#[test]
fn a_change_of_a_missing_page_poisons_the_timeline_but_not_its_past() {
    let (_disk, cache, mut wal) = fresh(1 << 20);
    let records = [wal.record(10), wal.record(10), wal.record(10)];
    append_rest(&cache, &wal);
    let mut batch = Batch::new();
    for (record, block) in records.iter().zip([0, 4, 1]) {
        batch.push(record.start, record.lsn, record.bytes.len(), [change(block, PageEffect::Modify)]);
    }
    let error = cache.ingest_batch(&mut batch).unwrap_err();
    let IngestError::Poisoned(poison) = &error else { panic!("{error}") };
    assert_eq!(poison.good, records[0].lsn);
    assert!(matches!(poison.fault, IngestFault::MissingPage { lsn, size: Some(4), .. } if lsn == records[1].lsn));
    assert!(matches!(cache.advance(records[1].lsn), Err(AdvanceError::Poisoned(_))));
    cache.advance(records[0].lsn).unwrap();
    let key = PageKey { object: rel(1663, 1, 100, Fork::Main), block: 0 };
    assert_eq!(cache.lookup(key, records[0].lsn, &mut [0; PAGE_SIZE]).unwrap().records.len(), 1);
    assert!(cache.status().poison.unwrap().contains("1663/1/100 block 4"));
    let again = cache.ingest(records[2].start, records[2].lsn, records[2].bytes.len(), &[]);
    assert!(matches!(again, Err(IngestError::Poisoned(_))));
}

#[test]
fn records_come_in_order_and_lie_in_the_log() {
    let (_disk, cache, mut wal) = fresh(1 << 20);
    let (first, second) = (wal.record(10), wal.record(10));
    let change = [change(0, PageEffect::Modify)];
    let early = cache.ingest(first.start, first.lsn, first.bytes.len(), &change);
    assert!(matches!(early, Err(IngestError::NotInLog { .. })));
    append_rest(&cache, &wal);
    cache.ingest(second.start, second.lsn, second.bytes.len(), &change).unwrap();
    for record in [&first, &second] {
        let late = cache.ingest(record.start, record.lsn, record.bytes.len(), &change);
        assert!(matches!(late, Err(IngestError::OutOfOrder { .. })));
    }
    assert!(matches!(cache.advance(Lsn(second.lsn.0 + 1)), Err(AdvanceError::Unaligned(_))));
    assert_eq!(cache.status().versions, 1);
    assert!(cache.poison().is_none());
}

#[test]
fn nothing_is_told_of_the_time_before_the_database_is_consistent() {
    let mut wal = Wal::new();
    let (first, second) = (wal.record(10), wal.record(10));
    let disk = Disk::default();
    attach(&disk, second.lsn).unwrap();
    let cache = open(&disk, 0);
    append_rest(&cache, &wal);
    // Recovery passes over a change of a page that is not there, and makes the file.
    let missing = PageKey { object: rel(1663, 1, 555, Fork::Main), block: 3 };
    let change = Change::Page { key: missing, effect: PageEffect::Modify };
    cache.ingest(first.start, first.lsn, first.bytes.len(), &[change]).unwrap();
    cache.ingest(second.start, second.lsn, second.bytes.len(), &[]).unwrap();
    cache.advance(second.lsn).unwrap();
    assert!(matches!(cache.size(missing.object, first.lsn), Err(ReadError::BeforeConsistent { .. })));
    assert_eq!(cache.size(missing.object, second.lsn).unwrap(), Some(0));
}

#[test]
fn numbers_that_no_page_has_are_refused() {
    for key in [
        PageKey { object: clog(0), block: 32 },
        PageKey { object: rel(1663, 1, 100, Fork::Main), block: u32::MAX },
        PageKey { object: rel(1663, 1, 100, Fork::Main), block: u32::MAX - 1 },
    ] {
        let (_disk, cache, mut wal) = fresh(0);
        let record = wal.record(10);
        append_rest(&cache, &wal);
        let change = Change::Page { key, effect: PageEffect::Replace };
        let error = cache.ingest(record.start, record.lsn, record.bytes.len(), &[change]).unwrap_err();
        assert!(
            matches!(&error, IngestError::Poisoned(p) if matches!(p.fault, IngestFault::BlockNumber { .. })),
            "{error}"
        );
    }
}

#[test]
fn a_copy_that_depends_on_the_order_within_its_record_is_refused() {
    let (from, to) = (DbTag { spc: 1663, db: 1 }, DbTag { spc: 1663, db: 2 });
    let copy = Change::CopyDatabase { from, to };
    for other in [
        Change::DropDatabase(from),
        Change::DropDatabase(to),
        Change::CopyDatabase { from, to: DbTag { spc: 1663, db: 3 } },
        change(0, PageEffect::Modify),
        Change::CopyDatabase { from: to, to: from },
    ] {
        let (_disk, cache, mut wal) = fresh(0);
        let record = wal.record(10);
        append_rest(&cache, &wal);
        let error = cache.ingest(record.start, record.lsn, record.bytes.len(), &[copy.clone(), other]).unwrap_err();
        assert!(
            matches!(&error, IngestError::Poisoned(p) if matches!(p.fault, IngestFault::AmbiguousCopy { .. })),
            "{error}"
        );
    }
}

#[test]
fn a_record_that_cuts_a_page_off_and_makes_it_again_is_its_only_version() {
    let (_disk, cache, mut wal) = fresh(1 << 20);
    let record = wal.record(10);
    append_rest(&cache, &wal);
    let object = rel(1663, 1, 100, Fork::Main);
    let extend = change(3, PageEffect::ModifyOrExtend);
    let changes = [extend.clone(), Change::Truncate { object, blocks: 1 }, extend];
    cache.ingest(record.start, record.lsn, record.bytes.len(), &changes).unwrap();
    cache.advance(record.lsn).unwrap();
    let found = cache.lookup(PageKey { object, block: 3 }, record.lsn, &mut [0; PAGE_SIZE]).unwrap();
    assert_eq!((found.base, found.records.len()), (Base::Zero, 1));
}

#[test]
fn shutdown_ends_waiting() {
    let (_disk, cache, _) = fresh(0);
    cache.shutdown();
    let waited = cache.wait_for(Lsn(u64::MAX), Duration::from_secs(3600));
    assert!(matches!(waited, Err(WaitError::Shutdown { .. })));
}
