//! As whom servers are run: PostgreSQL refuses to run as root.

use std::fs;
use std::io;
use std::os::unix::fs::lchown;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

/// The user that owns the servers of a test: the current one, or `postgres` when that is root.
#[derive(Clone, Copy, Debug)]
pub struct RunAs {
    ids: Option<(u32, u32)>,
}

impl RunAs {
    /// Whom to run servers as here.
    ///
    /// # Panics
    /// As root on a machine that has no user `postgres`.
    #[must_use]
    pub fn server_user() -> RunAs {
        RunAs::find().unwrap_or_else(|error| panic!("{error}"))
    }

    /// Whom to run servers as here.
    ///
    /// # Errors
    /// As root on a machine that has no user `postgres`.
    pub fn find() -> Result<RunAs> {
        if !rustix::process::geteuid().is_root() {
            return Ok(RunAs { ids: None });
        }
        let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let ids = user_ids(&passwd, "postgres").context(
            "this runs as root, PostgreSQL refuses that, and there is no user `postgres` to run it as: \
             install PostgreSQL's Debian package (it makes the user), or run this as an ordinary user",
        )?;
        Ok(RunAs { ids: Some(ids) })
    }

    /// Makes the command run as this user.
    pub fn apply(self, command: &mut Command) {
        if let Some((uid, gid)) = self.ids {
            command.uid(uid).gid(gid);
        }
    }

    /// Gives one file or directory to this user; a symbolic link itself, not what it points at.
    ///
    /// # Errors
    /// The operating system's.
    pub fn own(self, path: &Path) -> io::Result<()> {
        match self.ids {
            Some((uid, gid)) => lchown(path, Some(uid), Some(gid)),
            None => Ok(()),
        }
    }

    /// Gives a directory and everything in it to this user.
    ///
    /// # Errors
    /// The operating system's.
    pub fn own_all(self, path: &Path) -> io::Result<()> {
        if self.ids.is_none() {
            return Ok(());
        }
        self.own(path)?;
        if fs::symlink_metadata(path)?.is_dir() {
            for entry in fs::read_dir(path)? {
                self.own_all(&entry?.path())?;
            }
        }
        Ok(())
    }

    /// Makes a directory, with those above it, that belongs to this user.
    ///
    /// # Errors
    /// The operating system's.
    pub fn make_dir(self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)?;
        self.own(path)
    }
}

/// Looks up uid and gid in the text of `/etc/passwd`.
fn user_ids(passwd: &str, name: &str) -> Option<(u32, u32)> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next() != Some(name) {
            return None;
        }
        Some((fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_ids_of_a_user() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\npostgres:x:101:104:,,,:/var/lib/postgresql:/bin/bash\n";
        assert_eq!(user_ids(passwd, "postgres"), Some((101, 104)));
        assert_eq!(user_ids(passwd, "post"), None);
    }
}
