//! The native engine before two judges, record by record: the page must equal the image that the primary put into the WAL under
//! `wal_consistency_checking = all`, after the resource manager's own `rm_mask`; and the page that the stock server's redo makes of the same
//! base and record, byte for byte, unmasked. So the stock server's redo is held against the images as well. Pages of visibility maps too; of
//! those the bits are compared that `rm_mask` would hide. Pages of SLRUs have no images and are no work of a redo process, nor is what
//! truncation leaves of a map: these are left to the standby oracle. See `support/judge.rs`.
//!
//! The judge is on trial too: of every hundred changes one is left out, and each of these must be noticed.
//!
//! To work on one resource manager: `WALREDO_RECORDINGS=/some/dir cargo test -p walredo --test native -- --nocapture` keeps the WAL in
//! that directory (see `support/recording.rs`), and `WALREDO_RMGR=Btree` shows that one's differences alone.

mod support;

use pgdata::PgVersion;
use support::judge::Judge;
use support::recording::Recording;
use wal_decoder::rmgr::{
    RM_BRIN_ID, RM_BTREE_ID, RM_GIN_ID, RM_GIST_ID, RM_HASH_ID, RM_HEAP_ID, RM_HEAP2_ID, RM_SEQ_ID, RM_SPGIST_ID,
};

/// What the workload has to write, whatever the version: every type of record of a resource manager that changes pages by block references, but for
/// those of heaps that were renamed between versions.
const EXPECTED: &[(u8, &[&str])] = &[
    (RM_HEAP_ID, &["CONFIRM", "DELETE", "HOT_UPDATE", "INPLACE", "INSERT", "LOCK", "UPDATE"]),
    (RM_HEAP2_ID, &["MULTI_INSERT", "VISIBLE"]),
    (
        RM_BTREE_ID,
        &[
            "DEDUP",
            "DELETE",
            "INSERT_LEAF",
            "INSERT_META",
            "INSERT_POST",
            "INSERT_UPPER",
            "MARK_PAGE_HALFDEAD",
            "META_CLEANUP",
            "NEWROOT",
            "SPLIT_L",
            "SPLIT_R",
            "UNLINK_PAGE",
            "UNLINK_PAGE_META",
            "VACUUM",
        ],
    ),
    (
        RM_HASH_ID,
        &[
            "ADD_OVFL_PAGE",
            "DELETE",
            "INIT_BITMAP_PAGE",
            "INIT_META_PAGE",
            "INSERT",
            "MOVE_PAGE_CONTENTS",
            "SPLIT_ALLOCATE_PAGE",
            "SPLIT_CLEANUP",
            "SPLIT_COMPLETE",
            "SPLIT_PAGE",
            "SQUEEZE_PAGE",
            "UPDATE_META_PAGE",
            "VACUUM_ONE_PAGE",
        ],
    ),
    (
        RM_GIN_ID,
        &[
            "CREATE_PTREE",
            "DELETE_LISTPAGE",
            "DELETE_PAGE",
            "INSERT",
            "INSERT_LISTPAGE",
            "SPLIT",
            "UPDATE_META_PAGE",
            "VACUUM_DATA_LEAF_PAGE",
            "VACUUM_PAGE",
        ],
    ),
    (RM_GIST_ID, &["DELETE", "PAGE_DELETE", "PAGE_SPLIT", "PAGE_UPDATE"]),
    (RM_SEQ_ID, &["LOG"]),
    (
        RM_SPGIST_ID,
        &[
            "ADD_LEAF",
            "ADD_NODE",
            "MOVE_LEAFS",
            "PICKSPLIT",
            "SPLIT_TUPLE",
            "VACUUM_LEAF",
            "VACUUM_REDIRECT",
            "VACUUM_ROOT",
        ],
    ),
    (RM_BRIN_ID, &["CREATE_INDEX", "DESUMMARIZE", "INSERT", "REVMAP_EXTEND", "SAMEPAGE_UPDATE", "UPDATE"]),
];

fn judge(version: PgVersion, name: &str, initdb_options: &[&str], config: &str) {
    judge_by(version, Recording::get(version, name, initdb_options, config), EXPECTED);
}

fn judge_by(judge: PgVersion, recording: Recording, expected: &[(u8, &[&'static str])]) {
    let mut judge = Judge::new(&recording, judge);
    recording.replay(|record, raw| judge.record(record, raw));
    let expected: Vec<_> = expected.iter().flat_map(|(rmid, names)| names.iter().map(|name| (*rmid, *name))).collect();
    judge.verdict(&expected);
}

/// PostgreSQL's own regression suite, as `scripts/record-regress` recorded it.
fn judge_regress(version: PgVersion) {
    judge_by(version, Recording::kept(version, "regress"), &[]);
}

#[test]
fn records_of_15() {
    judge(PgVersion::V15, "plain", &[], "");
}

#[test]
fn records_of_15_with_checksums() {
    judge(PgVersion::V15, "checksums", &["-k"], "wal_compression = lz4");
}

#[test]
fn records_of_15_with_hints_logged() {
    judge(PgVersion::V15, "hints", &[], "wal_log_hints = on\nwal_level = logical");
}

#[test]
#[ignore = "needs PostgreSQL 16 and a build with its headers: set PG_BIN_16"]
fn records_of_16() {
    judge(PgVersion::V16, "plain", &[], "");
}

#[test]
#[ignore = "needs PostgreSQL 17 and a build with its headers: set PG_BIN_17"]
fn records_of_17() {
    judge(PgVersion::V17, "plain", &[], "");
}

/// The records that appear here have the same layout in 17 and 18.
#[test]
#[ignore = "needs PostgreSQL 17 and 18 and a build with the headers of 18: set PG_BIN_17 and PG_BIN_18"]
fn records_of_17_judged_by_18() {
    judge_by(PgVersion::V18, Recording::get(PgVersion::V17, "plain", &[], ""), EXPECTED);
}

#[test]
#[ignore = "needs PostgreSQL 18 and a build with its headers: set PG_BIN_18"]
fn records_of_18() {
    judge(PgVersion::V18, "plain", &[], "");
}

#[test]
#[ignore = "run by scripts/test-redo 15"]
fn regress_of_15() {
    judge_regress(PgVersion::V15);
}

#[test]
#[ignore = "run by scripts/test-redo 16"]
fn regress_of_16() {
    judge_regress(PgVersion::V16);
}

#[test]
#[ignore = "run by scripts/test-redo 17"]
fn regress_of_17() {
    judge_regress(PgVersion::V17);
}

#[test]
#[ignore = "run by scripts/test-redo 18"]
fn regress_of_18() {
    judge_regress(PgVersion::V18);
}
