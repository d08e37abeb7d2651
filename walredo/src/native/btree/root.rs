//! The root and the meta page.

use super::opaque::{LEAF, META, Opaque, ROOT};
use super::tuple::tuple;
use crate::native::fault::Fault;
use crate::native::page::{HEADER, ItemId, LINE_POINTER, PageView, max_align};
use crate::native::target::Target;

const MAGIC: u32 = 0x05_3162;
/// `sizeof(BTMetaPageData)`.
const META_SIZE: usize = 48;
/// `btm_last_cleanup_num_heap_tuples`, in use no more.
const CLEANUP_TUPLES: f64 = -1.0;

/// `_bt_restore_meta`: the block's data are `xl_btree_metadata`.
pub(super) fn restore_meta(target: &Target<'_, '_>, page: &mut PageView<'_>) -> Result<(), Fault> {
    let mut data = target.data();
    let mut words = [MAGIC, 0, 0, 0, 0, 0, 0];
    for word in &mut words[1..] {
        *word = data.u32()?;
    }
    let all_equal_image = data.u8()?;

    Opaque { flags: META, ..Opaque::default() }.init(page)?;
    let meta = &mut page.bytes_mut()[HEADER..HEADER + META_SIZE];
    for (field, word) in meta.as_chunks_mut::<4>().0.iter_mut().zip(words) {
        *field = word.to_le_bytes();
    }
    meta[32..40].copy_from_slice(&CLEANUP_TUPLES.to_le_bytes());
    meta[40] = all_equal_image;
    page.set_lower(HEADER + META_SIZE);
    Ok(())
}

/// `btree_xlog_newroot`: `xl_btree_newroot` is the root's block and level.
pub(super) fn new_root(target: &Target<'_, '_>, page: &mut PageView<'_>) -> Result<(), Fault> {
    let mut main = target.main();
    main.skip(4)?;
    let level = main.u32()?;
    let flags = if level == 0 { ROOT | LEAF } else { ROOT };
    Opaque { level, flags, ..Opaque::default() }.init(page)?;
    if level > 0 {
        restore_items(page, target.data().rest())?;
    }
    Ok(())
}

/// `_bt_restore_page`: `items` is the upper part of a page, where the last item comes first, as they were added.
pub(super) fn restore_items(page: &mut PageView<'_>, items: &[u8]) -> Result<(), Fault> {
    let mut count = 0;
    for size in sizes(items) {
        size?;
        count += 1;
    }
    let bounds = page.bounds()?;
    let lower = bounds.lower + LINE_POINTER * count;
    if lower + items.len() > bounds.upper {
        return Err(Fault::NoRoom { needed: items.len(), lower, upper: bounds.upper });
    }
    let mut at = bounds.upper - items.len();
    page.bytes_mut()[at..bounds.upper].copy_from_slice(items);
    page.set_lower(lower);
    page.set_upper(at);
    for (number, size) in (1..=count as u16).rev().zip(sizes(items)) {
        let size = size?;
        page.set_item_id(number, ItemId::normal(at, size))?;
        at += size;
    }
    Ok(())
}

/// The rounded sizes of tuples that lie one after the other.
fn sizes(tuples: &[u8]) -> impl Iterator<Item = Result<usize, Fault>> {
    let mut rest = tuples;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let size = tuple(rest).map(|tuple| max_align(tuple.len()));
        let behind = size.clone().ok().and_then(|size| rest.get(size..));
        match (size, behind) {
            (Ok(size), Some(behind)) => {
                rest = behind;
                Some(Ok(size))
            }
            (Ok(size), None) => {
                let left = std::mem::take(&mut rest).len();
                Some(Err(Fault::Short { what: "an index tuple", needed: size, left }))
            }
            (Err(fault), _) => {
                rest = &[];
                Some(Err(fault))
            }
        }
    })
}
