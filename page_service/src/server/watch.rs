//! The time that answers take.

use std::time::Instant;

use crate::messages::RequestKind;
use crate::{Observer, SqlState};

/// Tells an observer of answers. It looks at the clock once for each: the end of one answer is the beginning of the next.
pub(super) struct Watch<'a> {
    observer: &'a dyn Observer,
    since: Instant,
}

impl<'a> Watch<'a> {
    pub fn new(observer: &'a dyn Observer) -> Self {
        Watch { observer, since: Instant::now() }
    }

    /// What was done until now was for no request: sending, or waiting for the client.
    pub fn restart(&mut self) {
        self.since = Instant::now();
    }

    /// A request has been answered.
    pub fn answered(&mut self, kind: RequestKind, error: Option<SqlState>) {
        let now = Instant::now();
        self.observer.request(kind, now - self.since, error);
        self.since = now;
    }
}
