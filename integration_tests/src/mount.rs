//! File systems of a test's own, which can be filled and broken. Only root can have them.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::pg_install::run;
use crate::{RunAs, until};

/// A mounted file system that belongs to the servers' user. Dropping this takes it away, with all that is in it.
#[derive(Debug)]
pub struct Mount {
    point: PathBuf,
}

impl Mount {
    /// A file system in memory of at most `mebibytes`, mounted on the new directory `point`; nothing if this is not run by root, who alone may
    /// mount, and that is printed.
    ///
    /// # Errors
    /// If root cannot mount it either.
    pub fn memory(point: &Path, mebibytes: u64) -> Result<Option<Mount>> {
        if !rustix::process::geteuid().is_root() {
            println!("not tested: only root can mount a file system that can be filled");
            return Ok(None);
        }
        fs::create_dir_all(point)?;
        run(Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={mebibytes}m"), "tmpfs"]).arg(point))?;
        let mount = Mount { point: point.to_owned() };
        RunAs::server_user().own(point)?;
        Ok(Some(mount))
    }

    /// An ext4 file system in the file `image`, which has no blocks before something is written to them, mounted on the new directory `point`. When there is no
    /// room for them any more, what is written is lost, as on a disk that fails: that shows when it is to be made durable.
    ///
    /// # Errors
    /// If it cannot be made or mounted.
    pub fn image(image: &Path, point: &Path, mebibytes: u64) -> Result<Mount> {
        File::create(image)?.set_len(mebibytes << 20)?;
        // A journal would be lost as well, and with it the file system.
        run(Command::new("mkfs.ext4").args(["-q", "-F", "-b", "4096", "-O", "^has_journal"]).arg(image))?;
        fs::create_dir_all(point)?;
        let mount = Mount::again(image, point)?;
        RunAs::server_user().own(point)?;
        Ok(mount)
    }

    /// Mounts an image that was mounted before.
    ///
    /// # Errors
    /// If it cannot be mounted.
    pub fn again(image: &Path, point: &Path) -> Result<Mount> {
        run(Command::new("mount").args(["-o", "loop"]).arg(image).arg(point))?;
        Ok(Mount { point: point.to_owned() })
    }

    /// Takes it away, once nobody uses it any more.
    ///
    /// # Errors
    /// If that does not come.
    pub fn unmount(self) -> Result<()> {
        until("nobody uses the file system", || Ok(run(Command::new("umount").arg(&self.point)).ok().map(drop)))?;
        // What Drop does is done.
        std::mem::forget(self);
        Ok(())
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.point
    }

    /// Writes zeros to a new file until there is no room for more than the last `left` bytes.
    ///
    /// # Errors
    /// If anything but the lack of room keeps it from that.
    pub fn fill(&self, left: u64) -> Result<Ballast> {
        let path = self.point.join("ballast");
        let mut file = File::create(&path)?;
        let zeros = vec![0; 64 << 10];
        let mut size = 0;
        for piece in [zeros.len(), 4096] {
            loop {
                match file.write(&zeros[..piece]) {
                    Ok(written) => size += written as u64,
                    Err(error) if error.kind() == ErrorKind::StorageFull => break,
                    Err(error) => return Err(error).context("filling a file system"),
                }
            }
        }
        file.set_len(size.saturating_sub(left))?;
        Ok(Ballast { path })
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily: a process that was killed a moment ago may not be gone yet.
        if let Err(error) = run(Command::new("umount").arg("--lazy").arg(&self.point)) {
            eprintln!("{error:#}");
        }
    }
}

/// What fills a file system.
#[derive(Debug)]
pub struct Ballast {
    path: PathBuf,
}

impl Ballast {
    /// There is room again.
    ///
    /// # Errors
    /// If the file cannot be removed.
    pub fn drop_it(self) -> Result<()> {
        Ok(fs::remove_file(&self.path)?)
    }
}
