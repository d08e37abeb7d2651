//! `follow`: a timeline follows another server of its history from now on, or the same one again.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use page_service::{Column, RowSink, ServiceError};
use pgdata::Lsn;
use repository::{DEFAULT_TENANT, Timeline};
use walreceiver::{Prepared, SlotName, SlotState, State, StatusSnapshot};

use crate::attach::attach_error;
use crate::backend::{Pageserver, repository_error};
use crate::cleanup;
use crate::cli::FollowArgs;
use crate::follow::{self, Source};

/// The columns of the answer: the server, PostgreSQL's timeline on which it is, and what else is to be said.
const COLUMNS: [Column<'static>; 3] = [Column::text("server"), Column::int8("pg_timeline"), Column::text("notice")];

/// Runs the command.
pub fn run(server: &Pageserver, args: &FollowArgs, out: &mut dyn RowSink) -> Result<String, ServiceError> {
    let timeline = server.repository.timeline(DEFAULT_TENANT, &args.timeline).map_err(repository_error)?;
    // One at a time: what they do to a timeline's receiver would otherwise cross.
    let _one = server.one_follow();
    let (found, notice) = refollow(server, &timeline, args).map_err(|error| attach_error(&error))?;
    out.columns(&COLUMNS)?;
    out.row(&[found.host.as_str().into(), i64::from(found.timeline).into(), notice.as_str().into()])?;
    Ok("FOLLOW".to_owned())
}

fn refollow(server: &Pageserver, timeline: &Arc<Timeline>, args: &FollowArgs) -> Result<(Prepared, String)> {
    if let Some(fault) = timeline.fault() {
        bail!("the timeline takes no more WAL, so it can follow nobody: {fault}");
    }
    let old = match Source::load(timeline.dir()) {
        // What is not readable is written anew, if it is known what.
        Err(error) if args.primary.is_none() => return Err(error),
        loaded => loaded.unwrap_or_default(),
    };
    let new = new_source(timeline, old.as_ref(), args)?;
    let config = &server.config.receiver;
    let (primary, options) = (new.primary(config)?, follow::options(timeline, &new, config)?);
    let held = timeline.ingest().resume_lsn();
    let found = walreceiver::prepare(&primary, &options, held, server.stop_handle())?;

    server.unfollow(timeline.id());
    let before = timeline.ingest().resume_lsn();
    // Before anything of the new server is taken: a restart must not go back to the old one then.
    let begun = new.save(timeline.dir()).and_then(|()| server.follow(timeline, &new));
    let begun = begun.and_then(|()| await_wal(server, timeline, before));
    match begun {
        Ok(state) => Ok((found, notice(timeline, old.as_ref(), &new, &state))),
        Err(error) => {
            server.unfollow(timeline.id());
            // Nothing of the new server's has been taken: the old one is still right.
            if let Some(old) = old.filter(|_| timeline.ingest().resume_lsn() == before) {
                give_up(server, timeline, (&old, &new), found.slot)?;
            }
            Err(error)
        }
    }
}

/// What is not said stays as it was.
fn new_source(timeline: &Timeline, old: Option<&Source>, args: &FollowArgs) -> Result<Source> {
    let conninfo = args.primary.clone().or_else(|| old.map(|old| old.conninfo.clone()));
    let conninfo = conninfo.context("the timeline follows nobody yet: say whom with --primary CONNINFO")?;
    let slot = args.slot.clone().or_else(|| old.map(|old| old.slot.clone()));
    Ok(Source { conninfo, slot: slot.unwrap_or_else(|| follow::default_slot(timeline.id())) })
}

/// Waits until WAL from `held` on comes, or there is none to come. What may pass by itself is not waited for longer than a silent server would be.
fn await_wal(server: &Pageserver, timeline: &Timeline, held: Lsn) -> Result<StatusSnapshot> {
    let watch = server.followers().get(&timeline.id()).map(|follower| follower.watch());
    let watch = watch.context("the server is shutting down")?;
    let limit = Duration::from_secs_f64(server.config.receiver.timeout_seconds);
    let now = watch.wait_until(limit, |now| match now.state {
        State::Streaming => now.received > held || now.server_end <= held,
        State::Failed { .. } | State::Stopped => true,
        _ => false,
    });
    match &now.state {
        State::Failed { error } => Err(anyhow!(Arc::clone(error))),
        State::Stopped => bail!("the server is shutting down"),
        _ => Ok(now),
    }
}

/// Goes back to the server that was followed before, and leaves no slot behind on the new one.
fn give_up(
    server: &Pageserver,
    timeline: &Arc<Timeline>,
    (old, new): (&Source, &Source),
    slot: Option<SlotState>,
) -> Result<()> {
    let saved = old.save(timeline.dir());
    if slot == Some(SlotState::Made) {
        let dropped = new
            .primary(&server.config.receiver)
            .and_then(|primary| Ok(cleanup::drop_slot(&primary, &SlotName::new(new.slot.as_str())?)?));
        if let Err(error) = dropped {
            tracing::error!(
                slot = new.slot,
                error = format!("{error:#}"),
                "drop this replication slot: it was made in vain"
            );
        }
    }
    server.follow(timeline, old)?;
    saved
}

fn notice(timeline: &Timeline, old: Option<&Source>, new: &Source, now: &StatusSnapshot) -> String {
    let mut notices = Vec::new();
    if let Some(old) = old.filter(|old| old.conninfo != new.conninfo || old.slot != new.slot) {
        notices.push(format!(
            "the replication slot {} on the server followed before holds back WAL there: drop it, if that server lives on",
            old.slot
        ));
    }
    if !matches!(now.state, State::Streaming) {
        let state = match &now.state {
            State::Backoff { error, .. } => error.to_string(),
            _ => "it has not answered yet".to_owned(),
        };
        notices.push(format!("no WAL has come yet, and it is tried again ({state})"));
    }
    tracing::info!(
        name = timeline.name(),
        slot = new.slot,
        notices = notices.join("; "),
        "follows the server that it was told to"
    );
    notices.join("; ")
}
