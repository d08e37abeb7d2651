//! What the programs here share that run servers outside of tests: `pageserver-demo` and `pageserver-bench`.

mod install;
mod interrupt;
mod scratch;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::RunAs;

pub use install::find_install;
pub use interrupt::{Interrupt, Interrupted};
pub use scratch::WorkDir;

/// Prints a line. That nobody reads any more (`| head`) is no reason to stop without cleaning up.
pub fn say(line: &str) {
    writeln!(std::io::stdout(), "{line}").ok();
}

/// Runs a program's work: with a temporary directory that it makes in `work`'s last argument, which is removed at the end unless
/// something fails or `keep` says so, and in order when it is interrupted. All servers must have ended when `work` returns.
pub fn run(name: &str, keep: bool, work: impl FnOnce(&Interrupt, &mut Option<WorkDir>) -> Result<()>) -> ExitCode {
    let mut dir = None;
    let outcome = Interrupt::watch().and_then(|interrupt| {
        let done = work(&interrupt, &mut dir);
        done.map_err(|error| if interrupt.came() { Interrupted.into() } else { error })
    });
    match outcome {
        Ok(()) => {
            finish(dir, keep);
            ExitCode::SUCCESS
        }
        Err(error) if error.is::<Interrupted>() => {
            finish(dir, keep);
            eprintln!("{name}: {error}");
            ExitCode::from(130)
        }
        Err(error) => {
            finish(dir, true);
            eprintln!("{name}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn finish(dir: Option<WorkDir>, keep: bool) {
    let Some(dir) = dir else { return };
    if keep {
        say(&format!("\nThe data directories and logs are kept in {}", dir.keep().display()));
    } else {
        dir.remove();
    }
}

/// As root, servers run as another user, who may not be able to reach the program where it is: then a copy of it in `dir`.
///
/// # Errors
/// If it cannot be copied.
pub fn reachable(binary: &Path, dir: &Path, user: RunAs) -> Result<PathBuf> {
    if !rustix::process::geteuid().is_root() {
        return Ok(binary.canonicalize()?);
    }
    let copy = dir.join("pageserver-program");
    fs::copy(binary, &copy).and_then(|_| user.own(&copy)).with_context(|| format!("copying {}", binary.display()))?;
    Ok(copy)
}
