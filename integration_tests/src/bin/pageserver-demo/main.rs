//! What `pageserver demo` runs: a stock PostgreSQL in a temporary directory, a pageserver that is attached to it, a workload, pages
//! read as of several moments, and the proof that they are right: a standby that PostgreSQL itself stops at each of these moments
//! has the same bytes in its files.
//!
//! The servers belong to this program and end with it, and so does the directory, unless something fails in it.
#![forbid(unsafe_code)]

mod account;
mod install;
mod interrupt;
mod proof;
mod scratch;
mod story;
mod timing;
mod work;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use crate::interrupt::Interrupt;
use crate::scratch::Scratch;

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

/// Prints a line. That nobody reads any more (`| head`) is no reason to stop without cleaning up.
pub fn say(line: &str) {
    writeln!(std::io::stdout(), "{line}").ok();
}

fn main() -> ExitCode {
    let args = Args::parse();
    let mut scratch = None;
    let outcome = Interrupt::watch().and_then(|interrupt| {
        let told = story::tell(&args, &interrupt, &mut scratch);
        told.map_err(|error| if interrupt.came() { interrupt::Interrupted.into() } else { error })
    });
    // The servers have ended by now, so that their files can go.
    match outcome {
        Ok(()) => {
            finish(scratch, args.keep);
            ExitCode::SUCCESS
        }
        Err(error) if error.is::<interrupt::Interrupted>() => {
            finish(scratch, args.keep);
            eprintln!("pageserver-demo: {error}");
            ExitCode::from(130)
        }
        Err(error) => {
            finish(scratch, true);
            eprintln!("pageserver-demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn finish(scratch: Option<Scratch>, keep: bool) {
    let Some(scratch) = scratch else { return };
    if keep {
        say(&format!("\nThe data directories and logs are kept in {}", scratch.keep().display()));
    } else {
        scratch.remove();
    }
}
