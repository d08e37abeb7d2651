//! What the libpq port answers with: timelines for page streams, and the commands.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use clap::{CommandFactory, Parser};
use page_service::{Backend, Column, PageSource, ReadLsn, RowSink, ServiceError, SqlState, Value};
use pgdata::{Lsn, PAGE_SIZE};
use repository::{DEFAULT_TENANT, Id, Repository, RepositoryError, Timeline};
use walreceiver::StopHandle;

use crate::cli::{BasebackupQuery, PageArgs, Query, QueryCommand, RemoteCommand};
use crate::config::Config;
use crate::engines::ConfiguredEngines;
use crate::fatal::Fatal;
use crate::follow::{Follower, Source};
use crate::metrics::Metrics;
use crate::source::TimelineSource;
use crate::{attach, basebackup, pages, refollow, stats, status};

/// The words that a command can begin with.
pub const COMMANDS: [&str; 10] =
    ["attach", "follow", "status", "stats", "page", "pages", "basebackup", "pagestream_v2", "pagestream_v3", "help"];

/// The running server's state, shared by all connections.
pub struct Pageserver {
    pub config: Config,
    pub repository: Arc<Repository>,
    pub engines: ConfiguredEngines,
    pub metrics: Arc<Metrics>,
    followers: Mutex<BTreeMap<Id, Follower>>,
    /// Why timelines are not followed that should be.
    not_followed: Mutex<BTreeMap<Id, String>>,
    /// Held by the command `follow`.
    one_follow: Mutex<()>,
    stop: StopHandle,
    fatal: Fatal,
}

impl Pageserver {
    /// A server that ends by `fatal` if it must.
    pub fn new(
        config: Config,
        repository: Arc<Repository>,
        engines: ConfiguredEngines,
        metrics: Arc<Metrics>,
        fatal: Fatal,
    ) -> Self {
        let (followers, not_followed, one_follow) = (Mutex::default(), Mutex::default(), Mutex::default());
        Pageserver {
            config,
            repository,
            engines,
            metrics,
            followers,
            not_followed,
            one_follow,
            stop: StopHandle::new(),
            fatal,
        }
    }

    /// The receivers' threads, by timeline.
    pub fn followers(&self) -> MutexGuard<'_, BTreeMap<Id, Follower>> {
        self.followers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn not_followed(&self) -> MutexGuard<'_, BTreeMap<Id, String>> {
        self.not_followed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why a timeline is not followed, if something went wrong.
    pub fn why_not_followed(&self, timeline: Id) -> Option<String> {
        self.not_followed().get(&timeline).cloned()
    }

    /// What ends long work of the server when it stops.
    pub fn stop_handle(&self) -> &StopHandle {
        &self.stop
    }

    /// Starts to follow a timeline's primary.
    pub fn follow(&self, timeline: &Arc<Timeline>, source: &Source) -> anyhow::Result<()> {
        // Under the lock, so that a stop meanwhile finds the follower or keeps it from being.
        let mut followers = self.followers();
        if self.stop.is_stopped() {
            anyhow::bail!("the server is shutting down");
        }
        let follower = Follower::start(Arc::clone(timeline), source, &self.config.receiver, &self.fatal)?;
        followers.insert(timeline.id(), follower);
        self.not_followed().remove(&timeline.id());
        Ok(())
    }

    /// Follows a timeline's primary no longer, and waits until its receiver has ended.
    pub fn unfollow(&self, timeline: Id) {
        let follower = self.followers().remove(&timeline);
        drop(follower);
    }

    /// Keeps other commands `follow` out as long as the guard is held.
    pub fn one_follow(&self) -> MutexGuard<'_, ()> {
        self.one_follow.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Follows again whom the timelines followed before. One that cannot is served nevertheless, and shown with its error.
    pub fn follow_all(&self) {
        for timeline in self.repository.timelines() {
            let name = timeline.name();
            if timeline.fault().is_some() {
                tracing::error!(name, "this timeline takes no more WAL, so it follows nobody");
                continue;
            }
            let followed = Source::load(timeline.dir()).and_then(|source| match source {
                Some(source) => self.follow(&timeline, &source),
                None => {
                    tracing::warn!(name, "this timeline follows no primary");
                    Ok(())
                }
            });
            if let Err(error) = followed {
                let error = format!("{error:#}");
                tracing::error!(name, error, "cannot follow this timeline's primary");
                self.not_followed().insert(timeline.id(), error);
            }
        }
    }

    /// Ends all waits and attaches, and stops all receivers.
    pub fn stop(&self) {
        self.stop.stop();
        self.repository.shutdown();
        let followers = std::mem::take(&mut *self.followers());
        // All are told before the first is waited for.
        followers.values().for_each(Follower::stop);
        drop(followers);
    }

    fn source(&self, tenant: &str, timeline: &str) -> Result<TimelineSource, ServiceError> {
        let timeline = self.repository.timeline(tenant, timeline).map_err(repository_error)?;
        Ok(TimelineSource { timeline, wait: self.config.wait_timeout(), metrics: Arc::clone(&self.metrics) })
    }

    fn basebackup(&self, args: &BasebackupQuery, out: &mut dyn RowSink) -> Result<String, ServiceError> {
        let source = self.source(&args.tenant, &args.timeline)?;
        let at = if args.at == Lsn::MAX { ReadLsn::LATEST } else { ReadLsn::at(args.at) };
        let at = at.checked().map_err(|e| ServiceError::new(SqlState::INVALID_PARAMETER_VALUE, e.to_string()))?;
        let lsn = source.resolve(at)?;
        basebackup::run(source.timeline, lsn, args, out)
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
        if first == "help" {
            return help(out);
        }
        let words = std::iter::once(first).chain(words.into_iter().skip(1));
        let query = Query::try_parse_from(words).map_err(|error| usage_error(&error))?;
        match query.command {
            QueryCommand::Basebackup(args) => self.basebackup(&args, out),
            QueryCommand::Remote(RemoteCommand::Attach(args)) => attach::run(self, &args, out),
            QueryCommand::Remote(RemoteCommand::Follow(args)) => refollow::run(self, &args, out),
            QueryCommand::Remote(RemoteCommand::Status) => status::run(self, out),
            QueryCommand::Remote(RemoteCommand::Stats) => stats::run(self, out),
            QueryCommand::Remote(RemoteCommand::Page(args)) => self.page(&args, out),
            QueryCommand::Remote(RemoteCommand::Pages(args)) => {
                pages::run(&self.source(DEFAULT_TENANT, &args.timeline)?, &args, out)
            }
        }
    }
}

/// The commands, each with what it does: for those who have nothing but `psql`.
fn help(out: &mut dyn RowSink) -> Result<String, ServiceError> {
    out.columns(&[Column::text("command"), Column::text("what it does")])?;
    for command in Query::command().get_subcommands_mut() {
        let usage = command.render_usage().to_string();
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        out.row(&[usage.strip_prefix("Usage: ").unwrap_or(&usage).into(), about.as_str().into()])?;
    }
    out.row(&[
        "pagestream_v3 TENANT TIMELINE".into(),
        "Speak the page stream protocol from here on: for programs".into(),
    ])?;
    Ok("HELP".to_owned())
}

/// A command line that does not parse: the first paragraph is the error, the rest says how to do it.
fn usage_error(error: &clap::Error) -> ServiceError {
    let text = error.to_string();
    let (first, rest) = text.split_once("\n\n").unwrap_or((&text, ""));
    let words: Vec<&str> = first.strip_prefix("error: ").unwrap_or(first).split_whitespace().collect();
    let error = ServiceError::new(SqlState::SYNTAX_ERROR, words.join(" "));
    if rest.trim().is_empty() { error } else { error.with_hint(rest.trim()) }
}

/// An error with its causes, each said once: some name their cause in their own text.
pub fn with_causes(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |text, cause| match text.as_str() {
        "" => cause,
        said if said.ends_with(&cause) => text,
        said => format!("{said}: {cause}"),
    })
}

/// A repository's error in the terms of the protocol.
pub fn repository_error(error: RepositoryError) -> ServiceError {
    let code = match &error {
        RepositoryError::NoTenant(_) | RepositoryError::NoTimeline(_) => SqlState::UNDEFINED_OBJECT,
        RepositoryError::Exists(_) => SqlState::DUPLICATE_OBJECT,
        RepositoryError::Name { .. } => SqlState::INVALID_PARAMETER_VALUE,
        RepositoryError::Io { .. } => SqlState::IO_ERROR,
        RepositoryError::Open { .. } | RepositoryError::Broken(_) | RepositoryError::NamelessTenant { .. } => {
            SqlState::DATA_CORRUPTED
        }
    };
    ServiceError::new(code, with_causes(&anyhow::Error::new(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_usage_error_names_what_is_missing_in_its_first_line() {
        let error = Query::try_parse_from(["attach"]).expect_err("no name");
        let text = format!("{:?}", usage_error(&error));
        assert!(text.contains("not provided: --primary <CONNINFO> <NAME>"), "{text}");
        assert!(text.contains("Usage: attach"), "{text}");
    }

    #[test]
    fn a_cause_is_not_said_twice() {
        let twice = anyhow::anyhow!("refused").context("cannot connect: refused");
        assert_eq!(with_causes(&twice), "cannot connect: refused");
        assert_eq!(with_causes(&twice.context("attaching")), "attaching: cannot connect: refused");
    }
}
