//! Reading an image layer file.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pgdata::{Lsn, Page, PageKey};

use super::format::{HEADER, Header, LayerFormatError, PAGE_RECORD, TRAILER, Trailer, check_footer, page_crc};
use super::index::LayerIndex;
use crate::storage::{Context, Storage, StorageError, StorageFile, read_exact_at};

/// Why a layer file, or something in it, is not believed.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// The file could not be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The file is not what was written.
    #[error("the layer file {} is damaged: {source}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: LayerFormatError,
    },
    /// The file is not the one that the manifest means.
    #[error("the layer file {} has {what} {got}, but the manifest says {expected}", path.display())]
    Other {
        /// The file.
        path: PathBuf,
        /// Which of its properties.
        what: &'static str,
        /// As found.
        got: String,
        /// As the manifest has it.
        expected: String,
    },
    /// A page is damaged.
    #[error(
        "the layer file {} is damaged at offset {offset}: page {key} has CRC {got:08X}, expected {expected:08X}",
        path.display()
    )]
    Page {
        /// The file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// Which page it should be.
        key: PageKey,
        /// Of key and page as read.
        got: u32,
        /// As written.
        expected: u32,
    },
    /// A small file is damaged.
    #[error(
        "the layer file {} is damaged at offset {offset}: file {name:?} has CRC {got:08X}, expected {expected:08X}",
        path.display()
    )]
    Blob {
        /// The layer file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// The small file.
        name: String,
        /// As read.
        got: u32,
        /// As written.
        expected: u32,
    },
    /// The layer does not have the page that its own index was understood to have.
    #[error("the layer file {} has no page {key}", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// Which page.
        key: PageKey,
    },
}

/// Pages that are read by one system call at most: 256 KiB.
const RUN: usize = 32;

thread_local! {
    /// What [`ImageLayer::read_run`] reads, before it is believed. It is kept, for clearing a new one each time takes long.
    static RECORDS: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// An open image layer. Reading a page is one system call.
#[derive(Debug)]
pub(crate) struct ImageLayer {
    path: PathBuf,
    file: Arc<dyn StorageFile>,
    index: LayerIndex,
    bytes: u64,
}

/// What the manifest says of a layer file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected {
    pub bytes: u64,
    pub footer_crc: u32,
    pub system_id: u64,
    pub lsn: Lsn,
}

impl ImageLayer {
    pub fn open(storage: &dyn Storage, path: &Path, expected: Expected) -> Result<ImageLayer, LayerError> {
        let file = storage.open(path).context("open", path)?;
        let bytes = file.size().context("read the size of", path)?;
        let format = |source| LayerError::Format { path: path.to_owned(), source };
        require(path, "length", bytes, expected.bytes)?;
        if bytes < (HEADER + TRAILER) as u64 {
            return Err(format(LayerFormatError::Value(format!("it has {bytes} bytes only"))));
        }
        let (mut header, mut trailer) = ([0; HEADER], [0; TRAILER]);
        read_exact_at(&*file, &mut header, 0).context("read", path)?;
        read_exact_at(&*file, &mut trailer, bytes - TRAILER as u64).context("read", path)?;
        let header = Header::parse(&header).map_err(format)?;
        require(path, "system identifier", header.system_id, expected.system_id)?;
        require(path, "LSN", header.lsn, expected.lsn)?;
        let trailer = Trailer::parse(&trailer, bytes).map_err(format)?;
        require(path, "footer CRC", trailer.footer_crc, expected.footer_crc)?;
        let mut footer = vec![0; trailer.footer_len as usize];
        read_exact_at(&*file, &mut footer, trailer.footer_at).context("read", path)?;
        check_footer(&footer, trailer.footer_crc).map_err(format)?;
        let index = LayerIndex::parse(&footer, trailer.footer_at).map_err(format)?;
        Ok(ImageLayer { path: path.to_owned(), file, index, bytes })
    }

    pub fn index(&self) -> &LayerIndex {
        &self.index
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    pub fn read_page(&self, key: PageKey, page: &mut Page) -> Result<(), LayerError> {
        let (offset, _) = self.find(key)?;
        let mut record = [0; PAGE_RECORD];
        read_exact_at(&*self.file, &mut record, offset).context("read", &self.path)?;
        self.check(key, offset, &record, page)
    }

    /// Reads the pages from `key` on. Those that lie side by side are one system call.
    pub fn read_run(&self, key: PageKey, pages: &mut [Page]) -> Result<(), LayerError> {
        RECORDS.with_borrow_mut(|records| {
            records.resize(RUN * PAGE_RECORD, 0);
            let mut rest = pages;
            let mut key = key;
            while !rest.is_empty() {
                let (offset, side_by_side) = self.find(key)?;
                let (these, behind) = rest.split_at_mut(rest.len().min(side_by_side as usize).min(RUN));
                self.read_side_by_side(key, offset, these, records)?;
                key.block = key.block.wrapping_add(these.len() as u32);
                rest = behind;
            }
            Ok(())
        })
    }

    fn read_side_by_side(
        &self,
        first: PageKey,
        offset: u64,
        pages: &mut [Page],
        records: &mut [u8],
    ) -> Result<(), LayerError> {
        let records = &mut records[..pages.len() * PAGE_RECORD];
        read_exact_at(&*self.file, records, offset).context("read", &self.path)?;
        let offsets = (offset..).step_by(PAGE_RECORD);
        for (((block, offset), record), page) in
            (first.block..).zip(offsets).zip(records.chunks_exact(PAGE_RECORD)).zip(pages)
        {
            self.check(PageKey { block, ..first }, offset, record, page)?;
        }
        Ok(())
    }

    /// Where a page is, and how many lie side by side from it on.
    fn find(&self, key: PageKey) -> Result<(u64, u32), LayerError> {
        self.index.page(key).ok_or_else(|| LayerError::Missing { path: self.path.clone(), key })
    }

    /// Believes a page and copies it, or does not.
    fn check(&self, key: PageKey, offset: u64, record: &[u8], page: &mut Page) -> Result<(), LayerError> {
        let (content, crc) = record.split_at(page.len());
        let expected = u32::from_le_bytes(crc.try_into().expect("four bytes"));
        let got = page_crc(key, content);
        if got != expected {
            return Err(LayerError::Page { path: self.path.clone(), offset, key, got, expected });
        }
        page.copy_from_slice(content);
        Ok(())
    }

    /// A small file, or `None` if the layer does not have it.
    pub fn read_blob(&self, name: &str) -> Result<Option<Vec<u8>>, LayerError> {
        let Some(blob) = self.index.blobs.get(name) else {
            return Ok(None);
        };
        let mut content = vec![0; blob.bytes as usize];
        read_exact_at(&*self.file, &mut content, blob.offset).context("read", &self.path)?;
        let got = crc32c::crc32c(&content);
        if got != blob.crc {
            let (path, offset, name, expected) = (self.path.clone(), blob.offset, name.to_owned(), blob.crc);
            return Err(LayerError::Blob { path, offset, name, got, expected });
        }
        Ok(Some(content))
    }
}

fn require<T: PartialEq + ToString>(path: &Path, what: &'static str, got: T, expected: T) -> Result<(), LayerError> {
    if got == expected {
        return Ok(());
    }
    Err(LayerError::Other { path: path.to_owned(), what, got: got.to_string(), expected: expected.to_string() })
}
