//! An SP-GiST page's special space (`SpGistPageOpaqueData`).

use crate::native::fault::Fault;
use crate::native::page::PageView;

// Flags of a page.
const LEAF: u16 = 1 << 2;
const NULLS: u16 = 1 << 3;
/// `SPGIST_PAGE_ID`.
const PAGE_ID: u16 = 0xFF82;
/// Bytes of the special space.
const SIZE: usize = 8;

// Where the counts are.
const REDIRECTIONS: usize = 2;
const PLACEHOLDERS: usize = 4;

/// `SpGistInitBuffer`.
pub(super) fn init(page: &mut PageView<'_>, is_leaf: bool, nulls: bool) -> Result<(), Fault> {
    page.init(SIZE);
    let flags = if is_leaf { LEAF } else { 0 } | if nulls { NULLS } else { 0 };
    let special: &mut [u8; SIZE] = page.special_mut()?;
    special[..2].copy_from_slice(&flags.to_le_bytes());
    special[SIZE - 2..].copy_from_slice(&PAGE_ID.to_le_bytes());
    Ok(())
}

/// How many tuples on the page are redirections; the number changes by so many.
pub(super) fn count_redirections(page: &mut PageView<'_>, more: i32) -> Result<(), Fault> {
    count(page, REDIRECTIONS, more, "number of redirections")
}

/// How many tuples on the page are placeholders; the number changes by so many.
pub(super) fn count_placeholders(page: &mut PageView<'_>, more: i32) -> Result<(), Fault> {
    count(page, PLACEHOLDERS, more, "number of placeholders")
}

fn count(page: &mut PageView<'_>, at: usize, more: i32, what: &'static str) -> Result<(), Fault> {
    let special: &mut [u8; SIZE] = page.special_mut()?;
    let old = u16::from_le_bytes([special[at], special[at + 1]]);
    let new = u16::try_from(i32::from(old) + more).map_err(|_| Fault::PageValue { what, value: u64::from(old) })?;
    special[at..at + 2].copy_from_slice(&new.to_le_bytes());
    Ok(())
}
