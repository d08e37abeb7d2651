//! Writing an image layer file as a stream.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pgdata::{Object, PAGE_SIZE, PageKey};

use super::format::{Header, LayerFormatError, PAGE_RECORD, Trailer, page_crc};
use super::index::{ImageBlob, ImageObject, LayerIndex, Run, max_blocks};
use crate::manifest::{LayerFile, TimelineInfo};
use crate::storage::{Context, Storage, StorageError, StorageFile, write_all_at};

/// Bytes that are collected before they are written.
const BUFFER: usize = 1 << 20;

/// What arrived for a layer and makes no sense.
#[derive(Debug, thiserror::Error)]
pub enum LayerContentError {
    /// Not a whole number of pages.
    #[error("{bytes} bytes for {object} from block {first_block} on are not a whole number of pages")]
    PartialPage {
        /// Of which object.
        object: Object,
        /// Where they should go.
        first_block: u32,
        /// How many arrived.
        bytes: usize,
    },
    /// More blocks than such an object can have.
    #[error("{object} cannot have {blocks} blocks")]
    TooLong {
        /// Which object.
        object: Object,
        /// How many it would have.
        blocks: u64,
    },
    /// The same block came twice.
    #[error("page {key} arrived twice")]
    Twice {
        /// Which page.
        key: PageKey,
    },
    /// A block is missing among those that came.
    #[error("page {key} is missing, though the object has {blocks} blocks: a file was cut off or left out")]
    Gap {
        /// Which page.
        key: PageKey,
        /// The object's size.
        blocks: u32,
    },
    /// The same small file came twice.
    #[error("the file {0:?} arrived twice")]
    BlobTwice(String),
    /// The name of a small file is not a name.
    #[error("{0:?} cannot be the name of a file")]
    BlobName(String),
    /// The index does not fit into the format.
    #[error(transparent)]
    Format(#[from] LayerFormatError),
    /// The file could not be written.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// What is known of an object so far. Runs come in any order.
#[derive(Default)]
struct Growing {
    blocks: u32,
    runs: Vec<Run>,
}

/// A layer file being written. Its memory is one buffer and the index.
pub(crate) struct LayerWriter {
    path: PathBuf,
    file: Arc<dyn StorageFile>,
    info: TimelineInfo,
    /// What is to be written at `written`.
    buffer: Vec<u8>,
    written: u64,
    objects: HashMap<Object, Growing>,
    blobs: BTreeMap<String, ImageBlob>,
}

impl LayerWriter {
    pub fn create(storage: &dyn Storage, path: &Path, info: TimelineInfo) -> Result<LayerWriter, LayerContentError> {
        let file = storage.create(path).context("create", path)?;
        let header = Header { system_id: info.system_id, lsn: info.start_lsn };
        let mut buffer = Vec::with_capacity(BUFFER + PAGE_RECORD);
        buffer.extend_from_slice(&header.to_bytes());
        let (path, objects, blobs) = (path.to_owned(), HashMap::new(), BTreeMap::new());
        Ok(LayerWriter { path, file, info, buffer, written: 0, objects, blobs })
    }

    pub fn pages(&mut self, object: Object, first_block: u32, bytes: &[u8]) -> Result<(), LayerContentError> {
        if !bytes.len().is_multiple_of(PAGE_SIZE) {
            return Err(LayerContentError::PartialPage { object, first_block, bytes: bytes.len() });
        }
        let blocks = (bytes.len() / PAGE_SIZE) as u64;
        self.grow(object, u64::from(first_block) + blocks)?;
        if blocks > 0 {
            let run = Run { first_block, blocks: blocks as u32, offset: self.position() };
            add_run(&mut self.objects.entry(object).or_default().runs, run);
        }
        for (block, page) in (first_block..).zip(bytes.chunks_exact(PAGE_SIZE)) {
            let crc = page_crc(PageKey { object, block }, page);
            self.buffer.extend_from_slice(page);
            self.buffer.extend_from_slice(&crc.to_le_bytes());
            self.flush_over(BUFFER)?;
        }
        Ok(())
    }

    /// The object exists with at least so many blocks.
    pub fn grow(&mut self, object: Object, blocks: u64) -> Result<(), LayerContentError> {
        if blocks > u64::from(max_blocks(object)) {
            return Err(LayerContentError::TooLong { object, blocks });
        }
        let growing = self.objects.entry(object).or_default();
        growing.blocks = growing.blocks.max(blocks as u32);
        Ok(())
    }

    pub fn blob(&mut self, name: &str, content: &[u8]) -> Result<(), LayerContentError> {
        if name.is_empty() || name.contains('\0') || name.len() > usize::from(u16::MAX) {
            return Err(LayerContentError::BlobName(name.to_owned()));
        }
        let place = ImageBlob { offset: self.position(), bytes: content.len() as u64, crc: crc32c::crc32c(content) };
        if self.blobs.contains_key(name) {
            return Err(LayerContentError::BlobTwice(name.to_owned()));
        }
        self.blobs.insert(name.to_owned(), place);
        for piece in content.chunks(BUFFER) {
            self.buffer.extend_from_slice(piece);
            self.flush_over(BUFFER)?;
        }
        Ok(())
    }

    fn position(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    fn flush_over(&mut self, limit: usize) -> Result<(), StorageError> {
        if self.buffer.len() > limit {
            write_all_at(&*self.file, &self.buffer, self.written).context("write", &self.path)?;
            self.written += self.buffer.len() as u64;
            self.buffer.clear();
        }
        Ok(())
    }

    /// Writes the index and makes the file durable. Its name is the caller's business.
    pub fn finish(mut self) -> Result<LayerFile, LayerContentError> {
        let objects = std::mem::take(&mut self.objects).into_iter();
        let objects = objects.map(|(object, growing)| Ok((object, complete(object, growing)?)));
        let index = LayerIndex {
            objects: objects.collect::<Result<_, LayerContentError>>()?,
            blobs: std::mem::take(&mut self.blobs),
        };
        let footer = index.to_bytes()?;
        let (footer_at, footer_crc) = (self.position(), crc32c::crc32c(&footer));
        let trailer = Trailer { footer_at, footer_len: footer.len() as u64, footer_crc };
        self.buffer.extend_from_slice(&footer);
        self.buffer.extend_from_slice(&trailer.to_bytes());
        self.flush_over(0)?;
        self.file.sync().context("sync", &self.path)?;
        let name = self.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        Ok(LayerFile { name, bytes: self.written, footer_crc })
    }

    pub fn info(&self) -> TimelineInfo {
        self.info
    }
}

/// Pages that follow those that came just before, in number and in place, make their run longer.
fn add_run(runs: &mut Vec<Run>, run: Run) {
    if let Some(last) = runs.last_mut() {
        let next_place = last.offset + u64::from(last.blocks) * PAGE_RECORD as u64;
        if last.end() == u64::from(run.first_block) && next_place == run.offset {
            last.blocks += run.blocks;
            return;
        }
    }
    runs.push(run);
}

/// The object as the index has it, once it is certain that each block came exactly once.
fn complete(object: Object, mut growing: Growing) -> Result<ImageObject, LayerContentError> {
    growing.runs.sort_by_key(|run| run.first_block);
    let mut next = 0;
    let blocks = growing.blocks;
    for run in &growing.runs {
        let first = u64::from(run.first_block);
        if first < next {
            return Err(LayerContentError::Twice { key: PageKey { object, block: run.first_block } });
        }
        if first > next {
            return Err(LayerContentError::Gap { key: PageKey { object, block: next as u32 }, blocks });
        }
        next = run.end();
    }
    if next < u64::from(blocks) {
        return Err(LayerContentError::Gap { key: PageKey { object, block: next as u32 }, blocks });
    }
    Ok(ImageObject { blocks, runs: growing.runs })
}
