//! Frames (a tag byte, a length that counts itself, a body) and a reader of their bodies.

use std::convert::Infallible;

/// The longest row of a command's result, in bytes.
pub const MAX_ROW: usize = 16 << 20;

/// Bytes in a length field.
const LENGTH: usize = 4;

/// Bytes that are no message of the protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The tag byte is none that this side understands.
    #[error("message of unknown type {tag:#04x}")]
    Tag {
        /// The byte.
        tag: u8,
    },
    /// The length is less than that of the length field itself, or more than such a message may have.
    #[error("{what} of {length} bytes: expected {min} to {max}")]
    Length {
        /// Which message.
        what: &'static str,
        /// What its length field says.
        length: u32,
        /// The least length that is allowed.
        min: usize,
        /// The greatest.
        max: usize,
    },
    /// The message ends before its last field does.
    #[error("{what} is cut short: {needed} more bytes expected, {left} left")]
    Short {
        /// Which message.
        what: &'static str,
        /// The size of the field.
        needed: usize,
        /// What is left for it.
        left: usize,
    },
    /// A string without its closing zero byte.
    #[error("{what} holds a string without an end")]
    Unterminated {
        /// Which message.
        what: &'static str,
    },
    /// The message goes on after its last field.
    #[error("{what} has {left} bytes too many")]
    LeftOver {
        /// Which message.
        what: &'static str,
        /// How many.
        left: usize,
    },
    /// A string is not UTF-8, the only encoding here.
    #[error("{what} holds text that is not UTF-8")]
    NotUtf8 {
        /// Which message.
        what: &'static str,
    },
    /// A field has a value that it cannot have.
    #[error("{what} has {value} as its {field}")]
    Value {
        /// Which message.
        what: &'static str,
        /// Which field.
        field: &'static str,
        /// The value.
        value: i64,
    },
}

/// A frame at the start of a buffer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame<'a> {
    pub tag: u8,
    pub body: &'a [u8],
    /// Bytes of the buffer that the frame takes.
    pub size: usize,
}

/// The first frame of `bytes`, or `None` if more bytes are needed.
///
/// `rule` names the message that a tag starts and says how many bytes its body may have; it is asked as soon as the tag is there,
/// so that a hostile length is refused before anything waits for so many bytes.
pub(super) fn first_frame(
    bytes: &[u8],
    rule: impl FnOnce(u8) -> Option<(&'static str, usize)>,
) -> Result<Option<Frame<'_>>, FrameError> {
    let Some((&tag, rest)) = bytes.split_first() else { return Ok(None) };
    let (what, limit) = rule(tag).ok_or(FrameError::Tag { tag })?;
    let Some(length) = announced_length(rest, what, 0, limit)? else { return Ok(None) };
    Ok(rest.get(LENGTH..length).map(|body| Frame { tag, body, size: 1 + length }))
}

/// The length field at the start of `bytes`, once it is there, if it announces a body of `min` to `max` bytes.
pub(super) fn announced_length(
    bytes: &[u8],
    what: &'static str,
    min: usize,
    max: usize,
) -> Result<Option<usize>, FrameError> {
    let Some(field) = bytes.first_chunk::<LENGTH>() else { return Ok(None) };
    let length = u32::from_be_bytes(*field);
    let (min, max) = (min + LENGTH, max + LENGTH);
    match usize::try_from(length) {
        Ok(length) if (min..=max).contains(&length) => Ok(Some(length)),
        _ => Err(FrameError::Length { what, length, min, max }),
    }
}

/// Whether a length field counts its own four bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Counts {
    /// As in frames.
    Itself,
    /// As before the values of a row.
    BodyOnly,
}

/// Writes a length: `body` writes what follows. If it fails, nothing has been written.
pub(super) fn with_length<E>(
    out: &mut Vec<u8>,
    counts: Counts,
    body: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    let start = out.len();
    out.extend_from_slice(&[0; LENGTH]);
    if let Err(error) = body(out) {
        out.truncate(start);
        return Err(error);
    }
    let length = length_field(counts, out.len() - start - LENGTH);
    out[start..start + LENGTH].copy_from_slice(&length);
    Ok(())
}

fn length_field(counts: Counts, body: usize) -> [u8; LENGTH] {
    let counted = if counts == Counts::Itself { body + LENGTH } else { body };
    i32::try_from(counted).expect("a message is far shorter than 2 GiB: every part of it is bounded").to_be_bytes()
}

/// Writes the length of a body that does not follow in `out`.
pub(super) fn put_length(out: &mut Vec<u8>, counts: Counts, body: usize) {
    out.extend_from_slice(&length_field(counts, body));
}

/// Writes a frame whose body may turn out not to be had; then nothing has been written.
pub(super) fn try_frame<E>(
    out: &mut Vec<u8>,
    tag: u8,
    body: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    let start = out.len();
    out.push(tag);
    with_length(out, Counts::Itself, body).inspect_err(|_| out.truncate(start))
}

/// Writes a frame.
pub(super) fn frame(out: &mut Vec<u8>, tag: u8, body: impl FnOnce(&mut Vec<u8>)) {
    infallible(try_frame(out, tag, |out| {
        body(out);
        Ok(())
    }));
}

/// What cannot fail did not.
pub(super) fn infallible(result: Result<(), Infallible>) {
    match result {
        Ok(()) => {}
        Err(never) => match never {},
    }
}

/// Writes a string and its closing zero. A zero inside would end it early and shift every later field, so it is left out.
pub(super) fn put_cstr(out: &mut Vec<u8>, text: &str) {
    out.extend(text.bytes().filter(|&byte| byte != 0));
    out.push(0);
}

/// Takes a body apart, field by field.
#[derive(Clone, Debug)]
pub(super) struct Fields<'a> {
    what: &'static str,
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub fn new(what: &'static str, body: &'a [u8]) -> Self {
        Fields { what, rest: body }
    }

    pub fn bytes(&mut self, count: usize) -> Result<&'a [u8], FrameError> {
        match self.rest.split_at_checked(count) {
            Some((field, rest)) => {
                self.rest = rest;
                Ok(field)
            }
            None => Err(FrameError::Short { what: self.what, needed: count, left: self.rest.len() }),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], FrameError> {
        self.bytes(N).map(|bytes| bytes.try_into().expect("bytes() gave as many as it was asked for"))
    }

    pub fn u8(&mut self) -> Result<u8, FrameError> {
        self.array().map(u8::from_be_bytes)
    }

    pub fn i16(&mut self) -> Result<i16, FrameError> {
        self.array().map(i16::from_be_bytes)
    }

    pub fn i32(&mut self) -> Result<i32, FrameError> {
        self.array().map(i32::from_be_bytes)
    }

    pub fn u32(&mut self) -> Result<u32, FrameError> {
        self.array().map(u32::from_be_bytes)
    }

    pub fn u64(&mut self) -> Result<u64, FrameError> {
        self.array().map(u64::from_be_bytes)
    }

    /// A string up to its closing zero byte.
    pub fn cstr(&mut self) -> Result<&'a str, FrameError> {
        let what = self.what;
        let end = self.rest.iter().position(|&byte| byte == 0).ok_or(FrameError::Unterminated { what })?;
        let text = std::str::from_utf8(&self.rest[..end]).map_err(|_| FrameError::NotUtf8 { what })?;
        self.rest = &self.rest[end + 1..];
        Ok(text)
    }

    /// A string of so many bytes.
    pub fn text(&mut self, count: usize) -> Result<&'a str, FrameError> {
        let what = self.what;
        std::str::from_utf8(self.bytes(count)?).map_err(|_| FrameError::NotUtf8 { what })
    }

    /// All bytes that are left.
    pub fn remainder(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// An error about the value of a field.
    pub fn wrong(&self, field: &'static str, value: impl Into<i64>) -> FrameError {
        FrameError::Value { what: self.what, field, value: value.into() }
    }

    /// Says that this was all.
    pub fn end(self) -> Result<(), FrameError> {
        match self.rest.len() {
            0 => Ok(()),
            left => Err(FrameError::LeftOver { what: self.what, left }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(tag: u8) -> Option<(&'static str, usize)> {
        (tag == b'Q').then_some(("query", 4))
    }

    #[test]
    fn a_frame_is_whole_or_not_there_yet() {
        let mut bytes = Vec::new();
        frame(&mut bytes, b'Q', |out| out.extend_from_slice(b"abcd"));
        assert_eq!(bytes, b"Q\0\0\0\x08abcd");
        for cut in 0..bytes.len() {
            assert!(first_frame(&bytes[..cut], rule).expect("no error").is_none(), "{cut} bytes");
        }
        bytes.push(b'X');
        let first = first_frame(&bytes, rule).expect("no error").expect("whole");
        assert_eq!((first.tag, first.body, first.size), (b'Q', &b"abcd"[..], 9));
    }

    #[test]
    fn lengths_out_of_bounds_are_refused_before_the_body_comes() {
        for length in [0_u32, 3, 9, 0x7FFF_FFFF, u32::MAX] {
            let mut bytes = vec![b'Q'];
            bytes.extend_from_slice(&length.to_be_bytes());
            let error = first_frame(&bytes, rule).expect_err("refused");
            assert_eq!(error, FrameError::Length { what: "query", length, min: 4, max: 8 });
        }
        assert_eq!(first_frame(b"\x16", rule).expect_err("refused"), FrameError::Tag { tag: 0x16 });
    }

    #[test]
    fn a_frame_that_fails_leaves_nothing() {
        let mut out = b"before".to_vec();
        let result = try_frame(&mut out, b'd', |out| {
            out.push(1);
            Err("no page")
        });
        assert_eq!((result, &out[..]), (Err("no page"), &b"before"[..]));
    }

    #[test]
    fn strings_end_at_zero_and_are_utf8() {
        let mut fields = Fields::new("test", b"a\0\xff\0b");
        assert_eq!(fields.cstr(), Ok("a"));
        assert_eq!(fields.cstr(), Err(FrameError::NotUtf8 { what: "test" }));
        assert_eq!(Fields::new("test", b"b").cstr(), Err(FrameError::Unterminated { what: "test" }));
        let mut out = Vec::new();
        put_cstr(&mut out, "a\0b");
        assert_eq!(out, b"ab\0");
    }

    #[test]
    fn too_few_and_too_many_bytes_are_told() {
        let mut fields = Fields::new("test", &[0, 1, 2]);
        assert_eq!(fields.u32(), Err(FrameError::Short { what: "test", needed: 4, left: 3 }));
        assert_eq!(fields.u8(), Ok(0));
        assert_eq!(fields.end(), Err(FrameError::LeftOver { what: "test", left: 2 }));
    }
}
