//! What is counted and measured while the server runs, and how Prometheus wants to read it.
//!
//! Counting costs an atomic addition or two and knows no Prometheus; [`text`] turns the numbers into its formats when it asks. What can
//! be had from where it lies (a timeline's LSNs, the memory of its index) is not counted here but asked for then, in [`crate::report`].

mod errors;
mod histogram;
mod lag;
mod port;
mod process;
mod redo;
mod text;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

pub use histogram::{Durations, Histogram};
pub use lag::LagClock;
pub use port::{Connections, Port};
pub use process::{Disk, Process};
pub use redo::{Measured, RedoWork};
pub use text::{Format, Source, encode};

/// Everything that is counted, shared by whoever counts.
#[derive(Debug)]
pub struct Metrics {
    /// When the server was started, by the calendar and by the clock.
    pub started: (SystemTime, Instant),
    /// The data directory, for what the file system says of it.
    pub data: PathBuf,
    /// The libpq port.
    pub port: Arc<Port>,
    /// How long reads waited for LSNs that had not arrived, whether they came or not. Those that did not wait are left out.
    pub waits: Histogram,
    /// Redo, by engine.
    pub redo: RedoWork,
}

impl Metrics {
    /// Nothing counted yet.
    pub fn new(data: PathBuf) -> Arc<Metrics> {
        Arc::new(Metrics {
            data,
            started: (SystemTime::now(), Instant::now()),
            port: Arc::default(),
            waits: Histogram::default(),
            redo: RedoWork::default(),
        })
    }
}
