//! Real records and real pages, damaged in every way that chance finds: the native engine gives a page or an error, never a panic, and twice
//! the same. What the same records do when they are whole is `native.rs`'s subject; `fuzz/` goes on where this stops.

mod support;

use pgdata::PgVersion;
use support::recording::Recording;
use support::samples::Samples;

fn damage(version: PgVersion) {
    let samples = Samples::of(&Recording::get(version, "plain", &[], ""));
    samples.write_seeds();
    samples.mutate();
}

#[test]
fn records_of_15() {
    damage(PgVersion::V15);
}

#[test]
#[ignore = "needs PostgreSQL 16: set PG_BIN_16"]
fn records_of_16() {
    damage(PgVersion::V16);
}

#[test]
#[ignore = "needs PostgreSQL 17: set PG_BIN_17"]
fn records_of_17() {
    damage(PgVersion::V17);
}

#[test]
#[ignore = "needs PostgreSQL 18: set PG_BIN_18"]
fn records_of_18() {
    damage(PgVersion::V18);
}
