//! What `pageserver bench all` runs: every measurement of `pageserver bench`, on a stock PostgreSQL in a temporary directory, and in
//! the same turns what stock PostgreSQL takes for the same work: a standby that replays the same WAL, `pg_waldump` that reads it,
//! `pg_basebackup`.
//!
//! The servers belong to this program and end with it, and so does the directory, unless something fails in it.
#![forbid(unsafe_code)]

mod backup;
mod ingest;
mod machine;
mod replay;
mod stage;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, ValueEnum};
use integration_tests::program::{self, Interrupt, WorkDir};

use crate::stage::Stage;

/// Every measurement on a temporary PostgreSQL. It is started by `pageserver bench all`.
#[derive(Parser, Debug)]
#[command(name = "pageserver-bench", version, max_term_width = 100)]
pub struct Args {
    /// The program `pageserver`.
    #[arg(long, value_name = "PATH")]
    pageserver: PathBuf,
    /// Directory with initdb, postgres and pgbench [default: $PG_BIN_15 to $PG_BIN_18, else under /usr/lib/postgresql].
    #[arg(long, value_name = "DIR")]
    pg_bin: Option<PathBuf>,
    /// Size of the database, as pgbench counts it: about 15 MB each.
    #[arg(long, value_name = "N", default_value_t = 10)]
    scale: u32,
    /// Transactions that write the WAL.
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    transactions: u32,
    /// Turns of each measurement that is next to PostgreSQL's.
    #[arg(long, value_name = "N", default_value_t = 3)]
    rounds: usize,
    /// Only these measurements.
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    only: Vec<Measurement>,
    /// Keep the temporary directory at the end.
    #[arg(long)]
    keep: bool,
}

/// What can be measured.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Measurement {
    /// Single pages, next to an echo.
    Getpage,
    /// A base backup, next to `pg_basebackup`.
    Basebackup,
    /// WAL taken up, next to a stock replay.
    Ingest,
    /// Chains of records, by each engine.
    Redo,
}

fn main() -> ExitCode {
    let args = Args::parse();
    program::run("pageserver-bench", args.keep, |interrupt, dir| measure(&args, interrupt, dir))
}

fn measure(args: &Args, interrupt: &Interrupt, dir: &mut Option<WorkDir>) -> Result<()> {
    let wanted = |measurement| args.only.is_empty() || args.only.contains(&measurement);
    machine::describe();
    let mut stage = Stage::make(args, interrupt, dir)?;
    if wanted(Measurement::Basebackup) {
        backup::measure(&stage, args.rounds, interrupt)?;
    }
    if wanted(Measurement::Getpage) {
        pages(&mut stage, interrupt)?;
    }
    stage.stop()?;
    if wanted(Measurement::Ingest) {
        ingest::measure(&stage, args.rounds, interrupt)?;
    }
    if wanted(Measurement::Redo) {
        let (backup, wal, bin) = (stage.backup(), stage.wal(), stage.primary.install().bin().to_owned());
        let [backup, wal, bin, dir] = [backup, wal, bin, stage.dir.clone()].map(|path| path.display().to_string());
        stage.run_alone(&["bench", "redo", "--backup", &backup, "--wal", &wal, "--scratch", &dir, "--pg-bin", &bin])?;
    }
    Ok(())
}

/// Pages that are kept by the server; pages that it makes for each request, by itself and by a redo process.
fn pages(stage: &mut Stage, interrupt: &Interrupt) -> Result<()> {
    let data = stage.data();
    stage.run(&["bench", "getpage", stage::TIMELINE])?;
    for engine in ["native", "postgres"] {
        interrupt.check()?;
        stage.restart("page_cache_mib = 0", &format!("engine = \"{engine}\""))?;
        // Without a cache of its own, the server's cold reads are cold.
        let records = if engine == "native" { "0,10" } else { "10" };
        stage.run(&["bench", "getpage", stage::TIMELINE, "--records", records, "--data", &data])?;
    }
    interrupt.check()
}
