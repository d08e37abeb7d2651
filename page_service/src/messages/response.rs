//! Answers of a page stream.
//!
//! ```text
//! v2: tag u8 | result                    an error: 103 | text | NUL
//! v3: tag u8 | header | operands | result        an error: 103 | header | text | NUL
//! ```
//! A tag is that of the request plus 100, but database size is 104, SLRU segment 105, and 103 is an error.

use pgdata::{PAGE_SIZE, Page, RelTag, SlruKind};

use super::frame::{Fields, FrameError, frame, put_cstr, try_frame};
use super::frontend_message::COPY_DATA;
use super::{Header, Operation, Version};

const EXISTS: u8 = 100;
const SIZE: u8 = 101;
const PAGE: u8 = 102;
const ERROR: u8 = 103;
const DATABASE_SIZE: u8 = 104;
const SLRU_SEGMENT: u8 = 105;

const WHAT: &str = "page stream answer";

/// The longest error text sent; the rest is cut off.
const MAX_ERROR_TEXT: usize = 4096;
/// The longest SLRU segment.
const MAX_SEGMENT: usize = SlruKind::PAGES_PER_SEGMENT as usize * PAGE_SIZE;
/// More than the longest answer: a v3 segment with its header and operands.
pub(super) const MAX_COPY_ANSWER: usize = MAX_SEGMENT + 64;

/// The result of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer<'a> {
    /// Whether the fork exists.
    Exists(bool),
    /// Its size in blocks.
    Size(u32),
    /// The page.
    Page(&'a Page),
    /// The database's size in bytes.
    DatabaseSize(u64),
    /// The segment: 0 to 32 whole pages.
    SlruSegment(&'a [u8]),
    /// The request failed; the stream goes on.
    Error(&'a str),
}

/// One answer of a page stream, as the client receives it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Response<'a> {
    /// The request's header; version 3 only.
    pub header: Option<Header>,
    /// What was asked; version 3 only, and not in errors.
    pub operation: Option<Operation>,
    /// The result.
    pub answer: Answer<'a>,
}

/// Bytes that are not an answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct ResponseError(#[from] FrameError);

impl<'a> Response<'a> {
    /// Understands the content of one CopyData message.
    ///
    /// # Errors
    /// If it is not exactly one answer.
    pub fn parse(version: Version, body: &'a [u8]) -> Result<Response<'a>, ResponseError> {
        let mut fields = Fields::new(WHAT, body);
        let tag = fields.u8()?;
        let request_tag = match tag {
            EXISTS..=PAGE => Some(tag - EXISTS),
            DATABASE_SIZE | SLRU_SEGMENT => Some(tag - EXISTS - 1),
            ERROR => None,
            _ => return Err(fields.wrong("type", tag).into()),
        };
        let (mut header, mut operation) = (None, None);
        if version == Version::V3 {
            header = Some(Header::read(&mut fields, version)?);
            operation = request_tag.map(|tag| Operation::read_echo(&mut fields, tag)).transpose()?;
        }
        let answer = Answer::read(&mut fields, tag)?;
        fields.end()?;
        Ok(Response { header, operation, answer })
    }
}

impl<'a> Answer<'a> {
    fn read(fields: &mut Fields<'a>, tag: u8) -> Result<Answer<'a>, FrameError> {
        Ok(match tag {
            EXISTS => match fields.u8()? {
                0 => Answer::Exists(false),
                1 => Answer::Exists(true),
                other => return Err(fields.wrong("truth value", other)),
            },
            SIZE => Answer::Size(fields.u32()?),
            PAGE => Answer::Page(fields.bytes(PAGE_SIZE)?.try_into().expect("as many bytes as asked for")),
            ERROR => Answer::Error(fields.cstr()?),
            DATABASE_SIZE => {
                let bytes = fields.u64()?;
                let signed = i64::from_ne_bytes(bytes.to_ne_bytes());
                Answer::DatabaseSize(u64::try_from(signed).map_err(|_| fields.wrong("size", signed))?)
            }
            SLRU_SEGMENT => {
                let pages = fields.u32()?;
                if pages > SlruKind::PAGES_PER_SEGMENT {
                    return Err(fields.wrong("number of pages", pages));
                }
                Answer::SlruSegment(fields.bytes(pages as usize * PAGE_SIZE)?)
            }
            other => return Err(fields.wrong("type", other)),
        })
    }

    const fn tag(&self) -> u8 {
        match self {
            Answer::Exists(_) => EXISTS,
            Answer::Size(_) => SIZE,
            Answer::Page(_) => PAGE,
            Answer::DatabaseSize(_) => DATABASE_SIZE,
            Answer::SlruSegment(_) => SLRU_SEGMENT,
            Answer::Error(_) => ERROR,
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        match *self {
            Answer::Exists(exists) => out.push(u8::from(exists)),
            Answer::Size(blocks) => out.extend_from_slice(&blocks.to_be_bytes()),
            Answer::Page(page) => out.extend_from_slice(page),
            Answer::DatabaseSize(bytes) => {
                assert!(i64::try_from(bytes).is_ok(), "database size of {bytes} bytes does not fit the protocol");
                out.extend_from_slice(&bytes.to_be_bytes());
            }
            Answer::SlruSegment(bytes) => {
                let whole = bytes.len() % PAGE_SIZE == 0 && bytes.len() <= MAX_SEGMENT;
                assert!(whole, "SLRU segment of {} bytes: expected 0 to 32 pages", bytes.len());
                out.extend_from_slice(&((bytes.len() / PAGE_SIZE) as u32).to_be_bytes());
                out.extend_from_slice(bytes);
            }
            Answer::Error(text) => put_cstr(out, shortened(text, MAX_ERROR_TEXT)),
        }
    }
}

/// The beginning of a text: whole characters, at most `limit` bytes of them.
pub(super) fn shortened(text: &str, limit: usize) -> &str {
    if text.len() <= limit {
        return text;
    }
    let end = (0..=limit).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    &text[..end]
}

/// Appends an answer as one CopyData message. `operation` is what was asked, where it is known what was asked: only a request that
/// was not understood, whose answer is an error, has none.
///
/// # Panics
/// If the answer is not one that the protocol can carry: a segment that is not 0 to 32 pages, a size over `i64::MAX`, or a result
/// without an operation in version 3.
pub fn write_answer(
    out: &mut Vec<u8>,
    version: Version,
    header: &Header,
    operation: Option<&Operation>,
    answer: &Answer<'_>,
) {
    frame(out, COPY_DATA, |out| {
        write_opening(out, version, answer.tag(), header, operation);
        answer.write(out);
    });
}

/// Appends the answer to a page request; `fill` writes the page straight into its place in `out`. If it fails, nothing is appended.
///
/// # Errors
/// What `fill` gave.
pub fn write_page<E>(
    out: &mut Vec<u8>,
    version: Version,
    header: &Header,
    (rel, block): (RelTag, u32),
    fill: impl FnOnce(&mut Page) -> Result<(), E>,
) -> Result<(), E> {
    try_frame(out, COPY_DATA, |out| {
        write_opening(out, version, PAGE, header, Some(&Operation::Page { rel, block }));
        let at = out.len();
        out.resize(at + PAGE_SIZE, 0);
        fill((&mut out[at..]).try_into().expect("as many bytes as were just added"))
    })
}

/// Everything before the result.
fn write_opening(out: &mut Vec<u8>, version: Version, tag: u8, header: &Header, operation: Option<&Operation>) {
    out.push(tag);
    if version == Version::V2 {
        return;
    }
    header.write(out, version);
    if tag != ERROR {
        operation.expect("a result answers a known question").write_echo(out);
    }
}
