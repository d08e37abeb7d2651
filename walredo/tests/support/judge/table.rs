//! What the judge has seen, by type of record.

use std::collections::BTreeMap;

use pgdata::PgVersion;
use wal_decoder::rmgr::rmgr_name;

/// What was seen of one type of record.
#[derive(Default)]
pub struct Row {
    pub calls: u64,
    /// With images to compare with.
    pub compared: u64,
    /// Other than the primary's page.
    pub mismatched: u64,
    /// Other than the primary's page just as the stock server's is: see `is_postgres_own` of the judge.
    pub own: u64,
    /// Maps that lack bits of the primary's: see `Judge::watch_map`.
    pub hollow: u64,
    /// Other than the stock server's page, in any byte.
    pub differing: u64,
    /// Left to an engine behind.
    pub passed_on: u64,
    /// Left out on purpose, and how many of these a comparison noticed.
    pub dropped: u64,
    pub noticed: u64,
    /// Of those left out: with an image to compare with, and other than that after masking.
    pub dropped_with_image: u64,
    pub noticed_by_image: u64,
}

/// A row for each resource manager and operation.
#[derive(Default)]
pub struct Table(BTreeMap<(u8, &'static str), Row>);

impl Table {
    pub fn row(&mut self, rmid: u8, name: &'static str) -> &mut Row {
        self.0.entry((rmid, name)).or_default()
    }

    /// Whether there was a record of this type.
    pub fn has(&self, of: &(u8, &'static str)) -> bool {
        self.0.get(of).is_some_and(|row| row.calls > 0)
    }

    pub fn sum(&self, count: fn(&Row) -> u64) -> u64 {
        self.0.values().map(count).sum()
    }

    /// One line for each type.
    pub fn text(&self, version: PgVersion) -> String {
        let mut text = format!(
            "PostgreSQL {}\n{:10} {:22} {:>8} {:>8} {:>10} {:>9} {:>9} {:>15}\n",
            version, "", "record", "calls", "compared", "mismatched", "differing", "passed on", "control noticed"
        );
        for ((rmid, name), row) in &self.0 {
            text += &format!(
                "{:10} {name:22} {:>8} {:>8} {:>10} {:>9} {:>9} {:>10} of {}\n",
                rmgr_name(*rmid),
                row.calls,
                row.compared,
                row.mismatched,
                row.differing,
                row.passed_on,
                row.noticed,
                row.dropped
            );
        }
        text
    }
}
