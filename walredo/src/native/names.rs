//! What records are called, as `pg_waldump` calls them, for messages and tables.

use pgdata::PgVersion;
use wal_decoder::rmgr::*;

/// The name of a record's operation (`rm_identify`, without its mark of a new page); `?` if there is none.
#[must_use]
pub fn record_type(version: PgVersion, rmid: u8, info: u8) -> &'static str {
    let operation = info & XLR_RMGR_INFO_MASK;
    match rmid {
        RM_XLOG_ID => name(operation >> 4, &XLOG),
        RM_HEAP_ID => name(operation >> 4 & 7, &HEAP),
        RM_HEAP2_ID if version < PgVersion::V17 => name(operation >> 4 & 7, &HEAP2),
        RM_HEAP2_ID => name(operation >> 4 & 7, &HEAP2_SINCE_17),
        RM_BTREE_ID => name(operation >> 4, &BTREE),
        RM_HASH_ID => name(operation >> 4, &HASH),
        RM_GIN_ID => name(operation >> 4, &GIN),
        RM_GIST_ID => name(operation >> 4, &GIST),
        RM_SEQ_ID => name(operation >> 4, &["LOG"]),
        RM_SPGIST_ID => name(operation >> 4, &SPGIST),
        RM_BRIN_ID => name(operation >> 4 & 7, &BRIN),
        RM_GENERIC_ID => "Generic",
        RM_SMGR_ID => name(operation >> 4, &["?", "CREATE", "TRUNCATE"]),
        RM_XACT_ID => name(operation >> 4 & 7, &XACT),
        RM_CLOG_ID | RM_COMMIT_TS_ID => name(operation >> 4, &["ZEROPAGE", "TRUNCATE"]),
        RM_MULTIXACT_ID => name(operation >> 4, &["ZERO_OFF_PAGE", "ZERO_MEM_PAGE", "CREATE_ID", "TRUNCATE_ID"]),
        _ => "?",
    }
}

fn name(index: u8, names: &[&'static str]) -> &'static str {
    names.get(usize::from(index)).copied().unwrap_or("?")
}

const XLOG: [&str; 15] = [
    "CHECKPOINT_SHUTDOWN",
    "CHECKPOINT_ONLINE",
    "NOOP",
    "NEXTOID",
    "SWITCH",
    "BACKUP_END",
    "PARAMETER_CHANGE",
    "RESTORE_POINT",
    "FPW_CHANGE",
    "END_OF_RECOVERY",
    "FPI_FOR_HINT",
    "FPI",
    "?",
    "OVERWRITE_CONTRECORD",
    "CHECKPOINT_REDO",
];
const HEAP: [&str; 8] = ["INSERT", "DELETE", "UPDATE", "TRUNCATE", "HOT_UPDATE", "CONFIRM", "LOCK", "INPLACE"];
const HEAP2: [&str; 8] =
    ["REWRITE", "PRUNE", "VACUUM", "FREEZE_PAGE", "VISIBLE", "MULTI_INSERT", "LOCK_UPDATED", "NEW_CID"];
const HEAP2_SINCE_17: [&str; 8] = [
    "REWRITE",
    "PRUNE_ON_ACCESS",
    "PRUNE_VACUUM_SCAN",
    "PRUNE_VACUUM_CLEANUP",
    "VISIBLE",
    "MULTI_INSERT",
    "LOCK_UPDATED",
    "NEW_CID",
];
const BTREE: [&str; 16] = [
    "INSERT_LEAF",
    "INSERT_UPPER",
    "INSERT_META",
    "SPLIT_L",
    "SPLIT_R",
    "INSERT_POST",
    "DEDUP",
    "DELETE",
    "UNLINK_PAGE",
    "UNLINK_PAGE_META",
    "NEWROOT",
    "MARK_PAGE_HALFDEAD",
    "VACUUM",
    "REUSE_PAGE",
    "META_CLEANUP",
    "?",
];
const HASH: [&str; 13] = [
    "INIT_META_PAGE",
    "INIT_BITMAP_PAGE",
    "INSERT",
    "ADD_OVFL_PAGE",
    "SPLIT_ALLOCATE_PAGE",
    "SPLIT_PAGE",
    "SPLIT_COMPLETE",
    "MOVE_PAGE_CONTENTS",
    "SQUEEZE_PAGE",
    "DELETE",
    "SPLIT_CLEANUP",
    "UPDATE_META_PAGE",
    "VACUUM_ONE_PAGE",
];
const GIN: [&str; 10] = [
    "?",
    "CREATE_PTREE",
    "INSERT",
    "SPLIT",
    "VACUUM_PAGE",
    "DELETE_PAGE",
    "UPDATE_META_PAGE",
    "INSERT_LISTPAGE",
    "DELETE_LISTPAGE",
    "VACUUM_DATA_LEAF_PAGE",
];
const GIST: [&str; 9] =
    ["PAGE_UPDATE", "DELETE", "PAGE_REUSE", "PAGE_SPLIT", "?", "?", "PAGE_DELETE", "ASSIGN_LSN", "?"];
const SPGIST: [&str; 9] = [
    "?",
    "ADD_LEAF",
    "MOVE_LEAFS",
    "ADD_NODE",
    "SPLIT_TUPLE",
    "PICKSPLIT",
    "VACUUM_LEAF",
    "VACUUM_ROOT",
    "VACUUM_REDIRECT",
];
const BRIN: [&str; 8] =
    ["CREATE_INDEX", "INSERT", "UPDATE", "SAMEPAGE_UPDATE", "REVMAP_EXTEND", "DESUMMARIZE", "?", "?"];
const XACT: [&str; 8] =
    ["COMMIT", "PREPARE", "ABORT", "COMMIT_PREPARED", "ABORT_PREPARED", "ASSIGNMENT", "INVALIDATION", "?"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_version() {
        assert_eq!(record_type(PgVersion::V15, RM_HEAP2_ID, 0x10), "PRUNE");
        assert_eq!(record_type(PgVersion::V17, RM_HEAP2_ID, 0x10), "PRUNE_ON_ACCESS");
        assert_eq!(record_type(PgVersion::V17, RM_HEAP_ID, 0x80), "INSERT");
        assert_eq!(record_type(PgVersion::V17, RM_SEQ_ID, 0x10), "?");
        assert_eq!(record_type(PgVersion::V17, 200, 0x10), "?");
    }
}
