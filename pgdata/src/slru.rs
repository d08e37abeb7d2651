//! Where things lie in the SLRUs, and which of their segments are old (`access/transam/{clog,commit_ts,multixact,slru}.c`).
//!
//! The layouts and the order of pages are the same in PostgreSQL 15 to 18.

use crate::{FIRST_NORMAL_XID, PAGE_SIZE, SlruKind};

/// Transactions on one page of `pg_xact` (`CLOG_XACTS_PER_PAGE`): two bits each.
pub const CLOG_XACTS_PER_PAGE: u32 = PAGE_SIZE as u32 * 4;
/// Bytes of one entry of `pg_commit_ts`: a timestamp of 8 bytes, a replication origin of 2 (`SizeOfCommitTimestampEntry`).
pub const COMMIT_TS_ENTRY_SIZE: usize = 10;
/// Transactions on one page of `pg_commit_ts` (`COMMIT_TS_XACTS_PER_PAGE`).
pub const COMMIT_TS_XACTS_PER_PAGE: u32 = (PAGE_SIZE / COMMIT_TS_ENTRY_SIZE) as u32;
/// Multixacts on one page of `pg_multixact/offsets` (`MULTIXACT_OFFSETS_PER_PAGE`): four bytes each.
pub const OFFSETS_PER_PAGE: u32 = PAGE_SIZE as u32 / 4;
/// Members on one page of `pg_multixact/members` (`MULTIXACT_MEMBERS_PER_PAGE`): 409 groups of four.
pub const MEMBERS_PER_PAGE: u32 = (PAGE_SIZE / MEMBER_GROUP_SIZE) as u32 * MEMBERS_PER_GROUP;
/// The last page of `pg_multixact/members`: what follows it is page 0.
pub const MAX_MEMBERS_PAGE: u32 = u32::MAX / MEMBERS_PER_PAGE;

/// Members in one group: their four bytes of flags come first, then their ids.
const MEMBERS_PER_GROUP: u32 = 4;
/// Bytes of a group (`MULTIXACT_MEMBERGROUP_SIZE`). 12 bytes at the end of a page are left over.
const MEMBER_GROUP_SIZE: usize = 20;

/// Where a transaction's two status bits are in `pg_xact`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClogPosition {
    /// Page, counted over the whole SLRU.
    pub page: u32,
    /// Byte in the page.
    pub byte: usize,
    /// The lower of the two bits in the byte: 0, 2, 4 or 6.
    pub shift: u32,
}

/// Where the status of `xid` is.
#[must_use]
pub const fn clog_position(xid: u32) -> ClogPosition {
    let index = xid % CLOG_XACTS_PER_PAGE;
    ClogPosition { page: xid / CLOG_XACTS_PER_PAGE, byte: (index / 4) as usize, shift: index % 4 * 2 }
}

/// Page of `pg_commit_ts` and byte in it at which the entry of `xid` begins.
#[must_use]
pub const fn commit_ts_position(xid: u32) -> (u32, usize) {
    (xid / COMMIT_TS_XACTS_PER_PAGE, (xid % COMMIT_TS_XACTS_PER_PAGE) as usize * COMMIT_TS_ENTRY_SIZE)
}

/// Page of `pg_multixact/offsets` and byte in it at which the offset of `multi` begins.
#[must_use]
pub const fn offset_position(multi: u32) -> (u32, usize) {
    (multi / OFFSETS_PER_PAGE, (multi % OFFSETS_PER_PAGE) as usize * 4)
}

/// Where a multixact's member is in `pg_multixact/members`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MemberPosition {
    /// Page, counted over the whole SLRU.
    pub page: u32,
    /// Byte in the page that holds the member's flags.
    pub flags_byte: usize,
    /// Byte in the page at which the member's transaction id begins.
    pub xid_byte: usize,
}

/// Where the member number `offset` is.
#[must_use]
pub const fn member_position(offset: u32) -> MemberPosition {
    let index = offset % MEMBERS_PER_PAGE;
    let group = (index / MEMBERS_PER_GROUP) as usize * MEMBER_GROUP_SIZE;
    let in_group = (index % MEMBERS_PER_GROUP) as usize;
    MemberPosition {
        page: offset / MEMBERS_PER_PAGE,
        flags_byte: group + in_group,
        xid_byte: group + MEMBERS_PER_GROUP as usize + in_group * 4,
    }
}

/// Whether one transaction id is older than another in their circle (`TransactionIdPrecedes`). Ids below 3 are older than all others.
#[must_use]
pub const fn xid_precedes(a: u32, b: u32) -> bool {
    if a < FIRST_NORMAL_XID || b < FIRST_NORMAL_XID { a < b } else { circle_precedes(a, b) }
}

/// Whether one multixact id is older than another in their circle (`MultiXactIdPrecedes`).
#[must_use]
pub const fn multi_precedes(a: u32, b: u32) -> bool {
    circle_precedes(a, b)
}

/// Less than half of the circle lies between the two.
const fn circle_precedes(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}

impl SlruKind {
    /// Whether all that one page holds is older than anything that another page holds (the SLRU's `PagePrecedes`).
    #[must_use]
    pub fn page_precedes(self, page: u32, other: u32) -> bool {
        let (per_page, base, precedes): (u32, u32, fn(u32, u32) -> bool) = match self {
            SlruKind::Clog => (CLOG_XACTS_PER_PAGE, FIRST_NORMAL_XID + 1, xid_precedes),
            SlruKind::CommitTs => (COMMIT_TS_XACTS_PER_PAGE, FIRST_NORMAL_XID + 1, xid_precedes),
            SlruKind::MultiXactOffsets => (OFFSETS_PER_PAGE, 2, multi_precedes),
            SlruKind::MultiXactMembers => (MEMBERS_PER_PAGE, 0, multi_precedes),
        };
        let first = |page: u32| page.wrapping_mul(per_page).wrapping_add(base);
        let (a, b) = (first(page), first(other));
        precedes(a, b) && precedes(a, b.wrapping_add(per_page - 1))
    }

    /// Whether a whole segment lies before `cutoff_page`, as `SimpleLruTruncate` decides it: its first and its last page do.
    #[must_use]
    pub fn segment_is_before(self, segno: u32, cutoff_page: u32) -> bool {
        let first = segno.wrapping_mul(SlruKind::PAGES_PER_SEGMENT);
        let last = first.wrapping_add(SlruKind::PAGES_PER_SEGMENT - 1);
        self.page_precedes(first, cutoff_page) && self.page_precedes(last, cutoff_page)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn clog_has_four_transactions_in_a_byte() {
        assert_eq!(clog_position(0), ClogPosition { page: 0, byte: 0, shift: 0 });
        assert_eq!(clog_position(7), ClogPosition { page: 0, byte: 1, shift: 6 });
        assert_eq!(clog_position(32768), ClogPosition { page: 1, byte: 0, shift: 0 });
        assert_eq!(clog_position(u32::MAX), ClogPosition { page: 131_071, byte: 8191, shift: 6 });
    }

    #[test]
    fn commit_ts_has_819_entries_of_ten_bytes_on_a_page() {
        assert_eq!(commit_ts_position(818), (0, 8180));
        assert_eq!(commit_ts_position(819), (1, 0));
    }

    #[test]
    fn offsets_have_2048_entries_on_a_page() {
        assert_eq!(offset_position(2047), (0, 8188));
        assert_eq!(offset_position(2048), (1, 0));
    }

    #[test]
    fn members_lie_in_groups_with_their_flags_in_front() {
        assert_eq!(member_position(0), MemberPosition { page: 0, flags_byte: 0, xid_byte: 4 });
        assert_eq!(member_position(3), MemberPosition { page: 0, flags_byte: 3, xid_byte: 16 });
        assert_eq!(member_position(4), MemberPosition { page: 0, flags_byte: 20, xid_byte: 24 });
        assert_eq!(member_position(1635), MemberPosition { page: 0, flags_byte: 8163, xid_byte: 8176 });
        assert_eq!(member_position(1636).page, 1);
        assert_eq!(member_position(u32::MAX).page, MAX_MEMBERS_PAGE);
    }

    #[test]
    fn no_two_members_of_a_page_share_a_byte() {
        let mut seen = HashSet::new();
        for offset in 0..MEMBERS_PER_PAGE {
            let at = member_position(offset);
            assert!(seen.insert(at.flags_byte));
            assert!((0..4).all(|i| at.xid_byte + i < PAGE_SIZE && seen.insert(at.xid_byte + i)));
        }
    }

    #[test]
    fn truncation_removes_only_whole_segments_before_the_cutoff() {
        for kind in SlruKind::ALL {
            assert!(kind.segment_is_before(0, 32), "{kind:?}");
            assert!(kind.segment_is_before(0, 40));
            assert!(!kind.segment_is_before(0, 31));
            assert!(!kind.segment_is_before(1, 40));
            assert!(!kind.segment_is_before(2, 40));
        }
    }

    #[test]
    fn old_segments_lie_behind_the_wraparound() {
        // 4096 segments of clog make the circle; the cutoff is in segment 10.
        let cutoff = 10 * 32;
        assert!(SlruKind::Clog.segment_is_before(4095, cutoff));
        assert!(SlruKind::Clog.segment_is_before(2059, cutoff));
        assert!(!SlruKind::Clog.segment_is_before(2057, cutoff));
        assert!(!SlruKind::Clog.segment_is_before(11, cutoff));
        // Exactly half a circle away: the page is as much in front as behind, and stays.
        assert!(!SlruKind::Clog.segment_is_before(2058, cutoff));
    }

    #[test]
    fn ids_are_ordered_in_a_circle() {
        assert!(xid_precedes(3, 4) && !xid_precedes(4, 3) && !xid_precedes(5, 5));
        assert!(xid_precedes(u32::MAX, 3) && !xid_precedes(3, u32::MAX));
        assert!(xid_precedes(2, 3) && xid_precedes(2, u32::MAX) && xid_precedes(0, 1));
        assert!(multi_precedes(u32::MAX, 1));
    }
}
