//! Names of tenants and branches, and the small files that hold them.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::RepositoryError;

/// The name of the tenant that is there from the start.
pub const DEFAULT_TENANT: &str = "default";

/// The longest name, in bytes.
const MAX_NAME: usize = 63;

/// What `tenant.json` and `branch.json` hold.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NameFile {
    name: String,
}

/// Refuses names that could be mistaken for ids or paths, or that need quoting.
pub(crate) fn check(name: &str) -> Result<(), RepositoryError> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    let starts_well = name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    let looks_like_id = name.len() == 32 && name.bytes().all(|b| b.is_ascii_hexdigit());
    if !starts_well || looks_like_id || name.len() > MAX_NAME || !name.bytes().all(plain) {
        return Err(RepositoryError::Name { name: name.to_owned() });
    }
    Ok(())
}

/// Writes a name so that after a crash there is either the whole file or none.
pub(crate) fn write(path: &Path, name: &str) -> Result<(), RepositoryError> {
    let io = |error| RepositoryError::io("write", path, error);
    let text = serde_json::to_string(&NameFile { name: name.to_owned() }).map_err(|e| io(e.into()))?;
    let temporary = path.with_extension("tmp");
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&temporary).map_err(io)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(io)?;
    fs::rename(&temporary, path).map_err(io)?;
    sync_directory(path.parent().unwrap_or(Path::new(".")))
}

/// Reads a name file. `None` if there is none.
pub(crate) fn read(path: &Path) -> Result<Option<String>, RepositoryError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(RepositoryError::io("read", path, error)),
    };
    let file: NameFile =
        serde_json::from_str(&text).map_err(|error| RepositoryError::io("read", path, error.into()))?;
    check(&file.name)?;
    Ok(Some(file.name))
}

/// Makes a directory, and those on the way to it, for this user alone: what will be in it is as confidential as a cluster's own
/// data directory.
///
/// # Errors
/// [`RepositoryError::Io`].
pub fn make_dir(path: &Path) -> Result<(), RepositoryError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|e| RepositoryError::io("make", path, e))
}

/// Makes new and renamed entries of a directory durable.
pub(crate) fn sync_directory(path: &Path) -> Result<(), RepositoryError> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(|e| RepositoryError::io("sync", path, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain_and_no_ids() {
        for name in ["main", "dev-2", "a", "release_1.5", "0"] {
            assert!(check(name).is_ok(), "{name}");
        }
        let long = "x".repeat(64);
        for name in ["", "-x", ".", "..", "a/b", "a b", "ä", "00112233445566778899aabbccddeeff", &long] {
            assert!(check(name).is_err(), "{name}");
        }
    }

    #[test]
    fn a_name_file_is_read_again() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("branch.json");
        assert_eq!(read(&path).expect("absent"), None);
        write(&path, "main").expect("written");
        assert_eq!(read(&path).expect("present").as_deref(), Some("main"));
        fs::write(&path, "{\"name\": \"../x\"}").expect("overwritten");
        assert!(read(&path).is_err());
    }
}
