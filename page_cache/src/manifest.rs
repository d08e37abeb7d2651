//! `timeline.json`: the file that makes a directory a timeline. It is switched as a whole, so there is always one that is whole.

use std::path::{Path, PathBuf};

use pgdata::wal::{SegmentSize, WalLayoutError};
use pgdata::{Lsn, ParseLsnError, PgVersion, UnknownVersion};
use serde::{Deserialize, Serialize};

use crate::storage::{Context, Storage, StorageError, read_file, write_all_at};

/// The name of the manifest in a timeline's directory: the file that makes it one. Who takes a timeline away removes it first.
pub const MANIFEST: &str = "timeline.json";
/// Where the next manifest is written before it takes the place of the old one.
pub(crate) const MANIFEST_TMP: &str = "timeline.json.tmp";
const FORMAT: u32 = 1;
/// A manifest is a few hundred bytes; a longer file is none.
const MAX_MANIFEST: u64 = 1 << 20;

/// What a timeline is, whatever it contains: fixed when it is attached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimelineInfo {
    /// The major version of the source cluster.
    pub version: PgVersion,
    /// The source cluster's system identifier.
    pub system_id: u64,
    /// The size of its WAL segments.
    pub segment_size: SegmentSize,
    /// PostgreSQL's own number of the timeline, the first part of WAL file names.
    pub pg_timeline: u32,
    /// Where redo of the base backup starts (the backup's checkpoint's redo pointer): the LSN that the base image has.
    pub start_lsn: Lsn,
}

/// The content of the manifest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Manifest {
    pub info: TimelineInfo,
    /// From here on the base image with the WAL since `start_lsn` is a consistent database.
    pub consistent_lsn: Lsn,
    pub layer: LayerFile,
}

/// The image layer file that a manifest names.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LayerFile {
    /// In the directory `layers`.
    pub name: String,
    pub bytes: u64,
    /// CRC-32C of the layer's footer. Pages and small files have CRCs of their own, checked when they are read.
    pub footer_crc: u32,
}

/// Why a manifest is not believed.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// There is no manifest: the directory is no timeline, or one whose attaching was interrupted.
    #[error("{} is not a timeline: it has no {MANIFEST}", dir.display())]
    NotATimeline {
        /// The directory.
        dir: PathBuf,
    },
    /// The file could not be read or written.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// It is not what this program writes.
    #[error("the manifest is damaged: {0}")]
    Json(#[from] serde_json::Error),
    /// The content does not have the checksum that was written with it.
    #[error("the manifest is damaged: its content has CRC {got}, but {expected:?} was written with it")]
    Crc {
        /// Of the content as read.
        got: String,
        /// In the file.
        expected: String,
    },
    /// Written by another version of this program.
    #[error("the manifest has format {0}, only {FORMAT} is known")]
    Format(u32),
    /// A WAL position that is none.
    #[error("the manifest is damaged: {0}")]
    Lsn(#[from] ParseLsnError),
    /// A PostgreSQL version that is not supported.
    #[error("the manifest names an unknown version: {0}")]
    Version(#[from] UnknownVersion),
    /// A WAL segment size that is none.
    #[error("the manifest is damaged: {0}")]
    SegmentSize(#[from] WalLayoutError),
    /// Values that contradict each other.
    #[error("the manifest is damaged: {0}")]
    Contradiction(String),
}

/// The file: the content, and the CRC-32C of the content's compact JSON. White space is not part of what is protected.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope {
    crc32c: String,
    timeline: Body,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    format: u32,
    pg_version: u32,
    system_id: u64,
    wal_segment_size: u32,
    pg_timeline: u32,
    start_lsn: String,
    consistent_lsn: String,
    image_layer: LayerFile,
}

impl Manifest {
    pub fn to_bytes(&self) -> Vec<u8> {
        let body = Body {
            format: FORMAT,
            pg_version: self.info.version.major(),
            system_id: self.info.system_id,
            wal_segment_size: self.info.segment_size.bytes(),
            pg_timeline: self.info.pg_timeline,
            start_lsn: self.info.start_lsn.to_string(),
            consistent_lsn: self.consistent_lsn.to_string(),
            image_layer: self.layer.clone(),
        };
        let envelope = Envelope { crc32c: format!("{:08x}", body.crc()), timeline: body };
        serde_json::to_vec_pretty(&envelope).expect("numbers and strings always have a JSON form")
    }

    pub fn parse(bytes: &[u8]) -> Result<Manifest, ManifestError> {
        let envelope: Envelope = serde_json::from_slice(bytes)?;
        let got = format!("{:08x}", envelope.timeline.crc());
        if got != envelope.crc32c {
            return Err(ManifestError::Crc { got, expected: envelope.crc32c });
        }
        Self::from_body(envelope.timeline)
    }

    /// [`Manifest::parse`] without a look at the checksum, which a fuzzer would never get right.
    pub fn parse_unchecked(bytes: &[u8]) -> Result<Manifest, ManifestError> {
        Self::from_body(serde_json::from_slice::<Envelope>(bytes)?.timeline)
    }

    fn from_body(body: Body) -> Result<Manifest, ManifestError> {
        if body.format != FORMAT {
            return Err(ManifestError::Format(body.format));
        }
        let info = TimelineInfo {
            version: PgVersion::from_major(body.pg_version)?,
            system_id: body.system_id,
            segment_size: SegmentSize::new(body.wal_segment_size)?,
            pg_timeline: body.pg_timeline,
            start_lsn: body.start_lsn.parse()?,
        };
        let manifest = Manifest { info, consistent_lsn: body.consistent_lsn.parse()?, layer: body.image_layer };
        manifest.check()?;
        Ok(manifest)
    }

    /// What must hold of a manifest before it is written and after it is read.
    fn check(&self) -> Result<(), ManifestError> {
        let wrong = |text: String| Err(ManifestError::Contradiction(text));
        let (start, consistent) = (self.info.start_lsn, self.consistent_lsn);
        if consistent < start {
            return wrong(format!("the first consistent LSN {consistent} is before the start LSN {start}"));
        }
        if !start.is_aligned() || !start.is_valid() {
            return wrong(format!("the start LSN {start} is not the LSN of a record"));
        }
        let name = &self.layer.name;
        if name.is_empty() || name.starts_with('.') || name.contains(['/', '\0']) {
            return wrong(format!("{name:?} is not the name of a layer file"));
        }
        Ok(())
    }

    /// Reads the manifest of the timeline in `dir`.
    pub fn read(storage: &dyn Storage, dir: &Path) -> Result<Manifest, ManifestError> {
        let path = dir.join(MANIFEST);
        match read_file(storage, &path, MAX_MANIFEST) {
            Ok(bytes) => Manifest::parse(&bytes),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                Err(ManifestError::NotATimeline { dir: dir.to_owned() })
            }
            Err(e) => Ok(Err(e).context("read", &path)?),
        }
    }

    /// Makes this the manifest of the timeline in `dir`, durably and in one step.
    pub fn switch(&self, storage: &dyn Storage, dir: &Path) -> Result<(), ManifestError> {
        self.check()?;
        let (tmp, path) = (dir.join(MANIFEST_TMP), dir.join(MANIFEST));
        let file = storage.create(&tmp).context("create", &tmp)?;
        write_all_at(&*file, &self.to_bytes(), 0).context("write", &tmp)?;
        file.sync().context("sync", &tmp)?;
        storage.rename(&tmp, &path).context("rename into place", &path)?;
        storage.sync_dir(dir).context("sync", dir)?;
        Ok(())
    }
}

impl Body {
    fn crc(&self) -> u32 {
        crc32c::crc32c(&serde_json::to_vec(self).expect("numbers and strings always have a JSON form"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        Manifest {
            info: TimelineInfo {
                version: PgVersion::V15,
                system_id: u64::MAX - 1,
                segment_size: SegmentSize::DEFAULT,
                pg_timeline: 1,
                start_lsn: Lsn(0x200_0028),
            },
            consistent_lsn: Lsn(0x200_0100),
            layer: LayerFile { name: "base.img".to_owned(), bytes: 1000, footer_crc: 7 },
        }
    }

    #[test]
    fn round_trips() {
        assert_eq!(Manifest::parse(&manifest().to_bytes()).unwrap(), manifest());
    }

    #[test]
    fn a_changed_byte_is_noticed_or_means_nothing() {
        let bytes = manifest().to_bytes();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                if let Ok(read) = Manifest::parse(&changed) {
                    assert_eq!(read, manifest(), "byte {at} bit {bit}");
                }
            }
        }
    }

    #[test]
    fn a_layer_name_cannot_leave_the_directory() {
        for name in ["", ".", "..", "../x", "a/b", "a\0"] {
            let mut changed = manifest();
            changed.layer.name = name.to_owned();
            assert!(matches!(Manifest::parse(&changed.to_bytes()), Err(ManifestError::Contradiction(_))), "{name:?}");
        }
    }
}
