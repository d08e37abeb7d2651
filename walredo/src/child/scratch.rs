//! The data directory that a redo process is started in.
//!
//! It exists for the moment of the start only: the process needs no file afterwards (its sandbox would not let it open one), and
//! what does not exist cannot be left behind. One directory for each start, so that starts at the same time do not meet.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::error::StartError;
use super::server::Server;

/// A directory with a data directory and the module in it. Removed when dropped.
#[derive(Debug)]
pub(super) struct Scratch {
    root: TempDir,
}

impl Scratch {
    /// Makes the directory, to be read and written by the server's user.
    pub(super) fn create(parent: &Path, server: &Server) -> Result<Scratch, StartError> {
        let root = tempfile::Builder::new().prefix("walredo-").tempdir_in(parent).map_err(|source| StartError::Io {
            what: "make a directory in",
            path: parent.to_owned(),
            source,
        })?;
        let scratch = Scratch { root };
        for directory in ["", "data", "data/global", "data/pg_notify", "data/pg_dynshmem"] {
            scratch.directory(directory, server)?;
        }
        let version = format!("{}\n", server.version);
        let files: [(&str, &[u8]); 5] = [
            ("data/PG_VERSION", version.as_bytes()),
            ("data/postgresql.conf", b""),
            ("data/postgresql.auto.conf", b""),
            ("data/global/pg_control", &server.control_file),
            ("walredo.so", server.module.bytes),
        ];
        for (name, content) in files {
            scratch.file(name, content, server)?;
        }
        Ok(scratch)
    }

    /// The data directory.
    pub(super) fn data(&self) -> PathBuf {
        self.root.path().join("data")
    }

    /// The module.
    pub(super) fn module(&self) -> PathBuf {
        self.root.path().join("walredo.so")
    }

    fn directory(&self, name: &str, server: &Server) -> Result<(), StartError> {
        let path = self.root.path().join(name);
        let made = if name.is_empty() { Ok(()) } else { fs::create_dir(&path) };
        made.and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o700)))
            .and_then(|()| give(&path, server))
            .map_err(|source| StartError::Io { what: "make the directory", path, source })
    }

    fn file(&self, name: &str, content: &[u8], server: &Server) -> Result<(), StartError> {
        let path = self.root.path().join(name);
        fs::write(&path, content)
            .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o600)))
            .and_then(|()| give(&path, server))
            .map_err(|source| StartError::Io { what: "write", path, source })
    }
}

fn give(path: &Path, server: &Server) -> io::Result<()> {
    match server.run_as {
        Some((uid, gid)) => std::os::unix::fs::chown(path, Some(uid), Some(gid)),
        None => Ok(()),
    }
}
