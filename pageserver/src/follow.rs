//! Following a primary: a thread that receives its WAL into a timeline.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result};
use pgdata::Lsn;
use pgdata::wal::WAL_PAGE_SIZE;
use repository::{Id, IngestError, Progress, Timeline};
use serde::{Deserialize, Serialize};
use walreceiver::{
    BoxError, Outcome, Passing, Positions, Primary, ReceiverStatus, SlotName, State, StopHandle, StreamOptions,
    TimelineHistory, TimelineSwitch, WalSink,
};

use crate::config::ReceiverConfig;
use crate::fatal::Fatal;
use crate::metrics::LagClock;

/// How much of the WAL before what is new a server has to show at each connection.
const COMPARED: u64 = 64 << 10;
/// The file in a timeline's directory that says whom it follows.
const FILE_NAME: &str = "primary.json";

/// Whom a timeline follows.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// The connection string, with its password if it has one.
    pub conninfo: String,
    /// The replication slot on the primary.
    pub slot: String,
}

impl Source {
    /// Keeps it in a timeline's directory, readable by this user alone.
    pub fn save(&self, dir: &Path) -> Result<()> {
        let path = dir.join(FILE_NAME);
        let temporary = path.with_extension("tmp");
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)
            .with_context(|| format!("cannot write {}", temporary.display()))?;
        let written = file.write_all(&serde_json::to_vec(self)?).and_then(|()| file.sync_all());
        written.with_context(|| format!("cannot write {}", temporary.display()))?;
        fs::rename(&temporary, &path).with_context(|| format!("cannot write {}", path.display()))?;
        fs::File::open(dir)?.sync_all()?;
        Ok(())
    }

    /// Reads it again. `None` if the timeline follows nobody.
    pub fn load(dir: &Path) -> Result<Option<Source>> {
        let path = dir.join(FILE_NAME);
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes).with_context(|| format!("in {}", path.display()))?)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// The server, as the receiver wants it. A name in the connection string wins over the one of the configuration: it is the closer one.
    pub fn primary(&self, config: &ReceiverConfig) -> Result<Primary> {
        Ok(Primary::parse(&self.conninfo)?.with_default_application_name(&config.application_name))
    }
}

/// The slot's name unless told otherwise.
pub fn default_slot(timeline: Id) -> String {
    format!("pageserver_{:.12}", timeline.to_string())
}

/// What a timeline wants of the server that it follows.
pub fn options(timeline: &Timeline, source: &Source, config: &ReceiverConfig) -> Result<StreamOptions> {
    let info = timeline.info();
    let mut options = StreamOptions::new(timeline.pg_timelines());
    options.slot = Some(SlotName::new(source.slot.as_str())?);
    options.system_id = Some(info.system_id);
    options.version = Some(info.version);
    options.status_interval = Duration::from_secs_f64(config.status_interval_seconds);
    options.receiver_timeout = Duration::from_secs_f64(config.timeout_seconds);
    Ok(options)
}

/// The thread that receives one timeline's WAL. Dropping it stops it.
pub struct Follower {
    status: ReceiverStatus,
    lag: SharedLagClock,
    started: SystemTime,
    stop: StopHandle,
    thread: Option<JoinHandle<()>>,
}

#[derive(Clone)]
struct SharedLagClock(Arc<Mutex<LagClock>>);

impl SharedLagClock {
    fn lock(&self) -> MutexGuard<'_, LagClock> {
        // A panic elsewhere leaves at worst a moment out.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Follower {
    /// Starts to follow. What the server cannot survive goes to `fatal`.
    pub fn start(timeline: Arc<Timeline>, source: &Source, config: &ReceiverConfig, fatal: &Fatal) -> Result<Follower> {
        let (primary, options) = (source.primary(config)?, options(&timeline, source, config)?);
        let (status, stop) = (ReceiverStatus::new(), StopHandle::new());
        let lag = SharedLagClock(Arc::new(Mutex::new(LagClock::new(timeline.last_record_lsn()))));
        let (thread_status, thread_lag, thread_stop, fatal) =
            (status.clone(), lag.clone(), stop.clone(), fatal.clone());
        let thread = std::thread::Builder::new()
            .name(format!("follow {}", timeline.name()))
            .spawn(move || {
                let mut sink =
                    TimelineSink { timeline: &timeline, status: &thread_status, lag: &thread_lag, fatal: &fatal };
                follow(&mut sink, &primary, &options, &thread_stop);
            })
            .context("cannot start the receiver's thread")?;
        Ok(Follower { status, lag, started: SystemTime::now(), stop, thread: Some(thread) })
    }

    /// What the receiver is doing.
    pub fn status(&self) -> walreceiver::StatusSnapshot {
        self.status.snapshot()
    }

    /// The same, to be watched.
    pub fn watch(&self) -> ReceiverStatus {
        self.status.clone()
    }

    /// The time since the primary's WAL was last known to end at `applied`, where the timeline is now. While nothing is heard from the
    /// primary, at least the time since it was heard from.
    pub fn lag(&self, applied: Lsn) -> Duration {
        let status = self.status();
        let mut clock = self.lag.lock();
        clock.applied(applied);
        if status.server_end.is_valid() {
            clock.heard(status.server_end, Instant::now());
        }
        let known = clock.lag(Instant::now());
        if matches!(status.state, State::Streaming) && !self.is_dead() {
            return known;
        }
        let heard = status.last_message.unwrap_or(self.started);
        known.max(SystemTime::now().duration_since(heard).unwrap_or_default())
    }

    /// Asks the thread to end, without waiting for it.
    pub fn stop(&self) {
        self.stop.stop();
    }

    /// Whether the thread has come to an end by a panic: then the status says nothing.
    pub fn is_dead(&self) -> bool {
        self.thread.as_ref().is_some_and(JoinHandle::is_finished)
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.stop.stop();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("a receiver's thread has panicked");
        }
    }
}

fn follow(sink: &mut TimelineSink<'_>, primary: &Primary, options: &StreamOptions, stop: &StopHandle) {
    let (name, status) = (sink.timeline.name(), sink.status);
    match walreceiver::stream(primary, options, sink, stop, status) {
        // A timeline's end is no end: the sink goes on with the next one.
        Ok(Outcome::Stopped | Outcome::TimelineEnded(_)) => tracing::info!(name, "no longer following the primary"),
        Err(error) => tracing::error!(
            name,
            %error,
            "stopped following the primary; what was received stays readable; cure the cause and run: pageserver follow {name}"
        ),
    }
}

/// Hands WAL on to the timeline.
struct TimelineSink<'a> {
    timeline: &'a Timeline,
    status: &'a ReceiverStatus,
    lag: &'a SharedLagClock,
    fatal: &'a Fatal,
}

impl TimelineSink<'_> {
    fn positions(&self, progress: Result<Progress, IngestError>) -> Result<Positions, BoxError> {
        let progress = progress.map_err(|error| self.judge(error))?;
        self.lag.lock().applied(progress.applied);
        Ok(Positions { written: progress.written, flushed: progress.flushed, applied: progress.applied })
    }

    /// What the error means: for the receiver, and for the server.
    fn judge(&self, error: IngestError) -> BoxError {
        if error.must_end() {
            self.fatal.tell(format!("what timeline {} has received may not be on disk: {error}", self.timeline.name()));
        }
        if error.may_pass() { Box::new(Passing(error.into())) } else { error.into() }
    }
}

impl WalSink for TimelineSink<'_> {
    fn start_lsn(&self) -> Lsn {
        self.timeline.ingest().resume_lsn()
    }

    fn compare_from(&self) -> Lsn {
        let (size, start) = (self.timeline.info().segment_size, self.start_lsn());
        // The server has the segment that it is to go on in from its start on.
        let segment = Lsn(start.0 - u64::from(size.offset_of(start)));
        let some = Lsn(start.0.saturating_sub(COMPARED) / WAL_PAGE_SIZE as u64 * WAL_PAGE_SIZE as u64);
        some.max(segment)
    }

    fn compare(&mut self, lsn: Lsn, wal: &[u8]) -> Result<Option<Lsn>, BoxError> {
        let mut ours = vec![0; wal.len()];
        if !self.timeline.read_wal(lsn, &mut ours)? {
            return Ok(None);
        }
        let differs = ours.iter().zip(wal).position(|(ours, theirs)| ours != theirs);
        Ok(differs.map(|at| Lsn(lsn.0 + at as u64)))
    }

    fn write(&mut self, lsn: Lsn, wal: &[u8]) -> Result<(), BoxError> {
        let end = self.status.snapshot().server_end;
        if end.is_valid() {
            self.lag.lock().heard(end, Instant::now());
        }
        self.timeline.ingest().write(lsn, wal).map_err(|error| self.judge(error))
    }

    fn flush(&mut self) -> Result<Positions, BoxError> {
        let progress = self.timeline.ingest().flush();
        self.positions(progress)
    }

    fn begin_flush(&mut self) -> Result<Positions, BoxError> {
        let progress = self.timeline.ingest().begin_flush();
        self.positions(progress)
    }

    fn timeline_ended(&mut self, switch: &TimelineSwitch, history: &TimelineHistory) -> Result<bool, BoxError> {
        let switched = self.timeline.ingest().switch_timeline(switch.next_timeline, &history.content);
        switched.map_err(|error| self.judge(error))?;
        tracing::warn!(
            name = self.timeline.name(),
            timeline = switch.timeline,
            next = switch.next_timeline,
            at = %switch.switch_lsn,
            "there was a failover: the server followed is on another timeline now, and is followed there"
        );
        Ok(true)
    }
}
