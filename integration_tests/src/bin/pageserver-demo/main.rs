//! What `pageserver demo` runs: a stock PostgreSQL in a temporary directory, a pageserver that is attached to it, a workload, pages
//! read as of several moments, and the proof that they are right: a standby that PostgreSQL itself stops at each of these moments
//! has the same bytes in its files.
//!
//! The servers belong to this program and end with it, and so does the directory, unless something fails in it.
#![forbid(unsafe_code)]

mod account;
mod proof;
mod story;
mod timing;
mod work;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use integration_tests::program;

/// A whole run on a temporary PostgreSQL: attach, workload, reads in the past, proof. It is started by `pageserver demo`.
#[derive(Parser, Debug)]
#[command(name = "pageserver-demo", version, max_term_width = 100)]
pub struct Args {
    /// The program `pageserver`.
    #[arg(long, value_name = "PATH")]
    pageserver: PathBuf,
    /// Directory with initdb, postgres and pgbench [default: $PG_BIN_15 to $PG_BIN_18, else under /usr/lib/postgresql].
    #[arg(long, value_name = "DIR")]
    pg_bin: Option<PathBuf>,
    /// Keep the temporary directory at the end.
    #[arg(long)]
    keep: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    program::run("pageserver-demo", args.keep, |interrupt, dir| story::tell(&args, interrupt, dir))
}
