//! Where versions differ, and records that nobody should write.

use pgdata::{Lsn, PAGE_SIZE, Page, PageKey, PgVersion, page_lsn};
use wal_decoder::rmgr::RM_HASH_ID;

use super::opaque::*;
use super::*;
use crate::native::NativeRedo;
use crate::native::page::Place;
use crate::native::testing::*;

/// The page at hand.
const BLOCK: u32 = 3;
const ON_CHAIN: Opaque = Opaque { previous: 2, next: 9, bucket: 5, flags: OVERFLOW | HAS_DEAD_TUPLES };

/// A page with tuples of 16 bytes.
fn page(opaque: Opaque, tuples: u8) -> Page {
    let mut page = [0; PAGE_SIZE];
    let mut view = PageView::new(&mut page);
    init(&mut view, opaque).unwrap();
    for mark in 0..tuples {
        view.add_item(&tuple(mark), Place::Insert(view.item_count() + 1)).unwrap();
    }
    page
}

fn tuple(mark: u8) -> [u8; 16] {
    let mut tuple = [mark; 16];
    tuple[6..8].copy_from_slice(&16_u16.to_le_bytes());
    tuple
}

fn marks(page: &mut Page) -> Vec<u8> {
    let view = PageView::new(page);
    (1..=view.item_count()).map(|number| view.item(number).unwrap()[0]).collect()
}

fn redo_on(version: PgVersion, base: &Page, record: Raw) -> Result<Box<Page>, String> {
    let engine = NativeRedo::new(false, None::<Recorder>);
    let key = PageKey::relation(REL, BLOCK);
    apply_with(&engine, version, key, Some(base), &[record]).map_err(|error| error.to_string())
}

fn record(operation: u8, id: u8, main: &[u8], data: &[u8]) -> Raw {
    Raw::new(RM_HASH_ID, operation, main.to_vec()).block_data(id, BLOCK, false, data)
}

#[test]
fn a_vacuumed_page_has_a_longer_count_in_15() {
    let old = [&words(&[700, 2])[..], &[2, 0, 3, 0]].concat();
    let new = [&words(&[700])[..], &[2, 0, 1, 0], &[2, 0, 3, 0]].concat();
    for version in PgVersion::ALL {
        let (right, wrong) = if version == PgVersion::V15 { (&old, &new) } else { (&new, &old[..10].to_vec()) };
        let mut made = *redo_on(version, &page(ON_CHAIN, 4), record(VACUUM_ONE_PAGE, 0, right, &[])).unwrap();
        assert_eq!(marks(&mut made), [0, 3]);
        assert_eq!(Opaque::of(&PageView::new(&mut made), OVERFLOW).unwrap().flags, OVERFLOW);
        let error = redo_on(version, &page(ON_CHAIN, 4), record(VACUUM_ONE_PAGE, 0, wrong, &[])).unwrap_err();
        assert!(error.contains("number of tuples is"), "{error}");
    }
}

#[test]
fn a_page_that_a_squeeze_only_locks_keeps_its_lsn_since_17() {
    let squeeze = |tuples: u8, into_previous: u8| [&words(&[7, 11])[..], &[tuples, 0, 1, into_previous]].concat();
    let two = [&[2, 0, 5, 0][..], &tuple(0x41), &tuple(0x42)].concat();
    for version in PgVersion::ALL {
        let base = page(ON_CHAIN, 3);
        let idle = redo_on(version, &base, record(SQUEEZE_PAGE, 1, &squeeze(0, 0), &[])).unwrap();
        let lsn = if version >= PgVersion::V17 { Lsn(0) } else { Lsn(0x100) };
        assert_eq!((page_lsn(&idle), &idle[8..]), (lsn, &base[8..]));

        let mut linked = *redo_on(version, &base, record(SQUEEZE_PAGE, 1, &squeeze(0, 1), &[])).unwrap();
        assert_eq!(page_lsn(&linked), Lsn(0x100));
        assert_eq!(Opaque::of(&PageView::new(&mut linked), OVERFLOW).unwrap(), Opaque { next: 11, ..ON_CHAIN });

        let mut filled = *redo_on(version, &base, record(SQUEEZE_PAGE, 1, &squeeze(2, 0), &two)).unwrap();
        assert_eq!(marks(&mut filled), [0, 0x41, 1, 2, 0x42]);
        assert_eq!(page_lsn(&filled), Lsn(0x100));
    }
}

#[test]
fn a_locked_bucket_stays_as_it_is() {
    let base = page(ON_CHAIN, 3);
    for operation in [MOVE_PAGE_CONTENTS, SQUEEZE_PAGE, DELETE] {
        assert_eq!(*redo_on(PgVersion::V15, &base, record(operation, 0, &[], &[])).unwrap(), base);
    }
}

#[test]
fn tuples_that_do_not_add_up_are_refused() {
    let base = page(ON_CHAIN, 3);
    let moved = |count: u8, data: &[u8]| {
        redo_on(PgVersion::V16, &base, record(MOVE_PAGE_CONTENTS, 1, &[count, 0, 0], data)).unwrap_err()
    };
    assert!(moved(1, &[4, 0]).contains("ends inside its block data"));
    assert!(moved(0, &[4, 0]).contains("has 2 bytes behind its block data"));
    assert!(moved(1, &[&[9, 0][..], &tuple(1)].concat()).contains("line pointer 9 is wanted"));
    let error = redo_on(PgVersion::V16, &base, record(MOVE_PAGE_CONTENTS, 2, &[1, 0, 0], &[3, 0, 2, 0, 1, 0]));
    assert!(error.unwrap_err().contains("not in order"));
}

#[test]
fn numbers_outside_of_metapage_and_bitmap_are_refused() {
    let bitmap = page(Opaque { flags: BITMAP, ..ON_CHAIN }, 0);
    let error = redo_on(PgVersion::V17, &bitmap, record(ADD_OVFL_PAGE, 2, &[0, 16, 0], &words(&[8152 * 8])));
    assert!(error.unwrap_err().contains("bit of a bitmap is 65216"));

    let meta = page(Opaque { flags: META, ..ON_CHAIN }, 0);
    let main = [&words(&[4])[..], &[0; 4], &[2]].concat();
    let error = redo_on(PgVersion::V17, &meta, record(SPLIT_ALLOCATE_PAGE, 2, &main, &words(&[98, 1])));
    assert!(error.unwrap_err().contains("split point is 98"));

    let mut meta = meta;
    meta[24 + 44..24 + 48].copy_from_slice(&1024_u32.to_le_bytes());
    let error = redo_on(PgVersion::V17, &meta, record(INIT_BITMAP_PAGE, 1, &[0, 16], &[]));
    assert!(error.unwrap_err().contains("number of bitmaps is 1024"));

    for (tuples, fill_factor) in [(1.0, 0_u16), (f64::NAN, 75), (f64::INFINITY, 75)] {
        let main = [&tuples.to_le_bytes()[..], &[0; 4], &fill_factor.to_le_bytes()].concat();
        let record = Raw::new(RM_HASH_ID, INIT_META_PAGE, main).block_data(0, BLOCK, true, &[]);
        assert!(redo_on(PgVersion::V17, &meta, record).unwrap_err().contains("fill factor"));
    }
}

#[test]
fn pages_of_another_kind_are_refused() {
    let bitmap = page(Opaque { flags: BITMAP, ..ON_CHAIN }, 0);
    let error = redo_on(PgVersion::V18, &bitmap, record(SPLIT_CLEANUP, 0, &[], &[])).unwrap_err();
    assert!(error.contains("word of flags is 4"), "{error}");
    let mut other = bitmap;
    other[PAGE_SIZE - 2..].fill(0);
    let error = redo_on(PgVersion::V18, &other, record(SPLIT_CLEANUP, 0, &[], &[])).unwrap_err();
    assert!(error.contains("mark of a hash index is 0"), "{error}");
}

#[test]
fn operations_and_blocks_that_do_not_exist_are_refused() {
    let base = page(ON_CHAIN, 1);
    for operation in [0xD0, 0xE0, 0xF0] {
        let error = redo_on(PgVersion::V18, &base, record(operation, 0, &[], &[])).unwrap_err();
        assert!(error.contains(&format!("no operation {operation:#04X}")), "{error}");
    }
    for (operation, id) in [(INIT_META_PAGE, 1), (SPLIT_PAGE, 1), (SQUEEZE_PAGE, 7), (VACUUM_ONE_PAGE, 2)] {
        let error = redo_on(PgVersion::V18, &base, record(operation, id, &[], &[])).unwrap_err();
        assert!(error.contains(&format!("does nothing with its block {id}")), "{error}");
    }
    let error = redo_on(PgVersion::V18, &base, record(SPLIT_PAGE, 0, &[], &[])).unwrap_err();
    assert!(error.contains("has no image to restore"), "{error}");
}
