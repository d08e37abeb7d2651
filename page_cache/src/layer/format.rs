//! Numbers, keys, header and trailer of a layer file, as bytes.

use pgdata::{Fork, Lsn, Object, PAGE_SIZE, PageKey, RelTag, SlruKind, SlruSegment};

pub(super) const HEADER: usize = 64;
pub(super) const TRAILER: usize = 32;
/// A page with its CRC.
pub(super) const PAGE_RECORD: usize = PAGE_SIZE + 4;
/// An object as bytes.
pub(crate) const OBJECT: usize = 16;

const MAGIC: &[u8; 8] = b"PGIMAGE\0";
const END_MAGIC: &[u8; 8] = b"PGIMGEND";
const FORMAT: u32 = 1;

// Offsets in the header.
const H_FORMAT: usize = 8;
const H_PAGE_SIZE: usize = 12;
const H_SYSTEM_ID: usize = 16;
const H_LSN: usize = 24;
const H_CRC: usize = 60;

// Offsets in the trailer.
const T_LENGTH: usize = 8;
const T_FOOTER_CRC: usize = 16;
const T_CRC: usize = 20;
const T_MAGIC: usize = 24;

/// What is wrong with the bytes of a layer file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LayerFormatError {
    /// The file does not begin or end as a layer file does.
    #[error("the {0} does not have a layer file's magic number")]
    Magic(&'static str),
    /// Some part has another checksum than was written with it.
    #[error("the {what} is damaged: CRC {got:08X}, expected {expected:08X}")]
    Crc {
        /// Which part.
        what: &'static str,
        /// Of the bytes as they are.
        got: u32,
        /// As written.
        expected: u32,
    },
    /// Written by another version of this program.
    #[error("layer format {0} is not known, only {FORMAT} is")]
    Format(u32),
    /// Written with another page size.
    #[error("pages of {0} bytes are not supported, only {PAGE_SIZE}")]
    PageSize(u32),
    /// The footer ends too early.
    #[error("the footer ends at byte {at} in the middle of {what}")]
    Truncated {
        /// Offset in the footer.
        at: usize,
        /// What was expected there.
        what: &'static str,
    },
    /// The footer goes on behind its last entry.
    #[error("the footer has {0} bytes too many")]
    Trailing(usize),
    /// Some value cannot be.
    #[error("the footer is wrong: {0}")]
    Value(String),
}

fn put(out: &mut [u8], at: usize, bytes: &[u8]) {
    out[at..at + bytes.len()].copy_from_slice(bytes);
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

fn check_crc(what: &'static str, bytes: &[u8], expected: u32) -> Result<(), LayerFormatError> {
    let got = crc32c::crc32c(bytes);
    if got == expected { Ok(()) } else { Err(LayerFormatError::Crc { what, got, expected }) }
}

/// What the header says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Header {
    pub system_id: u64,
    pub lsn: Lsn,
}

impl Header {
    pub fn to_bytes(self) -> [u8; HEADER] {
        let mut out = [0; HEADER];
        put(&mut out, 0, MAGIC);
        put(&mut out, H_FORMAT, &FORMAT.to_le_bytes());
        put(&mut out, H_PAGE_SIZE, &(PAGE_SIZE as u32).to_le_bytes());
        put(&mut out, H_SYSTEM_ID, &self.system_id.to_le_bytes());
        put(&mut out, H_LSN, &self.lsn.0.to_le_bytes());
        let crc = crc32c::crc32c(&out[..H_CRC]);
        put(&mut out, H_CRC, &crc.to_le_bytes());
        out
    }

    pub fn parse(bytes: &[u8; HEADER]) -> Result<Header, LayerFormatError> {
        if &bytes[..8] != MAGIC {
            return Err(LayerFormatError::Magic("header"));
        }
        check_crc("header", &bytes[..H_CRC], u32_at(bytes, H_CRC))?;
        match (u32_at(bytes, H_FORMAT), u32_at(bytes, H_PAGE_SIZE)) {
            (FORMAT, size) if size as usize == PAGE_SIZE => {}
            (FORMAT, size) => return Err(LayerFormatError::PageSize(size)),
            (format, _) => return Err(LayerFormatError::Format(format)),
        }
        Ok(Header { system_id: u64_at(bytes, H_SYSTEM_ID), lsn: Lsn(u64_at(bytes, H_LSN)) })
    }
}

/// What the trailer says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Trailer {
    pub footer_at: u64,
    pub footer_len: u64,
    pub footer_crc: u32,
}

impl Trailer {
    pub fn to_bytes(self) -> [u8; TRAILER] {
        let mut out = [0; TRAILER];
        put(&mut out, 0, &self.footer_at.to_le_bytes());
        put(&mut out, T_LENGTH, &self.footer_len.to_le_bytes());
        put(&mut out, T_FOOTER_CRC, &self.footer_crc.to_le_bytes());
        let crc = crc32c::crc32c(&out[..T_CRC]);
        put(&mut out, T_CRC, &crc.to_le_bytes());
        put(&mut out, T_MAGIC, END_MAGIC);
        out
    }

    /// `file_len` is the length of the whole file: header, data and footer must fill it up to the trailer.
    pub fn parse(bytes: &[u8; TRAILER], file_len: u64) -> Result<Trailer, LayerFormatError> {
        if &bytes[T_MAGIC..] != END_MAGIC {
            return Err(LayerFormatError::Magic("trailer"));
        }
        check_crc("trailer", &bytes[..T_CRC], u32_at(bytes, T_CRC))?;
        let (footer_at, footer_len) = (u64_at(bytes, 0), u64_at(bytes, T_LENGTH));
        let end = footer_at.checked_add(footer_len).and_then(|n| n.checked_add(TRAILER as u64));
        if footer_at < HEADER as u64 || end != Some(file_len) {
            let text =
                format!("{footer_len} bytes at {footer_at} do not end {TRAILER} bytes before the end, {file_len}");
            return Err(LayerFormatError::Value(text));
        }
        Ok(Trailer { footer_at, footer_len, footer_crc: u32_at(bytes, T_FOOTER_CRC) })
    }
}

pub(super) fn check_footer(bytes: &[u8], expected: u32) -> Result<(), LayerFormatError> {
    check_crc("footer", bytes, expected)
}

pub(crate) fn object_bytes(object: Object) -> [u8; OBJECT] {
    let (tag, what, numbers) = match object {
        Object::Relation(rel) => (0, rel.fork.number(), [rel.spc, rel.db, rel.rel]),
        Object::Slru(segment) => (1, segment.kind.number(), [segment.segno, 0, 0]),
    };
    let mut out = [0; OBJECT];
    (out[0], out[1]) = (tag, what);
    for (i, number) in numbers.into_iter().enumerate() {
        put(&mut out, 4 + 4 * i, &number.to_le_bytes());
    }
    out
}

pub(crate) fn parse_object(bytes: &[u8; OBJECT]) -> Result<Object, LayerFormatError> {
    let numbers = [u32_at(bytes, 4), u32_at(bytes, 8), u32_at(bytes, 12)];
    let object = match (bytes[0], Fork::from_number(bytes[1]), SlruKind::from_number(bytes[1])) {
        (0, Some(fork), _) => {
            let [spc, db, rel] = numbers;
            Some(Object::Relation(RelTag { spc, db, rel, fork }))
        }
        (1, _, Some(kind)) => Some(Object::Slru(SlruSegment { kind, segno: numbers[0] })),
        _ => None,
    };
    object
        .filter(|object| &object_bytes(*object) == bytes)
        .ok_or_else(|| LayerFormatError::Value(format!("{bytes:02X?} names no object")))
}

/// The CRC that is kept with a page: it covers the key too, so that a page in the wrong place is not believed.
pub(super) fn page_crc(key: PageKey, page: &[u8]) -> u32 {
    let crc = crc32c::crc32c(&object_bytes(key.object));
    let crc = crc32c::crc32c_append(crc, &key.block.to_le_bytes());
    crc32c::crc32c_append(crc, page)
}

/// Takes the footer apart, piece by piece, never past its end.
pub(super) struct Pieces<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Pieces<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Pieces { bytes, at: 0 }
    }

    pub fn take(&mut self, len: usize, what: &'static str) -> Result<&'a [u8], LayerFormatError> {
        let rest = &self.bytes[self.at..];
        let taken = rest.get(..len).ok_or(LayerFormatError::Truncated { at: self.bytes.len(), what })?;
        self.at += len;
        Ok(taken)
    }

    pub fn u16(&mut self, what: &'static str) -> Result<u16, LayerFormatError> {
        let bytes = self.take(2, what)?;
        Ok(u16::from_le_bytes([bytes[0], bytes[1]]))
    }

    pub fn u32(&mut self, what: &'static str) -> Result<u32, LayerFormatError> {
        Ok(u32_at(self.take(4, what)?, 0))
    }

    pub fn u64(&mut self, what: &'static str) -> Result<u64, LayerFormatError> {
        Ok(u64_at(self.take(8, what)?, 0))
    }

    pub fn object(&mut self) -> Result<Object, LayerFormatError> {
        parse_object(self.take(OBJECT, "an object")?.try_into().expect("as many bytes as were asked for"))
    }

    /// A number of entries of at least `entry` bytes each: more than the rest can hold is refused before anything is allocated.
    pub fn count(&mut self, entry: usize, what: &'static str) -> Result<usize, LayerFormatError> {
        let count = self.u32(what)? as usize;
        if count.saturating_mul(entry) > self.bytes.len() - self.at {
            return Err(LayerFormatError::Truncated { at: self.bytes.len(), what });
        }
        Ok(count)
    }

    pub fn finish(self) -> Result<(), LayerFormatError> {
        match self.bytes.len() - self.at {
            0 => Ok(()),
            rest => Err(LayerFormatError::Trailing(rest)),
        }
    }
}
