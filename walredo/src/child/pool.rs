//! A pool of redo processes.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use pgdata::{Page, PgVersion};

use super::config::PostgresRedoConfig;
use super::dialogue::{Dialogue, Masks, Pages, relation_block};
use super::error::{ChildFailure, StartError};
use super::process::RedoChild;
use super::protocol::MAX_RECORD;
use super::server::Server;
use super::stats::{Counters, RedoStats};
use crate::request::{MaskRequest, Redo, RedoError, RedoRequest};

/// How often a request is tried. A record that kills a process kills the next one as well; a process that was killed from
/// outside, or ran into a limit because of what came before, deserves a second try.
const TRIES: u32 = 2;
/// Answers that a process may hold back while there is more to read (`OUTPUT_SIZE` in `postgres/protocol.c`).
const LOST_ANSWERS: u32 = 16;

/// Applies records with the redo routines of a stock PostgreSQL server, in sandboxed processes of its own.
///
/// For WAL of one cluster, or of clusters with the same major version, data checksums and `wal_log_hints`. Any number of threads
/// may use it; each has a process to itself for the time of a request. Dropping it ends the processes.
#[derive(Debug)]
pub struct PostgresRedo {
    config: PostgresRedoConfig,
    server: Server,
    children: Mutex<Children>,
    /// Told when a process has become idle or a place for one free.
    freed: Condvar,
    counters: Counters,
}

#[derive(Debug, Default)]
struct Children {
    /// The last used is taken first: its memory is the warmest.
    idle: Vec<RedoChild>,
    /// Processes that exist or are being started.
    live: usize,
}

/// A place in the pool, with the process in it.
struct Lease<'a> {
    pool: &'a PostgresRedo,
    child: Option<RedoChild>,
}

impl PostgresRedo {
    /// Starts the first process and tests it, so that what is missing or does not fit shows now.
    ///
    /// # Errors
    /// [`StartError`] says what is missing.
    pub fn start(config: PostgresRedoConfig) -> Result<PostgresRedo, StartError> {
        if config.max_children == 0 {
            return Err(StartError::NoChildren);
        }
        let server = Server::find(&config)?;
        let pool = PostgresRedo {
            config,
            server,
            children: Mutex::default(),
            freed: Condvar::new(),
            counters: Counters::default(),
        };
        let child = pool.start_child()?;
        *pool.children() = Children { idle: vec![child], live: 1 };
        Ok(pool)
    }

    /// The version of PostgreSQL whose records it applies.
    #[must_use]
    pub fn version(&self) -> PgVersion {
        self.server.version
    }

    /// What it has done so far.
    #[must_use]
    pub fn stats(&self) -> RedoStats {
        let processes = self.children().live;
        self.counters.read(processes)
    }

    /// The process ids of the processes that no request is using now.
    #[must_use]
    pub fn idle_pids(&self) -> Vec<u32> {
        self.children().idle.iter().map(RedoChild::pid).collect()
    }

    /// Makes many pages with one process, without waiting for one before asking for the next.
    /// `pages[i]` is to `requests[i]` as in [`Redo::redo`]; the results are in the same order.
    ///
    /// # Panics
    /// If there are not as many pages as requests.
    pub fn redo_batch(&self, requests: &[RedoRequest<'_>], pages: &mut [Page]) -> Vec<Result<(), RedoError>> {
        assert_eq!(requests.len(), pages.len(), "each request needs its page");
        let mut results: Vec<_> = requests.iter().map(|_| Ok(())).collect();
        self.make(requests, pages, &mut |index, error| results[index] = Err(error));
        results
    }

    /// Masks two versions of a page with a resource manager's own `rm_mask`, as PostgreSQL does before it compares them under
    /// `wal_consistency_checking`: what is left must be equal. For tests and for checking stored pages.
    ///
    /// # Errors
    /// [`RedoError::Mask`] if the process fails, as it does when the resource manager does not exist or a page is damaged.
    pub fn mask(&self, rmid: u8, block: u32, first: &mut Page, second: &mut Page) -> Result<(), RedoError> {
        self.mask_batch(&mut [MaskRequest { rmid, block, pages: [first, second] }])
    }

    /// [`PostgresRedo::mask`] of many pairs of pages, without waiting for one before asking for the next.
    ///
    /// # Errors
    /// [`RedoError::Mask`] if the process fails. It names the first pair that was not answered; the one at fault may come a few after it.
    pub fn mask_batch(&self, requests: &mut [MaskRequest<'_>]) -> Result<(), RedoError> {
        let mut lease = self.lease()?;
        self.talk(&mut lease, &mut Masks { requests })?.map_err(|(answered, failure)| {
            let MaskRequest { rmid, block, .. } = requests[answered];
            RedoError::Mask { rmid, block, failure: Box::new(failure) }
        })
    }

    /// Makes pages; failures are told to `failed`.
    fn make(&self, requests: &[RedoRequest<'_>], pages: &mut [Page], failed: &mut dyn FnMut(usize, RedoError)) {
        let mut failed = |index, error| {
            Counters::add(&self.counters.errors, 1);
            failed(index, error);
        };
        let mut at = 0;
        while at < requests.len() {
            if let Err(error) = self.check(&requests[at]) {
                failed(at, error);
                at += 1;
                continue;
            }
            let rest = &requests[at..];
            let good =
                rest.iter().skip(1).position(|request| self.check(request).is_err()).map_or(rest.len(), |n| n + 1);
            self.make_checked(&requests[at..at + good], &mut pages[at..at + good], &mut |index, error| {
                failed(at + index, error);
            });
            at += good;
        }
    }

    /// Makes pages whose requests are in order: all at once, until a process fails. Which request it failed at is not known then,
    /// because answers that it had not written yet are lost with it. So the next ones are made one by one.
    fn make_checked(&self, requests: &[RedoRequest<'_>], pages: &mut [Page], failed: &mut dyn FnMut(usize, RedoError)) {
        let mut lease = match self.lease() {
            Ok(lease) => lease,
            Err(error) => return fail_all(requests, error, failed),
        };
        let (mut at, mut one_by_one, mut tries) = (0, 0_u32, 0_u32);
        while at < requests.len() {
            let end = if one_by_one > 0 { at + 1 } else { requests.len() };
            let mut dialogue = Pages { requests: &requests[at..end], pages: &mut pages[at..end] };
            let (answered, failure) = match self.talk(&mut lease, &mut dialogue) {
                Ok(Ok(())) => (end - at, None),
                Ok(Err((answered, failure))) => (answered, Some(failure)),
                Err(error) => {
                    return fail_all(&requests[at..], error.into(), &mut |index, error| failed(at + index, error));
                }
            };
            self.count(&requests[at..at + answered]);
            at += answered;
            match failure {
                None => (one_by_one, tries) = (one_by_one.saturating_sub(1), 0),
                Some(_) if end - at > 1 => one_by_one = LOST_ANSWERS + 1,
                Some(failure) => {
                    tries += 1;
                    if tries == TRIES {
                        failed(at, RedoError::child(&requests[at], failure));
                        at += 1;
                        (one_by_one, tries) = (0, 0);
                    }
                }
            }
        }
    }

    /// A dialogue with the leased process, started if there is none. The inner error says how many questions were answered.
    fn talk(
        &self,
        lease: &mut Lease<'_>,
        dialogue: &mut dyn Dialogue,
    ) -> Result<Result<(), (usize, ChildFailure)>, StartError> {
        let mut child = match lease.child.take() {
            Some(child) => child,
            None => self.start_child()?,
        };
        let begun = Instant::now();
        let result = child.talk(dialogue, self.config.request_timeout);
        let nanos = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        Counters::add(&self.counters.busy_nanos, nanos);
        match result {
            Ok(()) => {
                lease.child = Some(child);
                Ok(Ok(()))
            }
            Err(interrupted) => {
                Counters::add(&self.counters.failures, 1);
                let pid = child.pid();
                let failure = child.into_failure(interrupted.kind);
                if failure.is_timeout() {
                    Counters::add(&self.counters.timeouts, 1);
                }
                tracing::warn!(pid, %failure, "a redo process failed");
                Ok(Err((interrupted.answered, failure)))
            }
        }
    }

    fn check(&self, request: &RedoRequest<'_>) -> Result<(), RedoError> {
        let key = request.key;
        if request.version != self.server.version {
            return Err(RedoError::WrongVersion { key, version: request.version, engine: self.server.version });
        }
        if relation_block(request).is_none() {
            return Err(RedoError::NotARelation { key });
        }
        if request.records.is_empty() && !request.has_base {
            return Err(RedoError::Nothing { key });
        }
        match request.records.iter().find(|record| record.bytes.len() > MAX_RECORD) {
            Some(record) => {
                Err(RedoError::RecordTooLong { key, lsn: record.lsn, length: record.bytes.len(), limit: MAX_RECORD })
            }
            None => Ok(()),
        }
    }

    fn count(&self, done: &[RedoRequest<'_>]) {
        Counters::add(&self.counters.pages, done.len() as u64);
        Counters::add(&self.counters.records, done.iter().map(|request| request.records.len() as u64).sum());
    }

    fn start_child(&self) -> Result<RedoChild, StartError> {
        let child = RedoChild::start(&self.server, &self.config)?;
        Counters::add(&self.counters.starts, 1);
        Ok(child)
    }

    /// A place in the pool: with an idle process, or empty if another process may be started. Waits until there is one.
    fn lease(&self) -> Result<Lease<'_>, RedoError> {
        let limit = self.config.queue_timeout;
        let deadline = Instant::now() + limit;
        let mut children = self.children();
        loop {
            if let Some(child) = children.idle.pop() {
                return Ok(Lease { pool: self, child: Some(child) });
            }
            if children.live < self.config.max_children {
                children.live += 1;
                return Ok(Lease { pool: self, child: None });
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(RedoError::Busy { waited: limit, processes: children.live });
            }
            children = self.freed.wait_timeout(children, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// A panic elsewhere cannot leave the list in a bad state: each change is a single step.
    fn children(&self) -> MutexGuard<'_, Children> {
        self.children.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Without a process no request can be served: the first gets the reason, the others a reference to it.
fn fail_all(requests: &[RedoRequest<'_>], error: RedoError, failed: &mut dyn FnMut(usize, RedoError)) {
    for (index, request) in requests.iter().enumerate().skip(1) {
        failed(index, RedoError::NoProcess { key: request.key });
    }
    failed(0, error);
}

impl Redo for PostgresRedo {
    fn redo(&self, request: &RedoRequest<'_>, page: &mut Page) -> Result<(), RedoError> {
        let mut result = Ok(());
        let (requests, pages) = (std::slice::from_ref(request), std::slice::from_mut(page));
        self.make(requests, pages, &mut |_, error| result = Err(error));
        result
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let mut children = self.pool.children();
        match self.child.take() {
            Some(child) => children.idle.push(child),
            None => children.live -= 1,
        }
        drop(children);
        self.pool.freed.notify_one();
    }
}
