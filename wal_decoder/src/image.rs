//! Full-page images inside records.

use pgdata::{PAGE_SIZE, Page};

use crate::pglz::{PglzError, pglz_decompress};

/// How the bytes of an image are compressed (`BKPIMAGE_COMPRESS_*`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Compression {
    /// Not at all.
    None,
    /// PostgreSQL's own.
    Pglz,
    /// An LZ4 block.
    Lz4,
    /// One Zstandard frame.
    Zstd,
}

/// The image of a page in a record, mostly without the hole of zeros between its line pointers and its tuples.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BlockImage<'a> {
    /// Whether redo puts the image in the page's place. If not, it is there for `wal_consistency_checking` alone: it shows the
    /// page as it was after the change and must not be restored.
    pub apply: bool,
    /// Where the hole starts; 0 without a hole.
    pub hole_offset: u16,
    /// How long the hole is; 0 without a hole. `hole_offset + hole_length` is at most [`PAGE_SIZE`].
    pub hole_length: u16,
    /// How [`BlockImage::bytes`] is compressed.
    pub compression: Compression,
    /// The page without its hole, compressed.
    pub bytes: &'a [u8],
}

/// An image that does not make a page.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// The hole does not lie in the page.
    #[error("a page image has a hole of {length} bytes at {offset}, outside of its page")]
    Hole {
        /// Where it starts.
        offset: u16,
        /// How long it is.
        length: u16,
    },
    /// The image has not as many bytes as the page without its hole.
    #[error("a page image ({compression:?}) makes {got} bytes, expected {expected}")]
    Length {
        /// How it is compressed.
        compression: Compression,
        /// Bytes it makes.
        got: usize,
        /// Bytes it should make.
        expected: usize,
    },
    /// Not a valid pglz stream.
    #[error("a page image cannot be decompressed: {0}")]
    Pglz(#[from] PglzError),
    /// Not a valid LZ4 block.
    #[error("a page image cannot be decompressed: lz4: {0}")]
    Lz4(String),
    /// Not a valid Zstandard frame.
    #[error("a page image cannot be decompressed: zstd: {0}")]
    Zstd(String),
}

impl BlockImage<'_> {
    /// Writes the whole page, its hole filled with zeros (`RestoreBlockImage`). `pd_lsn` stays what it is in the image: the
    /// caller sets it, as redo does.
    ///
    /// # Errors
    /// [`ImageError`] if the bytes do not make exactly one page; `page` then has no meaningful content.
    pub fn restore(&self, page: &mut Page) -> Result<(), ImageError> {
        let (offset, length) = (usize::from(self.hole_offset), usize::from(self.hole_length));
        if offset + length > PAGE_SIZE {
            return Err(ImageError::Hole { offset: self.hole_offset, length: self.hole_length });
        }
        let expected = PAGE_SIZE - length;
        let got = self.decompress(&mut page[..expected])?;
        if got != expected {
            return Err(ImageError::Length { compression: self.compression, got, expected });
        }
        page.copy_within(offset..expected, offset + length);
        page[offset..offset + length].fill(0);
        Ok(())
    }

    /// Fills `output` and tells how many bytes the image made.
    fn decompress(&self, output: &mut [u8]) -> Result<usize, ImageError> {
        match self.compression {
            Compression::None => {
                if self.bytes.len() == output.len() {
                    output.copy_from_slice(self.bytes);
                }
                Ok(self.bytes.len())
            }
            Compression::Pglz => {
                pglz_decompress(self.bytes, output)?;
                Ok(output.len())
            }
            Compression::Lz4 => {
                lz4_flex::block::decompress_into(self.bytes, output).map_err(|e| ImageError::Lz4(e.to_string()))
            }
            Compression::Zstd => {
                zstd::bulk::decompress_to_buffer(self.bytes, output).map_err(|e| ImageError::Zstd(e.to_string()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A page with a hole from 100 to 8000 and other bytes around it.
    fn sample() -> Page {
        std::array::from_fn(|i| if (100..8000).contains(&i) { 0 } else { (i % 251) as u8 | 1 })
    }

    fn without_hole(page: &Page) -> Vec<u8> {
        [&page[..100], &page[8000..]].concat()
    }

    fn image(compression: Compression, bytes: &[u8]) -> BlockImage<'_> {
        BlockImage { apply: true, hole_offset: 100, hole_length: 7900, compression, bytes }
    }

    fn restore(image: BlockImage<'_>) -> Result<Page, ImageError> {
        let mut page = [0xAA; PAGE_SIZE];
        image.restore(&mut page).map(|()| page)
    }

    #[test]
    fn all_methods_restore_the_page_with_its_hole() {
        let raw = without_hole(&sample());
        let pglz: Vec<u8> = raw.chunks(8).flat_map(|chunk| [&[0], chunk].concat()).collect();
        assert_eq!(restore(image(Compression::None, &raw)), Ok(sample()));
        assert_eq!(restore(image(Compression::Pglz, &pglz)), Ok(sample()));
        assert_eq!(restore(image(Compression::Lz4, &lz4_flex::block::compress(&raw))), Ok(sample()));
        assert_eq!(restore(image(Compression::Zstd, &zstd::bulk::compress(&raw, 3).unwrap())), Ok(sample()));
    }

    #[test]
    fn a_page_without_a_hole_is_restored() {
        let page = sample();
        let image =
            BlockImage { apply: true, hole_offset: 0, hole_length: 0, compression: Compression::None, bytes: &page };
        assert_eq!(restore(image), Ok(page));
    }

    #[test]
    fn too_few_and_too_many_bytes_are_refused_by_all_methods() {
        for len in [0, 291, 293, 8192] {
            let raw = vec![7; len];
            let pglz: Vec<u8> = raw.chunks(8).flat_map(|chunk| [&[0], chunk].concat()).collect();
            let (lz4, zstd) = (lz4_flex::block::compress(&raw), zstd::bulk::compress(&raw, 3).unwrap());
            for (compression, bytes) in [
                (Compression::None, &raw),
                (Compression::Pglz, &pglz),
                (Compression::Lz4, &lz4),
                (Compression::Zstd, &zstd),
            ] {
                assert!(restore(image(compression, bytes)).is_err(), "{compression:?} {len}");
            }
        }
    }

    #[test]
    fn a_hole_outside_of_the_page_is_refused() {
        let image =
            BlockImage { apply: true, hole_offset: 8000, hole_length: 193, compression: Compression::None, bytes: &[] };
        assert_eq!(restore(image), Err(ImageError::Hole { offset: 8000, length: 193 }));
    }
}
