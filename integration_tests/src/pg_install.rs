//! Where PostgreSQL's programs are, and which PostgreSQL the tests run on. The environment decides:
//!
//! - `PG_TEST_VERSION`: the major version for tests that do not ask for one of their own; 15 if it is not set.
//! - `PG_BIN_17` (`_15`, `_16`, `_18`): the directory of that version's programs, all of them; Debian's if it is not set.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail, ensure};
use pgdata::PgVersion;

use crate::RunAs;

/// An installed PostgreSQL. Its programs are in the directory `PG_BIN_<major>`, or where Debian has them.
#[derive(Clone, Debug)]
pub struct PgInstall {
    version: PgVersion,
    bin: PathBuf,
}

/// The version of PostgreSQL that tests run on: the major number in `PG_TEST_VERSION`, else 15.
///
/// # Panics
/// If that is no version that is supported.
#[must_use]
pub fn test_version() -> PgVersion {
    let Some(text) = env::var_os("PG_TEST_VERSION") else { return PgVersion::V15 };
    let major = text.to_str().and_then(|text| text.parse().ok());
    let version = major.and_then(|major| PgVersion::from_major(major).ok());
    version.unwrap_or_else(|| panic!("PG_TEST_VERSION is {text:?}: not a major version that is supported"))
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

    /// The installation whose programs are in the directory `bin`, of the version that its `postgres` says it is.
    ///
    /// # Errors
    /// If there is no `postgres`, it cannot be run, or its version is not supported.
    pub fn at(bin: &Path) -> Result<PgInstall> {
        let program = bin.join("postgres");
        ensure!(program.exists(), "there is no {}", program.display());
        let output = run(Command::new(&program).arg("--version").stdin(Stdio::null()))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let major = major_version(&text)
            .with_context(|| format!("{} --version answers {:?}", program.display(), text.trim()))?;
        let version = PgVersion::from_major(major)?;
        Ok(PgInstall { version, bin: bin.canonicalize()? })
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

/// The major version in `postgres (PostgreSQL) 15.4 (Debian …)`.
fn major_version(text: &str) -> Option<u32> {
    let version = text.split("(PostgreSQL) ").nth(1)?;
    let digits = version.find(|c: char| !c.is_ascii_digit()).unwrap_or(version.len());
    version[..digits].parse().ok()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_in_what_postgres_says() {
        assert_eq!(major_version("postgres (PostgreSQL) 15.20 (Debian 15.20-0+deb12u1)\n"), Some(15));
        assert_eq!(major_version("postgres (PostgreSQL) 18\n"), Some(18));
        assert_eq!(major_version("postgres (PostgreSQL) devel\n"), None);
        assert_eq!(major_version(""), None);
    }
}
