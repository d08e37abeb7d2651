//! Messages from the server, after the startup.

use super::frame::{Fields, FrameError, MAX_ROW, first_frame};
use super::response::MAX_COPY_ANSWER;

/// The longest message of every kind but rows and copies.
const MAX_OTHER: usize = 1 << 20;

/// How grave a message is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Severity {
    /// The command failed; the connection goes on.
    Error,
    /// The connection ends.
    Fatal,
    /// For information.
    Notice,
}

impl Severity {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Severity::Error => "ERROR",
            Severity::Fatal => "FATAL",
            Severity::Notice => "NOTICE",
        }
    }
}

/// An ErrorResponse or a NoticeResponse, as received.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ServerMessage {
    /// `ERROR`, `FATAL`, `NOTICE`, …, perhaps in another language.
    pub severity: String,
    /// SQLSTATE.
    pub code: String,
    /// What happened.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// `ERROR: message (hint)`.
impl std::fmt::Display for ServerMessage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.severity, self.message)?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, " ({hint})"))
    }
}

/// A column of a result, as received.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ColumnInfo {
    /// Its name.
    pub name: String,
    /// The oid of its type.
    pub type_oid: u32,
}

/// A row of a result, as received: values in their text form.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Row {
    values: Vec<Option<String>>,
}

impl Row {
    /// How many values it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The value of a column in its text form; `None` if it is null or there is no such column.
    #[must_use]
    pub fn text(&self, column: usize) -> Option<&str> {
        self.values.get(column)?.as_deref()
    }

    /// The value of an `int8` column; `None` also if it is not a number.
    #[must_use]
    pub fn int8(&self, column: usize) -> Option<i64> {
        self.text(column)?.parse().ok()
    }

    /// The value of a `bytea` column; `None` also if it is not written as `\x` and hexadecimal digits.
    #[must_use]
    pub fn bytea(&self, column: usize) -> Option<Vec<u8>> {
        let digits = self.text(column)?.strip_prefix("\\x")?.as_bytes();
        let (pairs, []) = digits.as_chunks::<2>() else { return None };
        let digit = |byte: u8| char::from(byte).to_digit(16);
        pairs.iter().map(|&[high, low]| Some((digit(high)? << 4 | digit(low)?) as u8)).collect()
    }
}

/// The kinds of authentication request that this side understands (`libpq/protocol.h`).
pub(super) const AUTHENTICATION_SASL: u32 = 10;
pub(super) const AUTHENTICATION_SASL_CONTINUE: u32 = 11;
pub(super) const AUTHENTICATION_SASL_FINAL: u32 = 12;

/// An authentication request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Authentication<'a> {
    /// There is nothing more to prove.
    Ok,
    /// Prove it by one of these SASL mechanisms.
    Sasl(Vec<&'a str>),
    /// The mechanism's next message.
    SaslContinue(&'a [u8]),
    /// The mechanism's last message.
    SaslFinal(&'a [u8]),
    /// Another kind, by its number.
    Other(u32),
}

/// A message from the server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BackendMessage<'a> {
    /// What the client has to prove, or that there is nothing more to prove.
    Authentication(Authentication<'a>),
    /// A setting of the server.
    ParameterStatus {
        /// Its name.
        name: &'a str,
        /// Its value.
        value: &'a str,
    },
    /// What a CancelRequest would have to name. Of no use here.
    KeyData,
    /// The server knows no newer minor version of the protocol, or not all options.
    NegotiateVersion,
    /// The server awaits a command.
    Ready,
    /// The command failed.
    Error(ServerMessage),
    /// For information.
    Notice(ServerMessage),
    /// The columns of the rows to come.
    RowDescription(Vec<ColumnInfo>),
    /// A row.
    DataRow(Row),
    /// The command is done; its tag.
    CommandComplete(&'a str),
    /// The query was empty.
    EmptyQuery,
    /// From now on, copy data go both ways.
    CopyBoth,
    /// From now on, copy data come from the server.
    CopyOut,
    /// A piece of a copy: in a page stream, an answer.
    CopyData(&'a [u8]),
    /// The copy is over.
    CopyDone,
}

impl<'a> BackendMessage<'a> {
    /// The message at the start of `bytes` and how many bytes it takes, or `None` if more are needed.
    ///
    /// # Errors
    /// If it is not a message, or one that is too long.
    pub fn parse(bytes: &'a [u8]) -> Result<Option<(BackendMessage<'a>, usize)>, FrameError> {
        let Some(frame) = first_frame(bytes, name_and_limit)? else { return Ok(None) };
        let name = name_and_limit(frame.tag).map_or("message", |(name, _)| name);
        let mut fields = Fields::new(name, frame.body);
        let message = Self::read(frame.tag, &mut fields)?;
        fields.end()?;
        Ok(Some((message, frame.size)))
    }

    fn read(tag: u8, fields: &mut Fields<'a>) -> Result<Self, FrameError> {
        Ok(match tag {
            b'R' => BackendMessage::Authentication(read_authentication(fields)?),
            b'S' => BackendMessage::ParameterStatus { name: fields.cstr()?, value: fields.cstr()? },
            b'K' => {
                fields.remainder();
                BackendMessage::KeyData
            }
            b'v' => {
                fields.remainder();
                BackendMessage::NegotiateVersion
            }
            b'Z' => {
                fields.u8()?;
                BackendMessage::Ready
            }
            b'E' => BackendMessage::Error(read_message(fields)?),
            b'N' => BackendMessage::Notice(read_message(fields)?),
            b'T' => BackendMessage::RowDescription(read_columns(fields)?),
            b'D' => BackendMessage::DataRow(read_row(fields)?),
            b'C' => BackendMessage::CommandComplete(fields.cstr()?),
            b'I' => BackendMessage::EmptyQuery,
            b'W' => read_copy_start(fields, BackendMessage::CopyBoth)?,
            b'H' => read_copy_start(fields, BackendMessage::CopyOut)?,
            b'd' => BackendMessage::CopyData(fields.remainder()),
            b'c' => BackendMessage::CopyDone,
            tag => return Err(FrameError::Tag { tag }),
        })
    }

    /// What the message is called in PostgreSQL's documentation.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            BackendMessage::Authentication(_) => "Authentication",
            BackendMessage::ParameterStatus { .. } => "ParameterStatus",
            BackendMessage::KeyData => "BackendKeyData",
            BackendMessage::NegotiateVersion => "NegotiateProtocolVersion",
            BackendMessage::Ready => "ReadyForQuery",
            BackendMessage::Error(_) => "ErrorResponse",
            BackendMessage::Notice(_) => "NoticeResponse",
            BackendMessage::RowDescription(_) => "RowDescription",
            BackendMessage::DataRow(_) => "DataRow",
            BackendMessage::CommandComplete(_) => "CommandComplete",
            BackendMessage::EmptyQuery => "EmptyQueryResponse",
            BackendMessage::CopyBoth => "CopyBothResponse",
            BackendMessage::CopyOut => "CopyOutResponse",
            BackendMessage::CopyData(_) => "CopyData",
            BackendMessage::CopyDone => "CopyDone",
        }
    }
}

/// The name of the message with this tag, and how many bytes it may have.
const fn name_and_limit(tag: u8) -> Option<(&'static str, usize)> {
    Some(match tag {
        b'R' => ("Authentication", MAX_OTHER),
        b'S' => ("ParameterStatus", MAX_OTHER),
        b'K' => ("BackendKeyData", 260),
        b'v' => ("NegotiateProtocolVersion", MAX_OTHER),
        b'Z' => ("ReadyForQuery", 1),
        b'E' => ("ErrorResponse", MAX_OTHER),
        b'N' => ("NoticeResponse", MAX_OTHER),
        b'T' => ("RowDescription", MAX_OTHER),
        b'D' => ("DataRow", MAX_ROW),
        b'C' => ("CommandComplete", MAX_OTHER),
        b'I' => ("EmptyQueryResponse", 0),
        b'W' => ("CopyBothResponse", MAX_OTHER),
        b'H' => ("CopyOutResponse", MAX_OTHER),
        b'd' => ("CopyData", MAX_COPY_ANSWER),
        b'c' => ("CopyDone", 0),
        _ => return None,
    })
}

fn read_authentication<'a>(fields: &mut Fields<'a>) -> Result<Authentication<'a>, FrameError> {
    Ok(match fields.u32()? {
        0 => Authentication::Ok,
        AUTHENTICATION_SASL => {
            let mut mechanisms = Vec::new();
            loop {
                match fields.cstr()? {
                    "" => break Authentication::Sasl(mechanisms),
                    name => mechanisms.push(name),
                }
            }
        }
        AUTHENTICATION_SASL_CONTINUE => Authentication::SaslContinue(fields.remainder()),
        AUTHENTICATION_SASL_FINAL => Authentication::SaslFinal(fields.remainder()),
        other => {
            fields.remainder();
            Authentication::Other(other)
        }
    })
}

/// Fields of an error or a notice: a code byte and a string each, closed by a zero byte.
fn read_message(fields: &mut Fields<'_>) -> Result<ServerMessage, FrameError> {
    let mut message = ServerMessage::default();
    loop {
        let code = fields.u8()?;
        if code == 0 {
            return Ok(message);
        }
        let text = fields.cstr()?.to_owned();
        match code {
            b'S' => message.severity = text,
            b'C' => message.code = text,
            b'M' => message.message = text,
            b'H' => message.hint = Some(text),
            _ => {}
        }
    }
}

fn read_count(fields: &mut Fields<'_>) -> Result<usize, FrameError> {
    let count = fields.i16()?;
    usize::try_from(count).map_err(|_| fields.wrong("number of fields", count))
}

fn read_columns(fields: &mut Fields<'_>) -> Result<Vec<ColumnInfo>, FrameError> {
    (0..read_count(fields)?)
        .map(|_| {
            let name = fields.cstr()?.to_owned();
            fields.bytes(4 + 2)?; // table oid, number in the table
            let type_oid = fields.u32()?;
            fields.bytes(2 + 4 + 2)?; // size, modifier, format
            Ok(ColumnInfo { name, type_oid })
        })
        .collect()
}

fn read_row(fields: &mut Fields<'_>) -> Result<Row, FrameError> {
    let values = (0..read_count(fields)?).map(|_| read_value(fields)).collect::<Result<_, _>>()?;
    Ok(Row { values })
}

fn read_value(fields: &mut Fields<'_>) -> Result<Option<String>, FrameError> {
    let length = fields.i32()?;
    if length == -1 {
        return Ok(None);
    }
    let length = usize::try_from(length).map_err(|_| fields.wrong("length of a value", length))?;
    fields.text(length).map(|text| Some(text.to_owned()))
}

/// The format of a copy and of its columns; the message itself is known from its tag.
fn read_copy_start<'a>(fields: &mut Fields<'_>, message: BackendMessage<'a>) -> Result<BackendMessage<'a>, FrameError> {
    let format = fields.u8()?;
    if format > 1 {
        return Err(fields.wrong("format", format));
    }
    for _ in 0..read_count(fields)? {
        fields.i16()?;
    }
    Ok(message)
}
