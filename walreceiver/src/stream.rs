//! Streaming over as many connections as it takes.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use pgdata::Timelines;

use crate::backoff::{Backoff, random};
use crate::error::Error;
use crate::options::StreamOptions;
use crate::primary::Primary;
use crate::session::{Session, TimelineEnd};
use crate::sink::WalSink;
use crate::status::{ReceiverStatus, State, TimelineSwitch};
use crate::stop::StopHandle;
use crate::wire;

/// How [`stream`] ended without an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was asked to. What was received is flushed.
    Stopped,
    /// All WAL of the timeline was received and flushed; the server goes on with another one, and the sink does not.
    TimelineEnded(TimelineSwitch),
}

/// Streams WAL into `sink` until `stop` is stopped, a timeline ends with which the sink is content, or an error arises that another attempt would meet
/// again. After any other error it waits, connects anew and goes on at [`WalSink::start_lsn`]. `status` tells at any time what is going on.
///
/// Blocks the calling thread. The sink is called from it, and from nowhere else. A stop interrupts every wait for the network or for the next attempt at once,
/// but not a call of the sink.
///
/// # Errors
/// The first [`Error`] that is not [transient](Error::is_transient); the same is then in `status`.
pub fn stream(
    primary: &Primary,
    options: &StreamOptions,
    sink: &mut dyn WalSink,
    stop: &StopHandle,
    status: &ReceiverStatus,
) -> Result<Outcome, Arc<Error>> {
    let _guard = PanicGuard { status };
    match attempts(primary, options, sink, stop, status) {
        Ok(outcome) => {
            tracing::info!(?outcome, "streaming ended");
            status.leave_streaming(match outcome {
                Outcome::Stopped => State::Stopped,
                Outcome::TimelineEnded(switch) => State::TimelineSwitched(switch),
            });
            Ok(outcome)
        }
        Err(error) => {
            tracing::error!(%error, "streaming failed");
            let error = Arc::new(error);
            status.leave_streaming(State::Failed { error: error.clone() });
            Err(error)
        }
    }
}

fn attempts(
    primary: &Primary,
    options: &StreamOptions,
    sink: &mut dyn WalSink,
    stop: &StopHandle,
    status: &ReceiverStatus,
) -> Result<Outcome, Error> {
    let mut backoff = Backoff::new(options.backoff_initial, options.backoff_max);
    let mut timelines = options.timelines.clone();
    loop {
        status.leave_streaming(State::Connecting);
        status.update(|status| status.timeline = timelines.last());
        let before = status.snapshot().bytes;
        let error = match attempt(primary, options, &timelines, sink, stop, status) {
            Err(Error::Stopped) => return Ok(Outcome::Stopped),
            Err(error) if error.is_transient() => error,
            Err(error) => return Err(error),
            Ok((TimelineEnd { switch, .. }, false)) => return Ok(Outcome::TimelineEnded(switch)),
            Ok((end, true)) => {
                timelines = end.timelines;
                backoff.reset();
                continue;
            }
        };
        if status.snapshot().bytes > before {
            backoff.reset();
        }
        let wait = backoff.fail(random());
        tracing::warn!(%error, ?wait, failures = backoff.failures(), "streaming interrupted");
        let until = SystemTime::now() + wait;
        status.leave_streaming(State::Backoff { until, failures: backoff.failures(), error: Arc::new(error) });
        if pause(wait, stop)? {
            return Ok(Outcome::Stopped);
        }
    }
}

/// Streams a timeline to its end; whether the sink goes on with the next one.
fn attempt(
    primary: &Primary,
    options: &StreamOptions,
    timelines: &Timelines,
    sink: &mut dyn WalSink,
    stop: &StopHandle,
    status: &ReceiverStatus,
) -> Result<(TimelineEnd, bool), Error> {
    let end = Session::start(primary, options, timelines, sink, stop, status)?.run()?;
    let goes_on = sink.timeline_ended(&end.switch, &end.history).map_err(Error::Sink)?;
    Ok((end, goes_on))
}

/// Waits; whether it was stopped meanwhile.
fn pause(wait: Duration, stop: &StopHandle) -> Result<bool, Error> {
    let nothing = std::future::pending::<Result<(), Error>>();
    match wire::run(&wire::event_loop()?, stop, "waiting", Some(wait), nothing) {
        Err(Error::Stopped) => Ok(true),
        _ => Ok(false),
    }
}

/// Makes a panic visible in the status.
struct PanicGuard<'a> {
    status: &'a ReceiverStatus,
}

impl Drop for PanicGuard<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.status.leave_streaming(State::Failed { error: Arc::new(Error::Panicked) });
        }
    }
}
