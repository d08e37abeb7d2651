//! What the libpq port answers with: timelines for page streams, and the commands.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use clap::Parser;
use page_service::{Backend, Column, PageSource, ReadLsn, RowSink, ServiceError, SqlState, Value};
use pgdata::{Lsn, PAGE_SIZE};
use repository::{DEFAULT_TENANT, Id, Repository, RepositoryError, Timeline};

use crate::cli::{PageArgs, Query, RemoteCommand};
use crate::config::Config;
use crate::follow::{Follower, Source};
use crate::source::TimelineSource;
use crate::{attach, status};

/// The words that a command can begin with.
const COMMANDS: [&str; 5] = ["attach", "status", "page", "pagestream_v2", "pagestream_v3"];

/// The running server's state, shared by all connections.
pub struct Pageserver {
    pub config: Config,
    pub repository: Arc<Repository>,
    followers: Mutex<BTreeMap<Id, Follower>>,
}

impl Pageserver {
    pub fn new(config: Config, repository: Arc<Repository>) -> Self {
        Pageserver { config, repository, followers: Mutex::default() }
    }

    /// The receivers' threads, by timeline.
    pub fn followers(&self) -> MutexGuard<'_, BTreeMap<Id, Follower>> {
        self.followers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts to follow a timeline's primary.
    pub fn follow(&self, timeline: &Arc<Timeline>, source: &Source) -> anyhow::Result<()> {
        let follower = Follower::start(Arc::clone(timeline), source, &self.config.receiver)?;
        self.followers().insert(timeline.id(), follower);
        Ok(())
    }

    /// Follows again whom the timelines followed before.
    pub fn follow_all(&self) -> anyhow::Result<()> {
        for timeline in self.repository.timelines() {
            match Source::load(timeline.dir())? {
                Some(source) => self.follow(&timeline, &source)?,
                None => tracing::warn!(name = timeline.name(), "this timeline follows no primary"),
            }
        }
        Ok(())
    }

    /// Ends all waits and stops all receivers.
    pub fn stop(&self) {
        self.repository.shutdown();
        let followers = std::mem::take(&mut *self.followers());
        drop(followers);
    }

    fn source(&self, tenant: &str, timeline: &str) -> Result<TimelineSource, ServiceError> {
        let timeline = self.repository.timeline(tenant, timeline).map_err(repository_error)?;
        Ok(TimelineSource { timeline, wait: self.config.wait_timeout() })
    }

    fn page(&self, args: &PageArgs, out: &mut dyn RowSink) -> Result<String, ServiceError> {
        if args.output.is_some() {
            return Err(ServiceError::new(
                SqlState::SYNTAX_ERROR,
                "--output is for the command line: a query answers with the page itself",
            ));
        }
        let source = self.source(DEFAULT_TENANT, &args.timeline)?;
        let at = args.at.map_or(ReadLsn::LATEST, ReadLsn::at);
        let at = at.checked().map_err(|e| ServiceError::new(SqlState::INVALID_PARAMETER_VALUE, e.to_string()))?;
        let lsn = source.resolve(at)?;
        let rel = args.relation.with_fork(args.fork);
        let blocks = source.size(rel, ReadLsn::at(lsn))?;
        if args.block >= blocks {
            return Err(ServiceError::new(
                SqlState::INVALID_PARAMETER_VALUE,
                format!("{rel} has {blocks} blocks at {lsn}, so there is no block {}", args.block),
            ));
        }
        let mut page = Box::new([0; PAGE_SIZE]);
        source.page(rel, args.block, ReadLsn::at(lsn), &mut page)?;
        out.columns(&[Column::text("lsn"), Column::bytea("page")])?;
        out.row(&[Value::Text(&lsn.to_string()), Value::Bytea(&page[..])])?;
        Ok("PAGE".to_owned())
    }
}

impl Backend for Pageserver {
    fn timeline(&self, tenant: &str, timeline: &str) -> Result<Arc<dyn PageSource>, ServiceError> {
        Ok(Arc::new(self.source(tenant, timeline)?))
    }

    fn command(&self, command: &str, out: &mut dyn RowSink) -> Result<String, ServiceError> {
        let words = shlex::split(command)
            .ok_or_else(|| ServiceError::new(SqlState::SYNTAX_ERROR, "a quotation mark is not closed"))?;
        let first = words.first().map_or("", String::as_str).to_ascii_lowercase();
        if !COMMANDS.contains(&first.as_str()) {
            return Err(ServiceError::unknown_command(&first, &COMMANDS));
        }
        let words = std::iter::once(first).chain(words.into_iter().skip(1));
        let query = Query::try_parse_from(words).map_err(|error| usage_error(&error))?;
        match query.command {
            RemoteCommand::Attach(args) => attach::run(self, &args, out),
            RemoteCommand::Status => status::run(self, out),
            RemoteCommand::Page(args) => self.page(&args, out),
        }
    }
}

/// A command line that does not parse: its first line is the error, the rest says how to do it.
fn usage_error(error: &clap::Error) -> ServiceError {
    let text = error.to_string();
    let (first, rest) = text.split_once('\n').unwrap_or((&text, ""));
    let message = first.strip_prefix("error: ").unwrap_or(first);
    ServiceError::new(SqlState::SYNTAX_ERROR, message).with_hint(rest.trim())
}

/// A repository's error in the terms of the protocol.
pub fn repository_error(error: RepositoryError) -> ServiceError {
    let code = match &error {
        RepositoryError::NoTenant(_) | RepositoryError::NoTimeline(_) => SqlState::UNDEFINED_OBJECT,
        RepositoryError::Exists(_) => SqlState::DUPLICATE_OBJECT,
        RepositoryError::Name { .. } => SqlState::INVALID_PARAMETER_VALUE,
        RepositoryError::Io { .. } => SqlState::IO_ERROR,
        RepositoryError::Open { .. } | RepositoryError::Broken(_) => SqlState::DATA_CORRUPTED,
    };
    ServiceError::new(code, format!("{:#}", anyhow::Error::new(error)))
}

/// The position as text, for a row; nothing for no position.
pub fn lsn_text(lsn: Lsn) -> Option<String> {
    lsn.is_valid().then(|| lsn.to_string())
}
