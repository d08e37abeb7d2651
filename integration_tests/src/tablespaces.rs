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
    /// Where the link is.
    dir: PathBuf,
    /// The directory of the server's own.
    own: PathBuf,
    /// Those of the servers that it is a copy of.
    copied: Vec<PathBuf>,
}

impl TablespaceLink {
    /// The link in the primary's directory, pointing at the primary's tablespaces.
    pub(crate) fn new(dir: &Path) -> Result<TablespaceLink> {
        let link = TablespaceLink { dir: dir.to_owned(), own: dir.join("ts-primary"), copied: Vec::new() };
        link.point_at(&link.primary())?;
        Ok(link)
    }

    /// The same link for a copy of the cluster that becomes a primary itself, with its tablespaces in `own`.
    pub(crate) fn of_copy(&self, own: &Path) -> TablespaceLink {
        let copied = self.copied.iter().chain([&self.own]).cloned().collect();
        TablespaceLink { dir: self.dir.clone(), own: own.to_owned(), copied }
    }

    pub(crate) fn link(&self) -> PathBuf {
        self.dir.join("ts")
    }

    /// The primary's own directory.
    pub(crate) fn primary(&self) -> PathBuf {
        self.own.clone()
    }

    /// Makes every location lead into `target`, with an empty directory for each that the primary has.
    pub(crate) fn point_at(&self, target: &Path) -> Result<()> {
        let user = RunAs::server_user();
        user.make_dir(&self.primary())?;
        user.make_dir(target)?;
        for known in self.copied.iter().chain([&self.own]) {
            for entry in fs::read_dir(known)? {
                user.make_dir(&target.join(entry?.file_name()))?;
            }
        }
        fs::remove_file(self.link()).ok();
        symlink(target, self.link())
            .with_context(|| format!("pointing {} at {}", self.link().display(), target.display()))
    }
}
