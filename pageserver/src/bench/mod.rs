//! `bench`: how fast this program is here, next to what the machine itself can do.
//!
//! Every figure stands beside a floor: the least that anything could take for the same work. The two are measured in turns within one
//! run, because a machine is not equally fast all the time, and what is told is the median over the turns and the median of their ratios.

mod backup;
mod basebackup;
mod cold;
mod echo;
mod getpage;
mod ingest;
mod load;
mod redo;
mod report;
mod segments;

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::{Args, Subcommand};

use crate::companion;

/// What can be measured.
#[derive(Subcommand, Debug)]
pub enum BenchCommand {
    /// Reads of single pages from a running server, next to an echo of 8 KiB over the loopback interface.
    Getpage(getpage::GetpageArgs),
    /// Taking up WAL from files, next to only reading it.
    Ingest(ingest::IngestArgs),
    /// Chains of records from WAL in files, applied by each engine, next to the copy of a page.
    Redo(redo::RedoArgs),
    /// A whole base backup from a running server, next to as many bytes over the loopback interface.
    Basebackup(basebackup::BackupArgs),
    /// Everything on a temporary PostgreSQL, also next to what stock PostgreSQL takes for the same.
    All(AllArgs),
    /// The floors of `getpage` and `basebackup`, as a process of its own: ends when its standard input does.
    #[command(hide = true)]
    Echo,
}

/// What `bench all` is told.
#[derive(Args, Debug)]
pub struct AllArgs {
    /// Directory with initdb, postgres and pgbench [default: the newest supported one under /usr/lib/postgresql].
    #[arg(long, value_name = "DIR")]
    pub pg_bin: Option<PathBuf>,
    /// Size of the database, as pgbench counts it: about 15 MB each.
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub scale: u32,
    /// Transactions that write the WAL.
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    pub transactions: u32,
    /// Turns of each measurement that is next to PostgreSQL's.
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub rounds: usize,
    /// Only these measurements.
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    pub only: Vec<String>,
    /// Keep the temporary directory at the end.
    #[arg(long)]
    pub keep: bool,
}

/// The program that makes a PostgreSQL to measure with.
const PROGRAM: &str = "pageserver-bench";

/// Runs a measurement. `server` is the running server for those that need one.
pub fn run(server: &str, command: &BenchCommand) -> Result<()> {
    match command {
        BenchCommand::Getpage(args) => getpage::run(server, args),
        BenchCommand::Ingest(args) => ingest::run(args),
        BenchCommand::Redo(args) => redo::run(args),
        BenchCommand::Basebackup(args) => basebackup::run(server, args),
        BenchCommand::All(args) => all(args),
        BenchCommand::Echo => echo::serve(),
    }
}

/// Becomes the program that makes a PostgreSQL.
fn all(args: &AllArgs) -> Result<()> {
    ensure!(args.rounds > 0, "--rounds must be at least 1");
    let mut arguments: Vec<OsString> = Vec::new();
    if let Some(bin) = &args.pg_bin {
        arguments.extend(["--pg-bin".into(), bin.into()]);
    }
    arguments.extend(["--scale".into(), args.scale.to_string().into()]);
    arguments.extend(["--transactions".into(), args.transactions.to_string().into()]);
    arguments.extend(["--rounds".into(), args.rounds.to_string().into()]);
    if !args.only.is_empty() {
        arguments.extend(["--only".into(), args.only.join(",").into()]);
    }
    if args.keep {
        arguments.push("--keep".into());
    }
    companion::run(PROGRAM, &arguments)
}
