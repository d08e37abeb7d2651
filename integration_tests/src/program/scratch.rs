//! A program's temporary directory.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::RunAs;

/// A directory that belongs to the user who runs the servers.
#[derive(Debug)]
pub struct WorkDir {
    dir: TempDir,
    path: PathBuf,
}

impl WorkDir {
    /// Makes it under `$TMPDIR` or `/tmp`; its name begins with the program's.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn new(program: &str, user: RunAs) -> Result<WorkDir> {
        let make = || -> Result<WorkDir> {
            let dir = tempfile::Builder::new().prefix(&format!("{program}-")).tempdir()?;
            let path = dir.path().canonicalize()?;
            user.own(&path)?;
            Ok(WorkDir { dir, path })
        };
        make().context("cannot make a temporary directory")
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves it there.
    #[must_use]
    pub fn keep(self) -> PathBuf {
        self.dir.keep()
    }

    /// Removes it with all that is in it.
    pub fn remove(self) {
        if let Err(error) = self.dir.close() {
            eprintln!("cannot remove {}: {error}", self.path.display());
        }
    }
}
