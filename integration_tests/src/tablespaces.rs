//! Tablespace locations that a primary and its standbys on the same machine can all have.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::RunAs;

/// A symbolic link that all tablespace locations of a primary begin with. Replaying `CREATE TABLESPACE` makes a standby use
/// the very path that the primary used; while one of them runs, the link points at its directory.
#[derive(Clone, Debug)]
pub struct TablespaceLink {
    dir: PathBuf,
}

impl TablespaceLink {
    /// The link in the primary's directory, pointing at the primary's tablespaces.
    pub(crate) fn new(dir: &Path) -> Result<TablespaceLink> {
        let link = TablespaceLink { dir: dir.to_owned() };
        link.point_at(&link.primary())?;
        Ok(link)
    }

    pub(crate) fn link(&self) -> PathBuf {
        self.dir.join("ts")
    }

    /// The primary's own directory.
    pub(crate) fn primary(&self) -> PathBuf {
        self.dir.join("ts-primary")
    }

    /// Makes every location lead into `target`, with an empty directory for each that the primary has.
    pub(crate) fn point_at(&self, target: &Path) -> Result<()> {
        let user = RunAs::server_user();
        user.make_dir(&self.primary())?;
        user.make_dir(target)?;
        for entry in fs::read_dir(self.primary())? {
            user.make_dir(&target.join(entry?.file_name()))?;
        }
        fs::remove_file(self.link()).ok();
        symlink(target, self.link())
            .with_context(|| format!("pointing {} at {}", self.link().display(), target.display()))
    }
}
