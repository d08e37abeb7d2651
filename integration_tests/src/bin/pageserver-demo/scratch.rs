//! The demo's temporary directory.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use integration_tests::RunAs;
use tempfile::TempDir;

/// A directory that belongs to the user who runs the servers.
#[derive(Debug)]
pub struct Scratch {
    dir: TempDir,
    path: PathBuf,
}

impl Scratch {
    /// Makes it under `$TMPDIR` or `/tmp`.
    pub fn new(user: RunAs) -> Result<Scratch> {
        let make = || -> Result<Scratch> {
            let dir = tempfile::Builder::new().prefix("pageserver-demo-").tempdir()?;
            let path = dir.path().canonicalize()?;
            user.own(&path)?;
            Ok(Scratch { dir, path })
        };
        make().context("cannot make a temporary directory")
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves it there.
    pub fn keep(self) -> PathBuf {
        self.dir.keep()
    }

    /// Removes it with all that is in it.
    pub fn remove(self) {
        if let Err(error) = self.dir.close() {
            eprintln!("pageserver-demo: cannot remove {}: {error}", self.path.display());
        }
    }
}
