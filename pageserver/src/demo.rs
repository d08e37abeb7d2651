//! `demo`: runs the program `pageserver-demo`, which is built beside this one. It drives a real PostgreSQL, and a server that people
//! rely on should not carry that.

use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::cli::DemoArgs;

const PROGRAM: &str = "pageserver-demo";

/// Becomes the demo.
pub fn run(args: &DemoArgs) -> Result<()> {
    let own = std::env::current_exe().context("cannot tell where this program is")?;
    let program = own.with_file_name(PROGRAM);
    if !program.exists() {
        bail!("there is no {}: scripts/demo in the sources builds it", program.display());
    }
    let mut command = Command::new(&program);
    command.arg("--pageserver").arg(&own);
    if let Some(bin) = &args.pg_bin {
        command.arg("--pg-bin").arg(bin);
    }
    if args.keep {
        command.arg("--keep");
    }
    Err(command.exec()).with_context(|| format!("cannot run {}", program.display()))
}
