//! The native engine before two judges, record by record: the page must equal the image that the primary put into the WAL under
//! `wal_consistency_checking = all`, after the resource manager's own `rm_mask`; and the page that the stock server's redo makes of the same
//! base and record, byte for byte, unmasked. See `support/judge.rs`.
//!
//! To work on one resource manager: `WALREDO_RECORDINGS=/some/dir cargo test -p walredo --test native -- --nocapture` keeps the WAL in
//! that directory (see `support/recording.rs`), and `WALREDO_RMGR=Btree` shows that one's differences alone.

mod support;

use pgdata::PgVersion;
use support::judge::Judge;
use support::recording::Recording;

fn judge(version: PgVersion, name: &str, initdb_options: &[&str], config: &str) {
    judge_by(version, Recording::get(version, name, initdb_options, config));
}

fn judge_by(judge: PgVersion, recording: Recording) {
    let mut judge = Judge::new(&recording, judge);
    recording.replay(|record, raw| judge.record(record, raw));
    judge.verdict();
}

/// PostgreSQL's own regression suite, as `scripts/record-regress` recorded it.
fn judge_regress(version: PgVersion) {
    judge_by(version, Recording::kept(version, "regress"));
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
    judge_by(PgVersion::V18, Recording::get(PgVersion::V17, "plain", &[], ""));
}

#[test]
#[ignore = "needs PostgreSQL 18 and a build with its headers: set PG_BIN_18"]
fn records_of_18() {
    judge(PgVersion::V18, "plain", &[], "");
}

#[test]
#[ignore = "needs scripts/record-regress 15 DIR, and WALREDO_RECORDINGS=DIR"]
fn regress_of_15() {
    judge_regress(PgVersion::V15);
}

#[test]
#[ignore = "needs scripts/record-regress 16 DIR, and WALREDO_RECORDINGS=DIR"]
fn regress_of_16() {
    judge_regress(PgVersion::V16);
}

#[test]
#[ignore = "needs scripts/record-regress 17 DIR, and WALREDO_RECORDINGS=DIR"]
fn regress_of_17() {
    judge_regress(PgVersion::V17);
}

#[test]
#[ignore = "needs scripts/record-regress 18 DIR, and WALREDO_RECORDINGS=DIR"]
fn regress_of_18() {
    judge_regress(PgVersion::V18);
}
