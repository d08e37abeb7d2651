//! Temporary directories that outlive a failed test.

use std::env;
use std::path::{Path, PathBuf};

use crate::RunAs;

/// Set to anything, it keeps the directories of tests that pass as well.
const KEEP: &str = "KEEP_TEST_DIRS";

/// Runs the body of a test with a temporary directory. If the body fails or panics, the directory stays and its path
/// is printed; otherwise it is removed.
///
/// # Panics
/// With the body's error, so that the test fails.
pub fn in_scratch(name: &str, body: impl FnOnce(&Path) -> anyhow::Result<()>) {
    let scratch = Scratch::new(name);
    if let Err(error) = body(scratch.path()) {
        panic!("{name}: {error:#}");
    }
}

/// The directory itself; it belongs to the user that runs the servers.
struct Scratch {
    dir: Option<tempfile::TempDir>,
    path: PathBuf,
}

impl Scratch {
    fn new(name: &str) -> Scratch {
        let dir = tempfile::Builder::new().prefix(&format!("{name}-")).tempdir().expect("a temporary directory");
        // Unix socket paths are limited to 107 bytes, and clients run as other users: keep the path short and real.
        let path = dir.path().canonicalize().expect("the temporary directory's path");
        RunAs::server_user().own(&path).expect("to give the temporary directory to the servers' user");
        Scratch { dir: Some(dir), path }
    }

    fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if std::thread::panicking() || env::var_os(KEEP).is_some() {
            let kept = self.dir.take().map(tempfile::TempDir::keep);
            eprintln!("data directories and logs are kept in {}", kept.unwrap_or_default().display());
        }
    }
}
