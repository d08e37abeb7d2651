//! Attaching: a base backup becomes a timeline.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use pgdata::{Lsn, Object};

use crate::layer::{LayerContentError, LayerWriter};
use crate::manifest::{MANIFEST, MANIFEST_TMP, Manifest, ManifestError, TimelineInfo};
use crate::storage::{Context, FileSystem, Storage, StorageError};

/// The directory of layer files in a timeline's directory.
pub(crate) const LAYERS: &str = "layers";
/// The directory of WAL segment files in a timeline's directory.
pub(crate) const WAL: &str = "wal";
const LAYER_SUFFIX: &str = ".img";

/// Why a base backup does not become a timeline.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// There is a timeline already.
    #[error("{} is a timeline already", .0.display())]
    Exists(PathBuf),
    /// The directory holds something that no attaching leaves behind, so nothing in it is touched.
    #[error("{} is neither empty nor the remains of an interrupted attach: it holds {name:?}", dir.display())]
    NotEmpty {
        /// The directory.
        dir: PathBuf,
        /// The first strange entry.
        name: String,
    },
    /// What arrived makes no sense.
    #[error(transparent)]
    Content(#[from] LayerContentError),
    /// The manifest could not be written.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// Some other file operation failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// An earlier call failed, so that not everything that arrived is there.
    #[error("the base backup is incomplete: writing it failed before")]
    Failed,
}

/// Takes the files of a base backup in any order and makes a timeline of them.
///
/// Its memory does not depend on the size of the database, only (a few dozen bytes each) on its number of files. Nothing is a
/// timeline before [`BaseWriter::finish`] returned: what an interrupted or failed attach leaves behind, [`crate::PageCache::open`]
/// does not take for one, and the next [`BaseWriter::create`] in the same directory clears it away.
pub struct BaseWriter {
    storage: Arc<dyn Storage>,
    dir: PathBuf,
    layer: LayerWriter,
    remains: usize,
    failed: bool,
}

impl BaseWriter {
    /// Starts a timeline in `dir`, which is made if it does not exist.
    ///
    /// # Errors
    /// [`AttachError::Exists`] and [`AttachError::NotEmpty`] if something else is there; storage errors.
    pub fn create(dir: &Path, info: TimelineInfo) -> Result<BaseWriter, AttachError> {
        Self::create_on(Arc::new(FileSystem), dir, info)
    }

    /// [`BaseWriter::create`] on another storage than the operating system's files.
    ///
    /// # Errors
    /// As [`BaseWriter::create`].
    pub fn create_on(storage: Arc<dyn Storage>, dir: &Path, info: TimelineInfo) -> Result<BaseWriter, AttachError> {
        let layers = dir.join(LAYERS);
        let wal = dir.join(WAL);
        let remains = clear_remains(&*storage, dir)?;
        storage.create_dir(&layers).context("create", &layers)?;
        storage.create_dir(&wal).context("create", &wal)?;
        let path = layers.join(format!("base-{:016X}{LAYER_SUFFIX}", info.start_lsn.0));
        let layer = LayerWriter::create(&*storage, &path, info)?;
        Ok(BaseWriter { storage, dir: dir.to_owned(), layer, remains, failed: false })
    }

    /// How many files of an interrupted attach were cleared away when this one began.
    #[must_use]
    pub fn cleared_files(&self) -> usize {
        self.remains
    }

    /// Pages of a relation or an SLRU segment, from `first_block` on: `bytes` is a whole number of pages. A file may come in
    /// pieces and the files of a relation in any order; it is the block numbers that say what is what.
    ///
    /// # Errors
    /// [`LayerContentError`] in [`AttachError::Content`]; afterwards this attach cannot be finished.
    pub fn pages(&mut self, object: Object, first_block: u32, bytes: &[u8]) -> Result<(), AttachError> {
        let result = self.layer.pages(object, first_block, bytes);
        self.note(result)
    }

    /// Says that an object exists and has at least so many blocks: the only way to tell of an empty one. The pages themselves
    /// must still come; [`BaseWriter::finish`] refuses an object with a page missing.
    ///
    /// # Errors
    /// [`LayerContentError::TooLong`].
    pub fn object(&mut self, object: Object, blocks: u32) -> Result<(), AttachError> {
        let result = self.layer.grow(object, u64::from(blocks));
        self.note(result)
    }

    /// A small file, under its path relative to the data directory: `global/pg_control`, `base/5/pg_filenode.map`, …
    ///
    /// # Errors
    /// [`LayerContentError::BlobTwice`], [`LayerContentError::BlobName`], storage errors.
    pub fn blob(&mut self, name: &str, content: &[u8]) -> Result<(), AttachError> {
        let result = self.layer.blob(name, content);
        self.note(result)
    }

    fn note(&mut self, result: Result<(), LayerContentError>) -> Result<(), AttachError> {
        self.failed |= result.is_err();
        Ok(result?)
    }

    /// Makes all of it durable, and then, in one step, a timeline. `consistent_lsn` is where the backup ended: replaying the WAL
    /// up to there makes its pages, read at different moments, a consistent database.
    ///
    /// # Errors
    /// [`AttachError::Failed`] if an earlier call failed, [`LayerContentError::Gap`] and [`LayerContentError::Twice`] for a
    /// backup that is not whole, storage errors. Nothing is a timeline then.
    pub fn finish(self, consistent_lsn: Lsn) -> Result<(), AttachError> {
        if self.failed {
            return Err(AttachError::Failed);
        }
        let (storage, dir) = (&*self.storage, &self.dir);
        let info = self.layer.info();
        let layer = self.layer.finish()?;
        // Every name on the way to the data is durable before the manifest is.
        let layers = dir.join(LAYERS);
        storage.sync_dir(&layers).context("sync", &layers)?;
        storage.sync_dir(dir).context("sync", dir)?;
        sync_ancestors(storage, dir)?;
        Manifest { info, consistent_lsn, layer }.switch(storage, dir)?;
        Ok(())
    }
}

/// Makes the name of `dir` durable, and those of all directories on the way to it, which may be as new. One that may not be read, or
/// is on a file system that knows no syncing (as read-only images do, with EINVAL), was not made by this program.
fn sync_ancestors(storage: &dyn Storage, dir: &Path) -> Result<(), StorageError> {
    use std::io::ErrorKind::{InvalidInput, PermissionDenied, ReadOnlyFilesystem, Unsupported};
    for ancestor in dir.ancestors().skip(1) {
        let ancestor = if ancestor.as_os_str().is_empty() { Path::new(".") } else { ancestor };
        match storage.sync_dir(ancestor) {
            Err(e) if matches!(e.kind(), PermissionDenied | InvalidInput | Unsupported | ReadOnlyFilesystem) => break,
            result => result.context("sync", ancestor)?,
        }
    }
    Ok(())
}

/// Removes what an interrupted attach left in `dir` and tells how many files that were. Looks first: a directory with anything
/// else in it is left as it is.
fn clear_remains(storage: &dyn Storage, dir: &Path) -> Result<usize, AttachError> {
    let mut remains = Vec::new();
    for name in list(storage, dir)? {
        match name.as_str() {
            MANIFEST => return Err(AttachError::Exists(dir.to_owned())),
            MANIFEST_TMP => remains.push(dir.join(name)),
            LAYERS => collect(storage, &dir.join(name), is_layer_name, &mut remains)?,
            WAL => collect(storage, &dir.join(name), |_| false, &mut remains)?,
            _ => return Err(AttachError::NotEmpty { dir: dir.to_owned(), name }),
        }
    }
    for path in &remains {
        tracing::warn!(path = %path.display(), "removing a file that an interrupted attach left behind");
        storage.remove(path).context("remove", path)?;
    }
    Ok(remains.len())
}

fn is_layer_name(name: &str) -> bool {
    name.starts_with("base-") && name.ends_with(LAYER_SUFFIX)
}

fn collect(
    storage: &dyn Storage,
    dir: &Path,
    ours: impl Fn(&str) -> bool,
    remains: &mut Vec<PathBuf>,
) -> Result<(), AttachError> {
    for name in list(storage, dir)? {
        if !ours(&name) {
            return Err(AttachError::NotEmpty { dir: dir.to_owned(), name });
        }
        remains.push(dir.join(name));
    }
    Ok(())
}

/// The entries of a directory, none if it does not exist.
fn list(storage: &dyn Storage, dir: &Path) -> Result<Vec<String>, StorageError> {
    match storage.list(dir) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        other => other.context("list", dir),
    }
}
