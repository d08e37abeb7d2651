//! A page and the parts of its header that storage itself looks at (`storage/bufpage.h`).

use crate::Lsn;

/// Bytes in a page (`BLCKSZ`; other values are refused when a cluster is attached).
pub const PAGE_SIZE: usize = 8192;

/// The bytes of one page.
pub type Page = [u8; PAGE_SIZE];

/// Offset of `pd_upper` in `PageHeaderData`.
const PD_UPPER: usize = 14;

/// `pd_lsn`: the end of the last record that changed the page. Two 32-bit halves, the high one first, each little-endian.
#[must_use]
#[inline]
pub fn page_lsn(page: &Page) -> Lsn {
    let half = |at: usize| u64::from(u32::from_le_bytes([page[at], page[at + 1], page[at + 2], page[at + 3]]));
    Lsn(half(0) << 32 | half(4))
}

/// Sets `pd_lsn`.
#[inline]
pub fn set_page_lsn(page: &mut Page, lsn: Lsn) {
    page[0..4].copy_from_slice(&((lsn.0 >> 32) as u32).to_le_bytes());
    page[4..8].copy_from_slice(&(lsn.0 as u32).to_le_bytes());
}

/// PostgreSQL's `PageIsNew`: the page was never initialised (`pd_upper` is zero).
#[must_use]
#[inline]
pub fn page_is_new(page: &Page) -> bool {
    page[PD_UPPER] == 0 && page[PD_UPPER + 1] == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lsn_round_trips_through_the_header() {
        let mut page = [0; PAGE_SIZE];
        set_page_lsn(&mut page, Lsn(0x12_3456_7890));
        assert_eq!(page_lsn(&page), Lsn(0x12_3456_7890));
        assert_eq!(page[..8], [0x12, 0, 0, 0, 0x90, 0x78, 0x56, 0x34]);
        assert!(page_is_new(&page));
    }
}
