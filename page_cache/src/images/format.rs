//! Header, entries, footer and trailer of a file of images, as bytes.

use pgdata::{Lsn, PAGE_SIZE, Page, PageKey};

use crate::layer::{LayerFormatError, OBJECT, object_bytes, parse_object};

pub(super) const HEADER: usize = 64;
pub(super) const TRAILER: usize = 32;
/// A page's key and LSN.
const NAME: usize = OBJECT + 4 + 8;
/// Before the page: its name and the CRC.
const BEFORE: usize = NAME + 4;
/// An image.
pub(super) const ENTRY: usize = BEFORE + PAGE_SIZE;

const MAGIC: &[u8; 8] = b"PGIMGLOG";
const END_MAGIC: &[u8; 8] = b"PGIMGFIN";
const FORMAT: u32 = 1;

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn check_crc(what: &'static str, bytes: &[u8], expected: u32) -> Result<(), LayerFormatError> {
    let got = crc32c::crc32c(bytes);
    if got == expected { Ok(()) } else { Err(LayerFormatError::Crc { what, got, expected }) }
}

/// Where an entry of a file is.
pub(super) fn offset(slot: u32) -> u64 {
    HEADER as u64 + u64::from(slot) * ENTRY as u64
}

/// What is said of a file at its beginning.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct FileHeader {
    pub system_id: u64,
    pub number: u32,
    pub salt: u64,
    /// Who made the images.
    pub maker: u32,
}

impl FileHeader {
    pub fn to_bytes(self) -> [u8; HEADER] {
        let mut out = [0; HEADER];
        out[..8].copy_from_slice(MAGIC);
        out[8..12].copy_from_slice(&FORMAT.to_le_bytes());
        out[12..16].copy_from_slice(&(PAGE_SIZE as u32).to_le_bytes());
        out[16..24].copy_from_slice(&self.system_id.to_le_bytes());
        out[24..28].copy_from_slice(&self.number.to_le_bytes());
        out[28..36].copy_from_slice(&self.salt.to_le_bytes());
        out[36..40].copy_from_slice(&self.maker.to_le_bytes());
        let crc = crc32c::crc32c(&out[..60]);
        out[60..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// The header of the file of this number and cluster.
    pub fn parse(bytes: &[u8; HEADER], system_id: u64, number: u32) -> Result<FileHeader, LayerFormatError> {
        if &bytes[..8] != MAGIC {
            return Err(LayerFormatError::Magic("header"));
        }
        check_crc("header", &bytes[..60], u32_at(bytes, 60))?;
        match (u32_at(bytes, 8), u32_at(bytes, 12)) {
            (FORMAT, size) if size as usize == PAGE_SIZE => {}
            (FORMAT, size) => return Err(LayerFormatError::PageSize(size)),
            (format, _) => return Err(LayerFormatError::Format(format)),
        }
        let salt = u64::from(u32_at(bytes, 28)) | u64::from(u32_at(bytes, 32)) << 32;
        let header = FileHeader { system_id, number, salt, maker: u32_at(bytes, 36) };
        if bytes != &header.to_bytes() {
            return Err(LayerFormatError::Value("it is of another cluster, or another file's".to_owned()));
        }
        Ok(header)
    }
}

/// What an image is of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ImageName {
    pub key: PageKey,
    pub lsn: Lsn,
}

impl ImageName {
    fn to_bytes(self) -> [u8; NAME] {
        let mut out = [0; NAME];
        out[..OBJECT].copy_from_slice(&object_bytes(self.key.object));
        out[OBJECT..OBJECT + 4].copy_from_slice(&self.key.block.to_le_bytes());
        out[OBJECT + 4..].copy_from_slice(&self.lsn.0.to_le_bytes());
        out
    }

    fn parse(bytes: &[u8; NAME]) -> Result<ImageName, LayerFormatError> {
        let object = parse_object(bytes.first_chunk().expect("an object is shorter"))?;
        let (_, lsn) = bytes.split_last_chunk().expect("eight bytes are fewer");
        Ok(ImageName { key: PageKey { object, block: u32_at(bytes, OBJECT) }, lsn: Lsn(u64::from_le_bytes(*lsn)) })
    }
}

/// Adds an entry of the file with this salt to `out`.
pub(super) fn put_entry(out: &mut Vec<u8>, salt: u64, name: ImageName, page: &Page) {
    let name = name.to_bytes();
    out.extend_from_slice(&name);
    out.extend_from_slice(&entry_crc(salt, &name, page).to_le_bytes());
    out.extend_from_slice(page);
}

fn entry_crc(salt: u64, name: &[u8], page: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(crc32c::crc32c(&salt.to_le_bytes()), name), page)
}

/// The page of an entry, if it was written to this file and nothing of it was changed; what it is of.
pub(super) fn parse_entry(salt: u64, entry: &[u8; ENTRY]) -> Result<(ImageName, &Page), LayerFormatError> {
    let (before, page) = entry.split_first_chunk::<BEFORE>().expect("it is longer");
    let name = before.first_chunk::<NAME>().expect("it is longer");
    let (got, expected) = (entry_crc(salt, name, page), u32_at(before, NAME));
    if got != expected {
        return Err(LayerFormatError::Crc { what: "image", got, expected });
    }
    Ok((ImageName::parse(name)?, page.try_into().expect("what is left is a page")))
}

/// What follows the entries of a file that is complete.
pub(crate) fn footer(names: &[ImageName]) -> Vec<u8> {
    let mut out: Vec<u8> = names.iter().flat_map(|name| name.to_bytes()).collect();
    let mut trailer = [0; TRAILER];
    trailer[..4].copy_from_slice(&(names.len() as u32).to_le_bytes());
    trailer[4..8].copy_from_slice(&crc32c::crc32c(&out).to_le_bytes());
    let crc = crc32c::crc32c(&trailer[..20]);
    trailer[20..24].copy_from_slice(&crc.to_le_bytes());
    trailer[24..].copy_from_slice(END_MAGIC);
    out.extend_from_slice(&trailer);
    out
}

/// How many entries and bytes of footer a file of this length has, by its trailer; `None` if it is not complete.
pub(super) fn parse_trailer(trailer: &[u8; TRAILER], file_len: u64) -> Option<(u32, usize)> {
    let entries = u32_at(trailer, 0);
    let footer = u64::from(entries) * NAME as u64;
    let whole = offset(entries) + footer + TRAILER as u64 == file_len;
    let unchanged = &trailer[24..] == END_MAGIC && crc32c::crc32c(&trailer[..20]) == u32_at(trailer, 20);
    (whole && unchanged).then_some((entries, footer as usize))
}

/// What the images of a complete file are of: `footer` is what is between its entries and its end.
pub(crate) fn parse_footer(footer: &[u8]) -> Result<Vec<ImageName>, LayerFormatError> {
    let (names, trailer) = footer
        .split_last_chunk::<TRAILER>()
        .ok_or(LayerFormatError::Truncated { at: footer.len(), what: "trailer" })?;
    check_crc("footer", names, u32_at(trailer, 4))?;
    let (names, rest) = names.as_chunks::<NAME>();
    if !rest.is_empty() {
        return Err(LayerFormatError::Trailing(rest.len()));
    }
    names.iter().map(ImageName::parse).collect()
}

#[cfg(test)]
mod tests {
    use pgdata::{RelTag, SlruKind};

    use super::*;

    fn names() -> Vec<ImageName> {
        let relation = RelTag { spc: 1663, db: 5, rel: 16384, ..RelTag::default() };
        let keys = [PageKey::relation(relation, 7), PageKey::slru(SlruKind::Clog, 40)];
        keys.into_iter().zip([Lsn(0x200_0028), Lsn(u64::MAX - 7)]).map(|(key, lsn)| ImageName { key, lsn }).collect()
    }

    #[test]
    fn every_bit_of_an_entry_is_protected() {
        for name in names() {
            let (mut entry, page) = (Vec::new(), [0x5A; PAGE_SIZE]);
            put_entry(&mut entry, 7, name, &page);
            let mut entry: [u8; ENTRY] = entry.try_into().unwrap();
            assert_eq!(parse_entry(7, &entry).unwrap(), (name, &page));
            assert!(parse_entry(8, &entry).is_err(), "another file's");
            for at in (0..64).chain((64..ENTRY).step_by(101)) {
                entry[at] ^= 1 << (at % 8);
                assert!(parse_entry(7, &entry).is_err(), "byte {at}");
                entry[at] ^= 1 << (at % 8);
            }
        }
    }

    #[test]
    fn every_bit_of_a_header_is_protected() {
        let header = FileHeader { system_id: 77, number: 3, salt: 0x0123_4567_89AB_CDEF, maker: 0xFEDC_BA98 };
        let mut bytes = header.to_bytes();
        assert_eq!(FileHeader::parse(&bytes, 77, 3).unwrap(), header);
        assert!(FileHeader::parse(&bytes, 78, 3).is_err() && FileHeader::parse(&bytes, 77, 2).is_err());
        for at in 0..HEADER {
            bytes[at] ^= 1 << (at % 8);
            assert!(FileHeader::parse(&bytes, 77, 3).is_err(), "byte {at}");
            bytes[at] ^= 1 << (at % 8);
        }
    }

    #[test]
    fn every_bit_of_a_footer_is_protected_or_means_nothing() {
        let mut bytes = footer(&names());
        let length = offset(2) + bytes.len() as u64;
        let read = |bytes: &[u8]| {
            let (entries, len) = parse_trailer(bytes.last_chunk().unwrap(), length)?;
            assert_eq!((entries, len), (2, 2 * NAME));
            parse_footer(bytes).ok()
        };
        assert_eq!(read(&bytes), Some(names()));
        for at in 0..bytes.len() {
            bytes[at] ^= 1 << (at % 8);
            assert_eq!(read(&bytes), None, "byte {at}");
            bytes[at] ^= 1 << (at % 8);
        }
        assert_eq!(parse_trailer(bytes.last_chunk().unwrap(), length + 1), None);
        assert!(parse_footer(&bytes[1..]).is_err() && parse_footer(&[]).is_err());
        assert_eq!(parse_footer(&footer(&[])).unwrap(), []);
    }
}
