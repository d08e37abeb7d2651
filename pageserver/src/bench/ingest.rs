//! `bench ingest`: WAL from files into a new timeline.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Args;
use pgdata::{Lsn, PgVersion};
use repository::{Engines, Options, Repository, Timeline};
use walredo::{PostgresRedo, Redo, Routed};

use super::backup::TarBackup;
use super::report::{Figure, Report};
use super::segments::Segments;

/// What is written between two flushes, as the receiver has it at full speed.
const FLUSH_BYTES: u64 = 4 << 20;

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
    let (mut ours, mut floor, mut records) = (Vec::new(), Vec::new(), Vec::new());
    let mut status = None;
    for _ in 0..args.rounds {
        let (speed, timeline) = in_scratch(args, |dir| ingest(dir, &backup, &wal))?;
        ours.push(speed);
        status = Some(timeline.status());
        floor.push(speed_of(&wal, || wal.checksum().map(drop))?);
        records.push(speed_of(&wal, || wal.decode().map(drop))?);
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
            "{} turns of each, alternating; medians. The files were read before, so that they are in the operating system's memory.",
            args.rounds
        ),
        format!(
            "Ours: read, append to the WAL log and fsync (every {} MiB), check, interpret, index, make visible.",
            FLUSH_BYTES >> 20
        ),
        "Floors: reading the files with a CRC-32C over all bytes; reading the records and checking the CRC of each."
            .to_owned(),
    ];
    let figures = vec![
        Figure::paired("ingest", "MB/s", "read + CRC of all bytes", &ours, &floor),
        Figure::paired("ingest", "MB/s", "read + check records", &ours, &records),
    ];
    Report { method, figures }.print(args.json)
}

fn in_scratch<T>(args: &IngestArgs, work: impl FnOnce(&std::path::Path) -> Result<T>) -> Result<T> {
    let parent = args.scratch.clone().unwrap_or_else(std::env::temp_dir);
    let dir = tempfile::Builder::new().prefix("pageserver-bench-").tempdir_in(&parent);
    let dir = dir.with_context(|| format!("cannot make a directory in {}", parent.display()))?;
    let result = work(dir.path());
    dir.close()?;
    result
}

/// A new timeline with all of the WAL; how fast that went, without the base backup.
pub fn ingest(dir: &std::path::Path, backup: &TarBackup, wal: &Segments) -> Result<(f64, Arc<Timeline>)> {
    let repository = Repository::open(dir, Box::new(NoEngine), Options::default())?;
    let timeline = backup.attach(&repository)?;
    let speed = speed_of(wal, || take_up(&timeline, wal))?;
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
        if end.bytes_since(flushed) >= FLUSH_BYTES {
            ingest.flush()?;
            flushed = end;
        }
        Ok(())
    })?;
    let progress = ingest.flush()?;
    ensure!(progress.applied == wal.end(), "ingest came to {}, not to {}", progress.applied, wal.end());
    Ok(())
}

/// Millions of bytes a second.
fn speed_of(wal: &Segments, work: impl FnOnce() -> Result<()>) -> Result<f64> {
    let start = Instant::now();
    work()?;
    Ok(wal.megabytes() / start.elapsed().as_secs_f64())
}
