//! `attach`: a base backup of a running primary becomes a timeline that follows it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use page_service::{Column, RowSink, ServiceError, SqlState, Value};
use pgdata::wal::SegmentSize;
use repository::{Attach, Reservation, Timeline, TimelineInfo};
use walreceiver::{
    BackupEnd, BackupOptions, BackupSink, BackupStart, BoxError, Connection, Primary, SlotName, State, StopHandle,
};

use crate::backend::{Pageserver, repository_error, with_causes};
use crate::cleanup;
use crate::cli::AttachArgs;
use crate::follow::{self, Source};

/// Progress goes out at most this often.
const REPORT_INTERVAL: Duration = Duration::from_millis(100);

/// The columns of the progress rows: the phase, how much of it is done, and how much it is.
pub const COLUMNS: [Column<'static>; 3] = [Column::text("phase"), Column::int8("done"), Column::int8("total")];
/// The phase of waiting for the primary's checkpoint.
pub const CHECKPOINT: &str = "checkpoint";
/// The phase of copying files, in bytes.
pub const COPY: &str = "copy";
/// The phase of catching up with the WAL written during the copy, in bytes.
pub const CATCH_UP: &str = "catch up";
/// The end: reads are possible.
pub const READY: &str = "ready";

/// Runs the command; rows of progress go to `out`.
pub fn run(server: &Pageserver, args: &AttachArgs, out: &mut dyn RowSink) -> Result<String, ServiceError> {
    let reservation = server.repository.reserve(&args.name).map_err(repository_error)?;
    let slot = args.slot.clone().unwrap_or_else(|| follow::default_slot(reservation.id()));
    let source = Source { conninfo: args.primary.clone(), slot };
    out.columns(&COLUMNS)?;
    attach(server, reservation, &source, out).map_err(|error| attach_error(&error))?;
    Ok("ATTACH".to_owned())
}

/// An error of a server that was to be followed, in the terms of the protocol.
pub fn attach_error(error: &anyhow::Error) -> ServiceError {
    let shared = error.downcast_ref::<std::sync::Arc<walreceiver::Error>>().map(|error| &**error);
    let code = match error.downcast_ref::<walreceiver::Error>().or(shared) {
        Some(walreceiver::Error::Config(_) | walreceiver::Error::SlotName(_)) => SqlState::INVALID_PARAMETER_VALUE,
        Some(_) => SqlState::CONNECTION_FAILURE,
        None => SqlState::INTERNAL_ERROR,
    };
    ServiceError::new(code, with_causes(error))
}

fn attach(server: &Pageserver, reservation: Reservation, source: &Source, out: &mut dyn RowSink) -> Result<()> {
    let primary = source.primary(&server.config.receiver)?;
    let slot = SlotName::new(source.slot.as_str())?;
    let stop = server.stop_handle();
    let mut connection = Connection::connect(&primary, stop)?;
    // Somebody else's: it must not be written down as one to be dropped if this comes to nothing.
    if connection.read_slot(&slot)?.is_some() {
        return Err(walreceiver::Error::SlotExists { slot: source.slot.clone() }.into());
    }
    out.row(&[CHECKPOINT.into(), Value::Null, Value::Null])?;
    let dir = reservation.make_dir()?;
    // Before anything is made on the primary, so that a crash leaves a trace of what to clean up there.
    source.save(&dir)?;
    let copied = match connection.create_slot(&slot) {
        // Refused, so there is no slot.
        Err(error) if !error.is_transient() && !stop.is_stopped() => return Err(error.into()),
        Err(error) => {
            drop(reservation);
            Err(error.into())
        }
        Ok(()) => {
            connection.close();
            copy(&primary, reservation, out, stop)
        }
    };
    let timeline = copied.inspect_err(|_| cleanup::undo(&dir, source, &server.config.receiver))?;
    server
        .follow(&timeline, source)
        .context("the copy is complete, and its primary is followed after the next start")?;
    catch_up(server, &timeline, out)?;
    out.row(&[READY.into(), Value::Null, Value::Null])?;
    Ok(())
}

fn copy(
    primary: &Primary,
    reservation: Reservation,
    out: &mut dyn RowSink,
    stop: &StopHandle,
) -> Result<std::sync::Arc<Timeline>> {
    let mut sink = Sink { reservation: Some(reservation), attach: None, out, reported: Instant::now() };
    let (start, end) = walreceiver::base_backup(primary, &BackupOptions::default(), &mut sink, stop)?;
    let mut attach = sink.attach.take().ok_or_else(|| anyhow!("the backup ended before it began"))?;
    if let Some(history) = history_of(primary, start.timeline, stop)? {
        attach.history_file(&history)?;
    }
    Ok(attach.finish(end.end_lsn)?)
}

/// The history file of the primary's timeline, which clones are to have: their standbys ask for it. The first timeline has none, and a
/// primary that was restored without it does well without it.
fn history_of(primary: &Primary, timeline: u32, stop: &StopHandle) -> Result<Option<Vec<u8>>> {
    if timeline == 1 {
        return Ok(None);
    }
    let mut connection = Connection::connect(primary, stop)?;
    let history = match connection.timeline_history(timeline) {
        Ok(history) => Some(history.content),
        Err(error @ walreceiver::Error::Server { .. }) => {
            tracing::warn!(timeline, %error, "the primary has no history of its timeline, so that clones will not have it either");
            None
        }
        Err(error) => return Err(error.into()),
    };
    connection.close();
    Ok(history)
}

/// Waits until the WAL that makes the copy consistent is there, which takes as long as the copy's changes take to arrive.
fn catch_up(server: &Pageserver, timeline: &Timeline, out: &mut dyn RowSink) -> Result<()> {
    let (start, target) = (timeline.info().start_lsn, timeline.consistent_lsn());
    loop {
        let arrived = timeline.wait_for(target, REPORT_INTERVAL);
        let done = timeline.last_record_lsn().min(target).bytes_since(start);
        out.row(&[CATCH_UP.into(), (done as i64).into(), (target.bytes_since(start) as i64).into()])?;
        match arrived {
            Ok(()) => return Ok(()),
            Err(repository::ReadError::Timeout { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        let state = server.followers().get(&timeline.id()).map(|follower| follower.status().state);
        let error = match state {
            Some(State::Failed { error }) => anyhow!(error),
            Some(State::Stopped) => anyhow!("the server is shutting down"),
            _ => continue,
        };
        return Err(error.context("the copy is complete, but its WAL does not arrive"));
    }
}

/// Hands the backup on to the repository, and its progress to the client.
struct Sink<'a> {
    reservation: Option<Reservation>,
    attach: Option<Attach>,
    out: &'a mut dyn RowSink,
    reported: Instant,
}

impl Sink<'_> {
    fn attach(&mut self) -> Result<&mut Attach, BoxError> {
        self.attach.as_mut().ok_or_else(|| "a file came before the backup began".into())
    }
}

impl BackupSink for Sink<'_> {
    fn begin(&mut self, start: &BackupStart) -> Result<(), BoxError> {
        let reservation = self.reservation.take().ok_or("the backup began twice")?;
        let info = TimelineInfo {
            version: start.version,
            system_id: start.system_id,
            segment_size: SegmentSize::new(start.segment_size)?,
            pg_timeline: start.timeline,
            start_lsn: start.start_lsn,
        };
        self.attach = Some(reservation.attach(info)?);
        Ok(())
    }

    fn directory(&mut self, _path: &str) -> Result<(), BoxError> {
        Ok(())
    }

    fn link(&mut self, path: &str, target: &str) -> Result<(), BoxError> {
        Ok(self.attach()?.link(path, target)?)
    }

    fn file_begin(&mut self, path: &str, size: u64) -> Result<(), BoxError> {
        Ok(self.attach()?.file_begin(path, size)?)
    }

    fn file_data(&mut self, data: &[u8]) -> Result<(), BoxError> {
        Ok(self.attach()?.file_data(data)?)
    }

    fn file_end(&mut self) -> Result<(), BoxError> {
        self.attach()?.file_end()?;
        Ok(())
    }

    fn progress(&mut self, bytes_done: u64, bytes_total: u64) {
        if self.reported.elapsed() < REPORT_INTERVAL && bytes_done < bytes_total {
            return;
        }
        self.reported = Instant::now();
        let total = bytes_total.max(bytes_done);
        // A client that is gone shows at the next row that must arrive; the copy itself goes on.
        let _ = self.out.row(&[COPY.into(), (bytes_done as i64).into(), (total as i64).into()]);
    }

    fn end(&mut self, _end: &BackupEnd) -> Result<(), BoxError> {
        Ok(())
    }
}
