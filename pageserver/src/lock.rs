//! One server for one data directory.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result, bail};

/// Held for as long as the server runs. The operating system releases it with the process, however that ends.
#[derive(Debug)]
pub struct DirectoryLock {
    _file: File,
}

impl DirectoryLock {
    /// Locks a data directory, or says which process has it.
    pub fn take(directory: &Path) -> Result<DirectoryLock> {
        let path = directory.join("pageserver.lock");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let _ = file.read_to_string(&mut holder);
                bail!(
                    "data directory {} is in use by another pageserver (process {}); stop that one, or choose another directory",
                    directory.display(),
                    holder.trim()
                );
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", path.display()));
            }
        }
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", std::process::id())?;
        Ok(DirectoryLock { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_server_is_refused_until_the_first_is_gone() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let first = DirectoryLock::take(directory.path()).expect("first");
        let refused = DirectoryLock::take(directory.path()).expect_err("second");
        assert!(refused.to_string().contains(&std::process::id().to_string()), "{refused}");
        drop(first);
        DirectoryLock::take(directory.path()).expect("after the first");
    }
}
