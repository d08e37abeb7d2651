//! `bench ingest`: WAL from files into a new timeline.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use pgdata::{Lsn, PgVersion};
use repository::{Engines, Options, Repository, Timeline};
use walreceiver::StreamOptions;
use walredo::{PostgresRedo, Redo, Routed};

use super::backup::TarBackup;
use super::report::{Figure, Report};
use super::segments::Segments;

/// What is written between two flushes, as the receiver has it at full speed.
const FLUSH_BYTES: u64 = StreamOptions::FLUSH_BYTES;

#[derive(Args, Debug)]
pub struct IngestArgs {
    /// A base backup: the directory that pg_basebackup --format=tar has made.
    #[arg(long, value_name = "DIR")]
    pub backup: PathBuf,
    /// WAL segments from that backup on, as in a cluster's pg_wal.
    #[arg(long, value_name = "DIR")]
    pub wal: PathBuf,
    /// Where timelines are made meanwhile; they are removed again [default: the system's directory for temporary files].
    #[arg(long, value_name = "DIR")]
    pub scratch: Option<PathBuf>,
    /// Turns of each measurement.
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub rounds: usize,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// Timelines that nobody reads need no engine.
struct NoEngine;

impl Engines for NoEngine {
    fn engine(&self, _: PgVersion, _: &[u8]) -> Result<Arc<dyn Redo>, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Arc::new(Routed::new(None::<PostgresRedo>)))
    }
}

/// Measures taking the WAL up, next to only reading it.
pub fn run(args: &IngestArgs) -> Result<()> {
    ensure!(args.rounds > 0, "--rounds must be at least 1");
    let backup = TarBackup::open(&args.backup)?;
    let wal = Segments::open(&args.wal, backup.info)?;
    let (mut ours, mut floor, mut records) = (Speeds::default(), Speeds::default(), Speeds::default());
    let mut kept = Speeds::default();
    let mut status = None;
    let (_, mut last) = in_scratch(args.scratch.as_deref(), |dir| ingest(dir, &backup, &wal, None))?;
    for _ in 0..args.rounds {
        let (speed, timeline) = in_scratch(args.scratch.as_deref(), |dir| ingest(dir, &backup, &wal, Some(last)))?;
        ours.push(speed);
        status = Some(timeline.status());
        last = timeline;
        floor.push(Speed::of(&wal, || wal.checksum().map(drop))?);
        records.push(Speed::of(&wal, || wal.decode().map(drop))?);
        kept.push(in_scratch(args.scratch.as_deref(), |dir| Speed::of(&wal, || wal.write(dir)))?);
    }
    let status = status.context("nothing was measured")?;
    let method = vec![
        format!(
            "{:.0} MB of WAL, {} to {}: {} changes of {} pages.",
            wal.megabytes(),
            wal.start(),
            wal.end(),
            status.versions,
            status.pages
        ),
        format!(
            "{} turns of each, alternating; medians. One turn before them does not count: so the files are in the operating system's memory, and \
             this process has the memory that it needs, as a server has that runs for a while: each turn uses that of the one before.",
            args.rounds
        ),
        format!(
            "Ours: read, append to the WAL log and fsync (begun every {} MiB, ended before the next), check, interpret, index, make visible; by four threads, \
             one of which only waits for the disk.",
            FLUSH_BYTES >> 20
        ),
        "Images of pages are made in the background when all of it is taken up; they are not in these figures.".to_owned(),
        "Floors: reading the files with a CRC-32C over all bytes; reading the records and checking the CRC of each; reading the files and writing them again, \
         each made durable while the next one is written."
            .to_owned(),
    ];
    let figures = [("read + CRC of all bytes", &floor), ("read + check records", &records)].into_iter().flat_map(
        |(name, floor)| {
            [
                Figure::paired("ingest", "MB/s", name, &ours.wall, &floor.wall),
                Figure::paired("ingest, processor time alone", "MB/s", name, &ours.processor, &floor.processor),
            ]
        },
    );
    let keep = Figure::paired("ingest", "MB/s", "read + write + fsync", &ours.wall, &kept.wall);
    let figures = figures.chain([keep]).collect();
    Report { method, figures }.print(args.json)
}

/// Works in a temporary directory, which is gone afterwards.
pub fn in_scratch<T>(parent: Option<&Path>, work: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
    let parent = parent.map_or_else(std::env::temp_dir, Path::to_owned);
    let dir = tempfile::Builder::new().prefix("pageserver-bench-").tempdir_in(&parent);
    let dir = dir.with_context(|| format!("cannot make a directory in {}", parent.display()))?;
    let result = work(dir.path());
    dir.close()?;
    result
}

/// A new timeline with all of the WAL; how fast that went, without the base backup.
///
/// The timeline of the turn before is let go just before the time is taken: its memory is used again, as that of the oldest WAL is in a server that
/// runs. Some moments later the allocator would have given it back to the operating system, and to get it again takes as long as all decoding.
fn ingest(
    dir: &Path,
    backup: &TarBackup,
    wal: &Segments,
    before: Option<Arc<Timeline>>,
) -> Result<(Speed, Arc<Timeline>)> {
    let repository = Repository::open(dir, Box::new(NoEngine), Options::default())?;
    let timeline = backup.attach(&repository)?;
    drop(before);
    let speed = Speed::of(wal, || take_up(&timeline, wal))?;
    Ok((speed, timeline))
}

/// Gives a timeline all of the WAL, in the steps in which a receiver does.
pub fn take_up(timeline: &Timeline, wal: &Segments) -> Result<()> {
    let mut ingest = timeline.ingest();
    let mut flushed = wal.start();
    ensure!(ingest.resume_lsn() == flushed, "the timeline begins at {}, not at {flushed}", ingest.resume_lsn());
    wal.each_piece(|at, piece| {
        ingest.write(at, piece)?;
        let end = Lsn(at.0 + piece.len() as u64);
        if end.0 / FLUSH_BYTES != flushed.0 / FLUSH_BYTES {
            ingest.begin_flush()?;
            flushed = end;
        }
        Ok(())
    })?;
    let progress = ingest.flush()?;
    ensure!(progress.applied == wal.end(), "ingest came to {}, not to {}", progress.applied, wal.end());
    Ok(())
}

/// Millions of bytes a second: by the clock, and by the time that processors worked for it, which neither a slow disk nor other work on
/// the machine makes longer.
#[derive(Clone, Copy)]
struct Speed {
    wall: f64,
    processor: f64,
}

impl Speed {
    fn of(wal: &Segments, work: impl FnOnce() -> Result<()>) -> Result<Speed> {
        let (start, worked) = (Instant::now(), processor_time());
        work()?;
        let per_second = |time: Duration| wal.megabytes() / time.as_secs_f64();
        Ok(Speed { wall: per_second(start.elapsed()), processor: per_second(processor_time() - worked) })
    }
}

/// The speeds of all turns.
#[derive(Default)]
struct Speeds {
    wall: Vec<f64>,
    processor: Vec<f64>,
}

impl Speeds {
    fn push(&mut self, speed: Speed) {
        self.wall.push(speed.wall);
        self.processor.push(speed.processor);
    }
}

/// How long this process has run on processors: all its threads, those that have ended included.
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}
