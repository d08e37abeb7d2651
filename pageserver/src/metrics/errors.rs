//! Errors, counted by what failed and how.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use page_service::SqlState;

/// How often something failed, by its name and SQLSTATE. Both are constants of this program, so there are not many pairs. Errors are
/// rare enough for a lock.
#[derive(Debug, Default)]
pub struct Errors {
    counts: Mutex<BTreeMap<(&'static str, &'static str), u64>>,
}

impl Errors {
    /// Counts one more.
    pub fn count(&self, what: &'static str, code: SqlState) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry((what, code.code())).or_default() += 1;
    }

    /// Name, SQLSTATE and count of everything that has failed, in order.
    pub fn read(&self) -> Vec<(&'static str, &'static str, u64)> {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.iter().map(|(&(what, code), &count)| (what, code, count)).collect()
    }
}
