//! An incremental reader of the tar archives that PostgreSQL writes: feed bytes, poll entries.
//!
//! PostgreSQL (`tarCreateHeader` in `src/port/tar.c`) writes plain ustar headers: a name of at most 99 bytes, no prefix field, types file, directory and
//! symbolic link, and sizes from 8 GiB on in base 256. It refuses longer names itself, so that no GNU or pax extension ever occurs; they are errors here.

use std::fmt;

/// Bytes of a block: headers are one, contents are padded to a multiple.
const BLOCK: usize = 512;
const NAME: std::ops::Range<usize> = 0..100;
const SIZE: std::ops::Range<usize> = 124..136;
const CHECKSUM: std::ops::Range<usize> = 148..156;
const TYPE: usize = 156;
const LINK: std::ops::Range<usize> = 157..257;
const MAGIC: std::ops::Range<usize> = 257..262;
const PREFIX: std::ops::Range<usize> = 345..500;

/// What is wrong with an archive.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TarError {
    /// The header's checksum does not match.
    #[error("the header at byte {at} has checksum {found}, computed {computed}")]
    Checksum {
        /// The header's position in the archive.
        at: u64,
        /// The header's field.
        found: u64,
        /// The sum of its bytes.
        computed: u64,
    },
    /// A field of a header that is not what it must be.
    #[error("the header at byte {at} has a bad {field}: {value}")]
    Field {
        /// The header's position in the archive.
        at: u64,
        /// The field.
        field: &'static str,
        /// Its value.
        value: String,
    },
    /// A path that would lead outside, or is not a path.
    #[error("the entry at byte {at} has the path {path:?}, which is not a plain relative path")]
    Path {
        /// The header's position in the archive.
        at: u64,
        /// The path.
        path: String,
    },
    /// The archive ends before its entry does.
    #[error("the archive ends at byte {at}, in the middle of {within}")]
    Truncated {
        /// Its length.
        at: u64,
        /// What was expected.
        within: &'static str,
    },
    /// Something other than zeros after the end-of-archive mark.
    #[error("data at byte {at}, after the end-of-archive mark")]
    AfterEnd {
        /// Its position in the archive.
        at: u64,
    },
}

/// One step of an archive.
#[derive(Debug, PartialEq, Eq)]
pub enum TarEvent<'a> {
    /// A directory.
    Directory(String),
    /// A symbolic link.
    Link {
        /// Its own path.
        path: String,
        /// What it points at.
        target: String,
    },
    /// A file begins.
    FileBegin {
        /// Its path.
        path: String,
        /// Bytes of its content.
        size: u64,
    },
    /// The next bytes of the file; never empty.
    FileData(&'a [u8]),
    /// The file is complete.
    FileEnd,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TarState {
    /// A header, or the end mark, follows.
    Header,
    /// Bytes of a file follow, then its padding.
    Content { left: u64, padding: usize },
    /// The padding after a file.
    Padding { left: usize },
    /// Zeros only.
    End,
}

/// Reads one archive.
pub struct TarReader {
    state: TarState,
    /// The bytes of an unfinished header.
    header: [u8; BLOCK],
    header_len: usize,
    /// Bytes taken so far.
    taken: u64,
}

impl fmt::Debug for TarReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TarReader").field("state", &self.state).field("taken", &self.taken).finish_non_exhaustive()
    }
}

impl Default for TarReader {
    fn default() -> Self {
        Self::new()
    }
}

impl TarReader {
    /// At the beginning of an archive.
    #[must_use]
    pub fn new() -> Self {
        TarReader { state: TarState::Header, header: [0; BLOCK], header_len: 0, taken: 0 }
    }

    /// Takes bytes off `input` until there is an event; `None` once `input` is empty: call again with more.
    ///
    /// # Errors
    /// Any [`TarError`]; the reader is of no use afterwards.
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<TarEvent<'a>>, TarError> {
        loop {
            match self.state {
                TarState::Content { left: 0, padding } => {
                    self.state = TarState::Padding { left: padding };
                    return Ok(Some(TarEvent::FileEnd));
                }
                _ if input.is_empty() => return Ok(None),
                TarState::Content { left, padding } => {
                    let here = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
                    self.state = TarState::Content { left: left - here as u64, padding };
                    return Ok(Some(TarEvent::FileData(self.take(input, here))));
                }
                TarState::Padding { left: 0 } => self.state = TarState::Header,
                TarState::Padding { left } => {
                    let here = left.min(input.len());
                    self.take(input, here);
                    self.state = TarState::Padding { left: left - here };
                }
                TarState::Header => {
                    if self.fill_header(input)
                        && let Some(event) = self.read_header()?
                    {
                        return Ok(Some(event));
                    }
                }
                TarState::End => {
                    let at = self.taken;
                    let here = input.len();
                    if let Some(strange) = self.take(input, here).iter().position(|&byte| byte != 0) {
                        return Err(TarError::AfterEnd { at: at + strange as u64 });
                    }
                }
            }
        }
    }

    /// Says that no more bytes come. PostgreSQL 15 and later write the end mark.
    ///
    /// # Errors
    /// [`TarError::Truncated`] unless the archive was complete.
    pub fn finish(&self) -> Result<(), TarError> {
        let within = match self.state {
            TarState::End => return Ok(()),
            TarState::Header => "the header or end mark",
            TarState::Content { .. } => "a file's content",
            TarState::Padding { .. } => "a file's padding",
        };
        Err(TarError::Truncated { at: self.taken, within })
    }

    fn take<'a>(&mut self, input: &mut &'a [u8], len: usize) -> &'a [u8] {
        let (taken, rest) = input.split_at(len);
        *input = rest;
        self.taken += len as u64;
        taken
    }

    /// Whether a whole header is there.
    fn fill_header(&mut self, input: &mut &[u8]) -> bool {
        let here = (BLOCK - self.header_len).min(input.len());
        let bytes = self.take(input, here);
        self.header[self.header_len..self.header_len + here].copy_from_slice(bytes);
        self.header_len += here;
        self.header_len == BLOCK
    }

    fn read_header(&mut self) -> Result<Option<TarEvent<'static>>, TarError> {
        self.header_len = 0;
        let at = self.taken - BLOCK as u64;
        if self.header.iter().all(|&b| b == 0) {
            self.state = TarState::End;
            return Ok(None);
        }
        let header = Header { bytes: &self.header, at };
        header.verify()?;
        let path = header.path()?;
        let size = header.size()?;
        let event = match (header.bytes[TYPE], size) {
            (b'0' | 0, size) => {
                // The remainder of a division by 512 fits.
                let padding = (BLOCK - (size % BLOCK as u64) as usize) % BLOCK;
                self.state = TarState::Content { left: size, padding };
                TarEvent::FileBegin { path, size }
            }
            (b'5', 0) => TarEvent::Directory(path),
            (b'2', 0) => TarEvent::Link { path, target: header.text("link target", LINK)? },
            (b'5' | b'2', size) => return Err(header.bad("size of an entry without content", size.to_string())),
            (kind, _) => return Err(header.bad("type", format!("{:?}", char::from(kind)))),
        };
        Ok(Some(event))
    }
}

struct Header<'a> {
    bytes: &'a [u8; BLOCK],
    at: u64,
}

impl Header<'_> {
    fn bad(&self, field: &'static str, value: String) -> TarError {
        TarError::Field { at: self.at, field, value }
    }

    fn verify(&self) -> Result<(), TarError> {
        if &self.bytes[MAGIC] != b"ustar" {
            return Err(self.bad("magic", self.bytes[MAGIC].escape_ascii().to_string()));
        }
        if self.bytes[PREFIX.start] != 0 {
            return Err(self.bad("prefix", self.bytes[PREFIX].escape_ascii().to_string()));
        }
        let found = self.octal("checksum", CHECKSUM)?;
        // The sum counts the checksum's own field as blanks.
        let own = self.bytes[CHECKSUM].iter().map(|&b| u64::from(b)).sum::<u64>();
        let computed = self.bytes.iter().map(|&b| u64::from(b)).sum::<u64>() - own + 8 * u64::from(b' ');
        if found == computed { Ok(()) } else { Err(TarError::Checksum { at: self.at, found, computed }) }
    }

    /// Bytes up to the first NUL, as UTF-8.
    fn text(&self, field: &'static str, range: std::ops::Range<usize>) -> Result<String, TarError> {
        let bytes = &self.bytes[range];
        let text = bytes.split(|&b| b == 0).next().unwrap_or_default();
        match std::str::from_utf8(text) {
            Ok(text) if !text.is_empty() => Ok(text.to_owned()),
            _ => Err(self.bad(field, text.escape_ascii().to_string())),
        }
    }

    fn path(&self) -> Result<String, TarError> {
        let text = self.text("name", NAME)?;
        // Directories and links have a slash at their end; `archive_status` of 15 has `./` in front.
        let path = text.strip_suffix('/').unwrap_or(&text);
        let path = path.strip_prefix("./").unwrap_or(path);
        if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(TarError::Path { at: self.at, path: text });
        }
        Ok(path.to_owned())
    }

    fn octal(&self, field: &'static str, range: std::ops::Range<usize>) -> Result<u64, TarError> {
        let bytes = &self.bytes[range];
        let digits = bytes.trim_ascii_start();
        let len = digits.iter().position(|b| !(b'0'..=b'7').contains(b)).unwrap_or(digits.len());
        let (digits, rest) = digits.split_at(len);
        if digits.is_empty() || rest.iter().any(|&b| b != 0 && b != b' ') {
            return Err(self.bad(field, bytes.escape_ascii().to_string()));
        }
        // At most twelve digits of three bits.
        Ok(digits.iter().fold(0, |sum, &digit| sum << 3 | u64::from(digit - b'0')))
    }

    fn size(&self) -> Result<u64, TarError> {
        let bytes = &self.bytes[SIZE];
        if bytes[0] != 0x80 {
            return self.octal("size", SIZE);
        }
        // Base 256: the upper bytes of the field must not matter, and what the archive's own length cannot hold is refused.
        let (upper, lower) = bytes[1..].split_at(3);
        let size = lower.iter().fold(0u64, |sum, &b| sum << 8 | u64::from(b));
        if upper.iter().any(|&b| b != 0) || size > i64::MAX as u64 {
            return Err(self.bad("size", bytes.escape_ascii().to_string()));
        }
        Ok(size)
    }
}

/// Whether an archive is read the same however it is cut, and whether each file is given exactly its bytes: for fuzzing.
///
/// # Panics
/// If not.
#[doc(hidden)]
pub fn check_any_bytes(archive: &[u8]) {
    let whole = read_in_pieces(archive, archive.len().max(1));
    for piece in [1, 511, 513] {
        assert_eq!(read_in_pieces(archive, piece), whole, "in pieces of {piece}");
    }
}

/// What an archive holds, as text, up to its end or first error.
fn read_in_pieces(archive: &[u8], piece: usize) -> (Vec<String>, Option<TarError>) {
    let mut entries = Vec::new();
    let mut file: Option<(u64, Vec<u8>)> = None;
    let mut reader = TarReader::new();
    for mut input in archive.chunks(piece) {
        loop {
            match reader.next(&mut input) {
                Err(error) => return (entries, Some(error)),
                Ok(None) => break,
                Ok(Some(TarEvent::FileData(data))) => {
                    assert!(!data.is_empty());
                    file.as_mut().expect("data of no file").1.extend_from_slice(data);
                }
                Ok(Some(TarEvent::FileEnd)) => {
                    let (size, content) = file.take().expect("end of no file");
                    assert_eq!(content.len() as u64, size);
                    entries.push(format!("content {}", content.escape_ascii()));
                }
                Ok(Some(event)) => {
                    assert!(file.is_none(), "{event:?} within a file");
                    if let TarEvent::FileBegin { size, .. } = event {
                        file = Some((size, Vec::new()));
                    }
                    entries.push(format!("{event:?}"));
                }
            }
        }
    }
    (entries, reader.finish().err())
}

#[cfg(test)]
mod tests;
