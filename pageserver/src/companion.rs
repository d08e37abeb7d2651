//! Programs that are built beside this one. They drive a real PostgreSQL, and a server that people rely on should not carry that.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result, bail};

/// Becomes the program. It is told where this one is, and `arguments`.
pub fn run(program: &str, arguments: &[OsString]) -> Result<()> {
    let own = std::env::current_exe().context("cannot tell where this program is")?;
    let path = own.with_file_name(program);
    if !path.exists() {
        bail!("there is no {}: scripts/demo in the sources builds it", path.display());
    }
    let mut command = Command::new(&path);
    command.arg("--pageserver").arg(&own).args(arguments);
    Err(command.exec()).with_context(|| format!("cannot run {}", path.display()))
}
