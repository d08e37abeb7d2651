//! Which PostgreSQL a program runs.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};
use pgdata::PgVersion;

use crate::PgInstall;

/// The programs that are needed.
const PROGRAMS: [&str; 3] = ["postgres", "initdb", "pgbench"];

/// The installation in `asked`, or the one that the environment names, or the newest of Debian's that the pageserver has most
/// likely been built for: redo needs a module compiled with that version's server headers.
///
/// # Errors
/// If there is none.
pub fn find_install(asked: Option<&Path>) -> Result<PgInstall> {
    if let Some(bin) = asked {
        return open(bin);
    }
    let named = PgVersion::ALL.iter().rev().find_map(|version| env::var_os(format!("PG_BIN_{}", version.major())));
    if let Some(bin) = named {
        return open(Path::new(&bin));
    }
    let complete: Vec<PgVersion> =
        PgVersion::ALL.into_iter().rev().filter(|version| missing(&debian_bin(*version)).is_none()).collect();
    let with_headers = complete.iter().find(|version| debian_headers(**version).exists());
    match with_headers.or(complete.first()) {
        Some(version) => open(&debian_bin(*version)),
        None => bail!(
            "there is no PostgreSQL 15 to 18 under /usr/lib/postgresql. Install one (on Debian: apt install postgresql-15), \
             or say where its programs are with --pg-bin DIR"
        ),
    }
}

fn open(bin: &Path) -> Result<PgInstall> {
    if let Some(program) = missing(bin) {
        ensure!(bin.is_dir(), "there is no directory {}", bin.display());
        bail!(
            "there is no program {program} in {}, and all of these are needed: {}",
            bin.display(),
            PROGRAMS.join(", ")
        );
    }
    PgInstall::at(bin)
}

/// The first program that is not there.
fn missing(bin: &Path) -> Option<&'static str> {
    PROGRAMS.into_iter().find(|program| !bin.join(program).exists())
}

fn debian_bin(version: PgVersion) -> PathBuf {
    format!("/usr/lib/postgresql/{version}/bin").into()
}

fn debian_headers(version: PgVersion) -> PathBuf {
    format!("/usr/include/postgresql/{version}/server/postgres.h").into()
}
