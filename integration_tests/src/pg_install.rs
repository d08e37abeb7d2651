//! Where PostgreSQL's programs are.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail};
use pgdata::PgVersion;

use crate::RunAs;

/// An installed PostgreSQL.
#[derive(Clone, Debug)]
pub struct PgInstall {
    version: PgVersion,
    bin: PathBuf,
}

impl PgInstall {
    /// The installation of a major version: the directory in the environment variable `PG_BIN_<major>`, or Debian's.
    ///
    /// # Panics
    /// If it is not there: a test must not pass by not running.
    #[must_use]
    pub fn find(version: PgVersion) -> PgInstall {
        let major = version.major();
        let variable = format!("PG_BIN_{major}");
        let bin = env::var_os(&variable)
            .map_or_else(|| PathBuf::from(format!("/usr/lib/postgresql/{major}/bin")), PathBuf::from);
        assert!(
            bin.join("postgres").exists(),
            "PostgreSQL {major} is not installed: there is no {}. Install postgresql-{major}, or set {variable} to the \
             directory that holds its programs.",
            bin.join("postgres").display()
        );
        PgInstall { version, bin }
    }

    /// The major version.
    #[must_use]
    pub fn version(&self) -> PgVersion {
        self.version
    }

    /// The directory of the programs.
    #[must_use]
    pub fn bin(&self) -> &Path {
        &self.bin
    }

    /// One of the programs, to be run as the servers' user, with nothing of the caller's PostgreSQL settings.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.bin.join(program));
        for (name, _) in env::vars_os() {
            if name.to_str().is_some_and(|name| name.starts_with("PG") && !name.starts_with("PG_BIN_")) {
                command.env_remove(name);
            }
        }
        command.env("LC_ALL", "C").current_dir("/").stdin(Stdio::null());
        RunAs::server_user().apply(&mut command);
        command
    }
}

/// Runs a program to its end.
///
/// # Errors
/// If it cannot be started or fails; with everything that it printed.
pub fn run(command: &mut Command) -> Result<Output> {
    let output = command.output().with_context(|| format!("running {command:?}"))?;
    if !output.status.success() {
        bail!(
            "{command:?} failed ({}):\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(output)
}
