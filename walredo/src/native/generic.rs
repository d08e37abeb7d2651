//! Generic records (`access/transam/generic_xlog.c`), as extensions like bloom write them: pieces of bytes at offsets.

use pgdata::PAGE_SIZE;

use super::fault::Fault;
use super::page::PageView;
use super::scratch::Scratch;
use super::target::{Outcome, Target};

pub(super) fn redo(target: &Target<'_, '_>, page: &mut PageView<'_>, _: &mut Scratch) -> Result<Outcome, Fault> {
    let mut delta = target.data();
    while delta.left() > 0 {
        let offset = usize::from(delta.u16()?);
        let length = usize::from(delta.u16()?);
        let piece = delta.bytes(length)?;
        if offset + length > PAGE_SIZE {
            return Err(Fault::Value { what: "piece's end on the page", value: (offset + length) as u64 });
        }
        page.bytes_mut()[offset..offset + length].copy_from_slice(piece);
    }
    // The delta tells nothing about the hole.
    let bounds = page.bounds()?;
    page.bytes_mut()[bounds.lower..bounds.upper].fill(0);
    Ok(Outcome::Changed)
}
