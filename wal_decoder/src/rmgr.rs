//! Resource managers: who a record belongs to (`access/rmgrlist.h`, the same list in all versions known here).

use std::borrow::Cow;

macro_rules! rmgrs {
    ($($id:ident = $number:literal, $name:literal;)*) => {
        $(#[doc = concat!("Resource manager `", $name, "`.")] pub const $id: u8 = $number;)*
        /// Names of the built-in resource managers, in the order of their numbers.
        const NAMES: &[&str] = &[$($name),*];
    };
}

rmgrs! {
    RM_XLOG_ID = 0, "XLOG";
    RM_XACT_ID = 1, "Transaction";
    RM_SMGR_ID = 2, "Storage";
    RM_CLOG_ID = 3, "CLOG";
    RM_DBASE_ID = 4, "Database";
    RM_TBLSPC_ID = 5, "Tablespace";
    RM_MULTIXACT_ID = 6, "MultiXact";
    RM_RELMAP_ID = 7, "RelMap";
    RM_STANDBY_ID = 8, "Standby";
    RM_HEAP2_ID = 9, "Heap2";
    RM_HEAP_ID = 10, "Heap";
    RM_BTREE_ID = 11, "Btree";
    RM_HASH_ID = 12, "Hash";
    RM_GIN_ID = 13, "Gin";
    RM_GIST_ID = 14, "Gist";
    RM_SEQ_ID = 15, "Sequence";
    RM_SPGIST_ID = 16, "SPGist";
    RM_BRIN_ID = 17, "BRIN";
    RM_COMMIT_TS_ID = 18, "CommitTs";
    RM_REPLORIGIN_ID = 19, "ReplicationOrigin";
    RM_GENERIC_ID = 20, "Generic";
    RM_LOGICALMSG_ID = 21, "LogicalMessage";
}

/// The first number that extensions may register for their own records.
pub const RM_MIN_CUSTOM_ID: u8 = 128;

/// `xl_info` of an `XLOG` record that ends its segment early; the low four bits are not the resource manager's.
pub const XLOG_SWITCH: u8 = 0x40;
/// `xl_info` of the `XLOG` record that says which record before it was never finished.
pub const XLOG_OVERWRITE_CONTRECORD: u8 = 0xD0;
/// The bits of `xl_info` that belong to the resource manager.
pub const XLR_RMGR_INFO_MASK: u8 = 0xF0;
/// Set in `xl_info` if the record changes files of relations in ways that its block references do not tell.
pub const XLR_SPECIAL_REL_UPDATE: u8 = 0x01;
/// Set in `xl_info` if the record's images without [`apply`](crate::BlockImage::apply) are there to be compared with.
pub const XLR_CHECK_CONSISTENCY: u8 = 0x02;

/// Whether a record can have this number: a built-in resource manager's, or one kept for extensions.
#[must_use]
#[inline]
pub const fn rmgr_is_valid(rmid: u8) -> bool {
    (rmid as usize) < NAMES.len() || rmid >= RM_MIN_CUSTOM_ID
}

/// A resource manager's name as `pg_waldump` prints it; `custom128` and so on for those of extensions, `unknown22` for a
/// number that no record can have.
#[must_use]
pub fn rmgr_name(rmid: u8) -> Cow<'static, str> {
    match NAMES.get(usize::from(rmid)) {
        Some(name) => Cow::Borrowed(name),
        None if rmid >= RM_MIN_CUSTOM_ID => Cow::Owned(format!("custom{rmid}")),
        None => Cow::Owned(format!("unknown{rmid}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_at_their_numbers() {
        assert_eq!(rmgr_name(RM_XLOG_ID), "XLOG");
        assert_eq!(rmgr_name(RM_GENERIC_ID), "Generic");
        assert_eq!(rmgr_name(RM_LOGICALMSG_ID), "LogicalMessage");
        assert_eq!(rmgr_name(22), "unknown22");
        assert_eq!(rmgr_name(128), "custom128");
        assert_eq!(rmgr_name(255), "custom255");
    }

    #[test]
    fn numbers_between_the_built_in_and_the_custom_ones_are_invalid() {
        let valid: Vec<u8> = (0..=255).filter(|&rmid| rmgr_is_valid(rmid)).collect();
        assert_eq!(valid, (0..=21).chain(128..=255).collect::<Vec<u8>>());
    }
}
