//! Requests of a page stream.
//!
//! ```text
//! v2: tag u8 | request_lsn u64 | not_modified_since u64 | operands
//! v3: tag u8 | reqid u64 | request_lsn u64 | not_modified_since u64 | operands
//! ```

use pgdata::{Fork, RelTag, SlruKind, SlruSegment};

use super::frame::{Fields, FrameError, frame};
use super::frontend_message::COPY_DATA;
use super::{Header, Version};

const EXISTS: u8 = 0;
const SIZE: u8 = 1;
const PAGE: u8 = 2;
const DATABASE_SIZE: u8 = 3;
const SLRU_SEGMENT: u8 = 4;

const WHAT: &str = "page stream request";

/// What is asked.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Operation {
    /// Does the fork exist?
    Exists(RelTag),
    /// How many blocks does it have?
    Size(RelTag),
    /// What is in this block?
    Page {
        /// Of which relation and fork.
        rel: RelTag,
        /// The block's number.
        block: u32,
    },
    /// How many bytes do the database's relations take?
    DatabaseSize {
        /// The database's oid.
        db: u32,
    },
    /// What is in this SLRU segment?
    SlruSegment(SlruSegment),
}

/// What is asked, without the operands.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum RequestKind {
    /// [`Operation::Exists`].
    Exists,
    /// [`Operation::Size`].
    Size,
    /// [`Operation::Page`].
    Page,
    /// [`Operation::DatabaseSize`].
    DatabaseSize,
    /// [`Operation::SlruSegment`].
    SlruSegment,
}

impl RequestKind {
    /// All, in the order of their tags.
    pub const ALL: [RequestKind; 5] = [
        RequestKind::Exists,
        RequestKind::Size,
        RequestKind::Page,
        RequestKind::DatabaseSize,
        RequestKind::SlruSegment,
    ];

    /// A short name: lower case letters and `_`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            RequestKind::Exists => "exists",
            RequestKind::Size => "size",
            RequestKind::Page => "page",
            RequestKind::DatabaseSize => "database_size",
            RequestKind::SlruSegment => "slru_segment",
        }
    }
}

/// One question of a page stream.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Request {
    /// Its id, and the LSN to read at.
    pub header: Header,
    /// What is asked.
    pub operation: Operation,
}

/// A request that is not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// It is too short, too long or of an unknown kind: the two sides do not speak the same protocol.
    #[error(transparent)]
    Malformed(#[from] FrameError),
    /// It has the right form and asks for a fork or an SLRU that does not exist. It can be answered.
    #[error("there is no {field} {value}")]
    NoSuch {
        /// The request's header, which the answer repeats.
        header: Header,
        /// What is asked.
        kind: RequestKind,
        /// `fork` or `SLRU`.
        field: &'static str,
        /// The number.
        value: u8,
    },
}

impl Request {
    /// Understands the content of one CopyData message.
    ///
    /// # Errors
    /// If it is not exactly one request.
    pub fn parse(version: Version, body: &[u8]) -> Result<Request, RequestError> {
        let mut fields = Fields::new(WHAT, body);
        let tag = fields.u8()?;
        if tag > SLRU_SEGMENT {
            return Err(fields.wrong("type", tag).into());
        }
        let header = Header::read(&mut fields, version)?;
        let (operation, wrong) = Operation::read(&mut fields, tag)?;
        fields.end()?;
        match wrong {
            Some(NoSuch { field, value }) => Err(RequestError::NoSuch { header, kind: operation.kind(), field, value }),
            None => Ok(Request { header, operation }),
        }
    }

    /// Appends the request as one CopyData message.
    pub fn write(&self, out: &mut Vec<u8>, version: Version) {
        frame(out, COPY_DATA, |out| {
            out.push(self.operation.tag());
            self.header.write(out, version);
            self.operation.write(out);
        });
    }
}

/// A number in an operand that means nothing.
#[derive(Clone, Copy)]
struct NoSuch {
    field: &'static str,
    value: u8,
}

impl Operation {
    /// Which of the operations it is.
    #[must_use]
    pub const fn kind(&self) -> RequestKind {
        match self {
            Operation::Exists(_) => RequestKind::Exists,
            Operation::Size(_) => RequestKind::Size,
            Operation::Page { .. } => RequestKind::Page,
            Operation::DatabaseSize { .. } => RequestKind::DatabaseSize,
            Operation::SlruSegment(_) => RequestKind::SlruSegment,
        }
    }

    const fn tag(&self) -> u8 {
        match self {
            Operation::Exists(_) => EXISTS,
            Operation::Size(_) => SIZE,
            Operation::Page { .. } => PAGE,
            Operation::DatabaseSize { .. } => DATABASE_SIZE,
            Operation::SlruSegment(_) => SLRU_SEGMENT,
        }
    }

    /// The operands of the operation `tag`. A meaningless number in them is told beside, so that all bytes are still accounted for.
    fn read(fields: &mut Fields<'_>, tag: u8) -> Result<(Operation, Option<NoSuch>), FrameError> {
        Ok(match tag {
            EXISTS => {
                let (rel, wrong) = read_rel(fields)?;
                (Operation::Exists(rel), wrong)
            }
            SIZE => {
                let (rel, wrong) = read_rel(fields)?;
                (Operation::Size(rel), wrong)
            }
            PAGE => {
                let (rel, wrong) = read_rel(fields)?;
                (Operation::Page { rel, block: fields.u32()? }, wrong)
            }
            DATABASE_SIZE => (Operation::DatabaseSize { db: fields.u32()? }, None),
            SLRU_SEGMENT => {
                let number = fields.u8()?;
                let kind = SlruKind::from_number(number);
                let segment = SlruSegment { kind: kind.unwrap_or(SlruKind::Clog), segno: fields.u32()? };
                (Operation::SlruSegment(segment), unless(kind.is_some(), "SLRU", number))
            }
            _ => return Err(fields.wrong("type", tag)),
        })
    }

    fn write(&self, out: &mut Vec<u8>) {
        match *self {
            Operation::Exists(rel) | Operation::Size(rel) => write_rel(out, rel),
            Operation::Page { rel, block } => {
                write_rel(out, rel);
                out.extend_from_slice(&block.to_be_bytes());
            }
            Operation::DatabaseSize { db } => out.extend_from_slice(&db.to_be_bytes()),
            Operation::SlruSegment(SlruSegment { kind, segno }) => {
                out.push(kind.number());
                out.extend_from_slice(&segno.to_be_bytes());
            }
        }
    }

    /// The operands as an answer of version 3 repeats them: as the request had them.
    pub(super) fn write_echo(&self, out: &mut Vec<u8>) {
        self.write(out);
    }

    /// The operands repeated in an answer of version 3, by the tag of the request. Nothing meaningless may stand there.
    pub(super) fn read_echo(fields: &mut Fields<'_>, request_tag: u8) -> Result<Operation, FrameError> {
        match Operation::read(fields, request_tag)? {
            (operation, None) => Ok(operation),
            (_, Some(NoSuch { field, value })) => Err(fields.wrong(field, value)),
        }
    }
}

fn unless(known: bool, field: &'static str, value: u8) -> Option<NoSuch> {
    (!known).then_some(NoSuch { field, value })
}

fn read_rel(fields: &mut Fields<'_>) -> Result<(RelTag, Option<NoSuch>), FrameError> {
    let (spc, db, rel) = (fields.u32()?, fields.u32()?, fields.u32()?);
    let number = fields.u8()?;
    let fork = Fork::from_number(number);
    Ok((RelTag { spc, db, rel, fork: fork.unwrap_or_default() }, unless(fork.is_some(), "fork", number)))
}

fn write_rel(out: &mut Vec<u8>, rel: RelTag) {
    for oid in [rel.spc, rel.db, rel.rel] {
        out.extend_from_slice(&oid.to_be_bytes());
    }
    out.push(rel.fork.number());
}
