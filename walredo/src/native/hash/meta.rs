//! The metapage (`HashMetaPageData`).

use super::opaque::{META, Opaque, SPECIAL, init_alone};
use crate::native::cursor::Cursor;
use crate::native::fault::Fault;
use crate::native::page::{HEADER, PageView};
use crate::native::target::Target;

// Where the fields are on the page.
const MAGIC: usize = HEADER;
const VERSION: usize = HEADER + 4;
const TUPLES: usize = HEADER + 8;
const FILL_FACTOR: usize = HEADER + 16;
const PAGE_ROOM: usize = HEADER + 18;
const BITMAP_SIZE: usize = HEADER + 20;
const BITMAP_SHIFT: usize = HEADER + 22;
const MAX_BUCKET: usize = HEADER + 24;
const HIGH_MASK: usize = HEADER + 28;
const LOW_MASK: usize = HEADER + 32;
const SPLIT_POINT: usize = HEADER + 36;
const FIRST_FREE: usize = HEADER + 40;
const BITMAPS: usize = HEADER + 44;
const HASH_FUNCTION: usize = HEADER + 48;
const SPARES: usize = HEADER + 52;
const BITMAP_BLOCKS: usize = SPARES + 4 * MAX_SPLIT_POINTS as usize;
/// With padding up to a multiple of eight.
const END: usize = (BITMAP_BLOCKS + 4 * MAX_BITMAPS as usize).next_multiple_of(8);

/// `HASH_MAX_SPLITPOINTS`.
const MAX_SPLIT_POINTS: u32 = 98;
/// `HASH_MAX_BITMAPS`.
const MAX_BITMAPS: u32 = 1024;
/// `HASH_SPLITPOINT_GROUPS_WITH_ONE_PHASE`: the buckets double in one step up to there, in four from there on.
const ONE_PHASE_GROUPS: u32 = 10;
/// `HASH_SPLITPOINT_PHASE_BITS`.
const PHASE_BITS: u32 = 2;
/// `HASH_SPLITPOINT_PHASE_MASK`.
const PHASE_MASK: u32 = (1 << PHASE_BITS) - 1;
/// The most buckets that an index begins with.
const MOST_BUCKETS: u32 = 0x4000_0000;

/// `_hash_init_metabuffer`. `xl_hash_init_meta_page` is the expected number of tuples, the hash function, and how many tuples a bucket should have.
pub(super) fn init(target: &Target<'_, '_>, page: &mut PageView<'_>) -> Result<(), Fault> {
    let mut main = target.main();
    let tuples = f64::from_le_bytes(main.array()?);
    let (function, fill_factor) = (main.u32()?, main.u16()?);
    main.end()?;
    if !tuples.is_finite() || fill_factor == 0 {
        return Err(Fault::Value { what: "fill factor, or number of tuples to expect,", value: fill_factor.into() });
    }
    let buckets = initial_buckets(tuples / f64::from(fill_factor));
    let split_point = split_point(buckets);
    let high_mask = (buckets + 1).next_power_of_two() - 1;
    // The largest power of two that fits between header and special space.
    let bitmap_bits = ((SPECIAL - HEADER) as u32).ilog2();

    init_alone(page, META)?;
    put(page, MAGIC, 0x0644_0640);
    put(page, VERSION, 4);
    put_u16(page, FILL_FACTOR, fill_factor);
    put_u16(page, PAGE_ROOM, (SPECIAL - HEADER) as u16);
    put_u16(page, BITMAP_SIZE, 1 << bitmap_bits);
    put_u16(page, BITMAP_SHIFT, bitmap_bits as u16 + 3);
    put(page, HASH_FUNCTION, function);
    put(page, MAX_BUCKET, buckets - 1);
    put(page, HIGH_MASK, high_mask);
    put(page, LOW_MASK, high_mask >> 1);
    put(page, spare(split_point)?, 1);
    put(page, SPLIT_POINT, split_point);
    page.set_lower(END);
    Ok(())
}

/// How many buckets an index begins with, for that many at least.
fn initial_buckets(wanted: f64) -> u32 {
    if wanted <= 2.0 {
        2
    } else if wanted >= f64::from(MOST_BUCKETS) {
        MOST_BUCKETS
    } else {
        total_buckets(split_point(wanted as u32))
    }
}

/// `_hash_spareindex`: the step of growth in which the index gets that many buckets.
fn split_point(buckets: u32) -> u32 {
    let group = if buckets < 2 { 0 } else { (buckets - 1).ilog2() + 1 };
    if group < ONE_PHASE_GROUPS {
        return group;
    }
    let phase = (buckets - 1) >> (group - (PHASE_BITS + 1)) & PHASE_MASK;
    ONE_PHASE_GROUPS + ((group - ONE_PHASE_GROUPS) << PHASE_BITS) + phase
}

/// `_hash_get_totalbuckets`: the buckets that there are after that step.
fn total_buckets(split_point: u32) -> u32 {
    if split_point < ONE_PHASE_GROUPS {
        return 1 << split_point;
    }
    let past = split_point - ONE_PHASE_GROUPS;
    let before = 1 << (ONE_PHASE_GROUPS + (past >> PHASE_BITS) - 1);
    before + (before >> PHASE_BITS) * ((past & PHASE_MASK) + 1)
}

/// `hash_xlog_init_bitmap_page`: the first bitmap comes behind the buckets.
pub(super) fn add_first_bitmap(page: &mut PageView<'_>) -> Result<(), Fault> {
    check(page)?;
    let block = get(page, MAX_BUCKET).wrapping_add(2);
    add_bitmap(page, block)
}

/// Adds a bitmap's block.
pub(super) fn add_bitmap(page: &mut PageView<'_>, block: u32) -> Result<(), Fault> {
    let count = get(page, BITMAPS);
    if count >= MAX_BITMAPS {
        return Err(Fault::PageValue { what: "number of bitmaps", value: count.into() });
    }
    put(page, BITMAP_BLOCKS + 4 * count as usize, block);
    put(page, BITMAPS, count + 1);
    Ok(())
}

/// Notes more overflow pages at the present split point.
pub(super) fn add_spares(page: &mut PageView<'_>, count: u32) -> Result<(), Fault> {
    let at = spare(get(page, SPLIT_POINT)).map_err(|_| split_point_fault(page))?;
    let spares = get(page, at);
    put(page, at, spares.wrapping_add(count));
    Ok(())
}

fn split_point_fault(page: &PageView<'_>) -> Fault {
    Fault::PageValue { what: "split point", value: get(page, SPLIT_POINT).into() }
}

/// The first overflow page that may be free, which is the block's data.
pub(super) fn set_first_free(page: &mut PageView<'_>, mut data: Cursor<'_>) -> Result<(), Fault> {
    let first_free = data.u32()?;
    data.end()?;
    check(page)?;
    put(page, FIRST_FREE, first_free);
    Ok(())
}

/// Adds to the number of tuples.
pub(super) fn count_tuples(page: &mut PageView<'_>, more: f64) -> Result<(), Fault> {
    check(page)?;
    let count = page.bytes_mut()[TUPLES..].first_chunk_mut::<8>().expect("it is inside the page");
    *count = (f64::from_le_bytes(*count) + more).to_le_bytes();
    Ok(())
}

/// `hash_xlog_update_meta_page`: `xl_hash_update_meta_page` is the number of tuples.
pub(super) fn set_tuples(page: &mut PageView<'_>, mut main: Cursor<'_>) -> Result<(), Fault> {
    let tuples: [u8; 8] = main.array()?;
    main.end()?;
    check(page)?;
    page.bytes_mut()[TUPLES..TUPLES + 8].copy_from_slice(&tuples);
    Ok(())
}

pub(super) fn set_max_bucket(page: &mut PageView<'_>, bucket: u32) {
    put(page, MAX_BUCKET, bucket);
}

pub(super) fn set_masks(page: &mut PageView<'_>, low: u32, high: u32) {
    put(page, LOW_MASK, low);
    put(page, HIGH_MASK, high);
}

/// Another step of growth, and the overflow pages before it.
pub(super) fn set_split_point(page: &mut PageView<'_>, split_point: u32, spares: u32) -> Result<(), Fault> {
    put(page, spare(split_point)?, spares);
    put(page, SPLIT_POINT, split_point);
    Ok(())
}

/// It must be a metapage.
pub(super) fn check(page: &PageView<'_>) -> Result<(), Fault> {
    Opaque::of(page, META).map(|_| ())
}

/// Where the number of overflow pages before a split point is.
fn spare(split_point: u32) -> Result<usize, Fault> {
    match split_point < MAX_SPLIT_POINTS {
        true => Ok(SPARES + 4 * split_point as usize),
        false => Err(Fault::Value { what: "split point", value: split_point.into() }),
    }
}

fn get(page: &PageView<'_>, at: usize) -> u32 {
    u32::from_le_bytes(*page.bytes()[at..].first_chunk().expect("fields are inside the page"))
}

fn put(page: &mut PageView<'_>, at: usize, value: u32) {
    page.bytes_mut()[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

fn put_u16(page: &mut PageView<'_>, at: usize, value: u16) {
    page.bytes_mut()[at..at + 2].copy_from_slice(&value.to_le_bytes());
}
