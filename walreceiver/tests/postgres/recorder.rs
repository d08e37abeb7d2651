//! A receiver in a thread of its own, whose WAL the test can look at and wait for.

use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use pgdata::Lsn;
use walreceiver::{
    BoxError, Error, Outcome, Positions, Primary, ReceiverStatus, State, StatusSnapshot, StopHandle, StreamOptions,
    WalSink, stream,
};

/// A bound for a test that would hang, nothing that is measured.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Default)]
struct Recorded {
    wal: Vec<u8>,
    flushed: usize,
    flushes: usize,
}

struct Recorder {
    start: Lsn,
    shared: Arc<(Mutex<Recorded>, Condvar)>,
}

impl WalSink for Recorder {
    fn start_lsn(&self) -> Lsn {
        Lsn(self.start.0 + self.shared.0.lock().unwrap().wal.len() as u64)
    }

    fn write(&mut self, lsn: Lsn, wal: &[u8]) -> Result<(), BoxError> {
        assert_eq!(lsn, self.start_lsn(), "not contiguous");
        self.shared.0.lock().unwrap().wal.extend_from_slice(wal);
        Ok(())
    }

    fn flush(&mut self) -> Result<Positions, BoxError> {
        let mut recorded = self.shared.0.lock().unwrap();
        recorded.flushed = recorded.wal.len();
        recorded.flushes += 1;
        self.shared.1.notify_all();
        let flushed = Lsn(self.start.0 + recorded.flushed as u64);
        Ok(Positions { written: flushed, flushed, applied: self.start })
    }
}

pub struct Receiver {
    start: Lsn,
    shared: Arc<(Mutex<Recorded>, Condvar)>,
    pub stop: StopHandle,
    pub status: ReceiverStatus,
    thread: JoinHandle<Result<Outcome, Arc<Error>>>,
}

/// Options with short waits.
pub fn options(timeline: u32) -> StreamOptions {
    let mut options = StreamOptions::new(timeline);
    options.backoff_initial = Duration::from_millis(20);
    options.backoff_max = Duration::from_millis(200);
    options
}

impl Receiver {
    pub fn start(primary: Primary, options: StreamOptions, start: Lsn) -> Self {
        let shared = Arc::new((Mutex::new(Recorded::default()), Condvar::new()));
        let (stop, status) = (StopHandle::new(), ReceiverStatus::new());
        let mut sink = Recorder { start, shared: shared.clone() };
        let (inner_stop, inner_status) = (stop.clone(), status.clone());
        let thread = std::thread::spawn(move || stream(&primary, &options, &mut sink, &inner_stop, &inner_status));
        Receiver { start, shared, stop, status, thread }
    }

    /// Waits until everything before `end` is flushed.
    pub fn await_flushed(&self, end: Lsn) {
        let enough = (end.0 - self.start.0) as usize;
        let guard = self.shared.0.lock().unwrap();
        let (guard, timeout) =
            self.shared.1.wait_timeout_while(guard, PATIENCE, |recorded| recorded.flushed < enough).unwrap();
        let got = guard.flushed;
        drop(guard);
        assert!(!timeout.timed_out(), "{got} of {enough} bytes came: {:?}", self.status.snapshot());
    }

    /// Waits for a status.
    pub fn await_status(&self, is_right: impl Fn(&StatusSnapshot) -> bool) -> StatusSnapshot {
        let begin = Instant::now();
        loop {
            let status = self.status.snapshot();
            if is_right(&status) {
                return status;
            }
            assert!(begin.elapsed() < PATIENCE, "never as expected: {status:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn await_streaming(&self) {
        self.await_status(|status| matches!(status.state, State::Streaming));
    }

    pub fn wal(&self) -> Vec<u8> {
        self.shared.0.lock().unwrap().wal.clone()
    }

    pub fn end(self) -> Result<Outcome, Arc<Error>> {
        self.thread.join().unwrap()
    }

    /// Stops it and waits for the end.
    pub fn stop(self) {
        self.stop.stop();
        let status = self.status.clone();
        assert_eq!(self.end().unwrap(), Outcome::Stopped);
        assert!(matches!(status.snapshot().state, State::Stopped));
    }
}
