//! What the server asks of the program behind it. The binary implements these traits for its repository.

use std::io::Write;
use std::sync::Arc;

use pgdata::{Page, RelTag, SlruSegment};

use crate::ServiceError;
use crate::messages::ReadLsn;

/// The program behind a [`Server`](crate::Server). It is called from many connection threads at once.
pub trait Backend: Send + Sync + 'static {
    /// The timeline that a page stream reads.
    ///
    /// `tenant` and `timeline` are what the client wrote: ids of 32 hexadecimal digits, or names.
    ///
    /// # Errors
    /// If there is no such timeline, or it cannot be read now. The connection stays usable.
    fn timeline(&self, tenant: &str, timeline: &str) -> Result<Arc<dyn PageSource>, ServiceError>;

    /// Every other command that comes as a simple query: `status`, `attach …`, `page …`.
    ///
    /// `command` is the whole text, without white space around it and without a semicolon at its end; it is never empty. Rows go out
    /// as they are given to `out`, so that the user of a command that takes long sees it progress. The answer is the command's
    /// tag, as in `STATUS` or `SELECT 3`.
    ///
    /// # Errors
    /// If the command fails or is unknown (see [`ServiceError::unknown_command`]). Rows that went out before stay valid; the
    /// connection stays usable. An error of `out` means that the client is gone and should end the command.
    fn command(&self, command: &str, out: &mut dyn RowSink) -> Result<String, ServiceError>;
}

/// One timeline, as page streams see it. All methods may block until the LSN asked for has arrived.
pub trait PageSource: Send + Sync {
    /// Whether a read at `at` can be answered now, without waiting for an LSN to arrive. While it cannot, the answers before it are sent
    /// first, so that a client that has many requests in flight need not wait for them as well. A guess is good enough.
    fn is_ready(&self, at: ReadLsn) -> bool {
        let _ = at;
        true
    }

    /// Whether the fork exists.
    ///
    /// # Errors
    /// If it cannot be known at this LSN.
    fn exists(&self, rel: RelTag, at: ReadLsn) -> Result<bool, ServiceError>;

    /// How many blocks the fork has; 0 for a missing FSM or VM fork.
    ///
    /// # Errors
    /// If it cannot be known at this LSN.
    fn size(&self, rel: RelTag, at: ReadLsn) -> Result<u32, ServiceError>;

    /// One page, written into `page`: a slot of the connection's output buffer, all zeros on entry.
    ///
    /// # Errors
    /// If the page cannot be had at this LSN. What has been written into `page` is then thrown away.
    fn page(&self, rel: RelTag, block: u32, at: ReadLsn, page: &mut Page) -> Result<(), ServiceError>;

    /// The sum of the sizes of a database's relations, in bytes.
    ///
    /// # Errors
    /// If it cannot be known at this LSN.
    fn database_size(&self, db: u32, at: ReadLsn) -> Result<u64, ServiceError>;

    /// A whole SLRU segment: 0 to 32 pages of 8192 bytes.
    ///
    /// # Errors
    /// If it cannot be had at this LSN.
    fn slru_segment(&self, segment: SlruSegment, at: ReadLsn) -> Result<Vec<u8>, ServiceError>;
}

/// Where a command writes its rows. Everything is sent at once, so that progress is seen.
pub trait RowSink {
    /// Announces the columns of the rows that follow. Once for each command, before its first row.
    ///
    /// # Errors
    /// If the client is gone, or it has been called before.
    fn columns(&mut self, columns: &[Column<'_>]) -> Result<(), ServiceError>;

    /// Sends one row: a value for each column, of the column's type or null.
    ///
    /// # Errors
    /// If the client is gone, or the row does not fit the columns or takes more than 16 MiB.
    fn row(&mut self, values: &[Value<'_>]) -> Result<(), ServiceError>;

    /// Makes the result a copy instead of rows: whatever is written goes out as bytes. Once for each command, and not after rows.
    /// What is written is collected into pieces of 64 KiB; the last one goes out when the command is done.
    ///
    /// # Errors
    /// If the client is gone, or there are rows or a copy already.
    fn copy_out(&mut self) -> Result<&mut dyn Write, ServiceError>;

    /// Sends a NOTICE, which `psql` shows at once even while rows are still to come.
    ///
    /// # Errors
    /// If the client is gone.
    fn notice(&mut self, text: &str) -> Result<(), ServiceError>;
}

/// A column of a command's result.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Column<'a> {
    /// What stands above it.
    pub name: &'a str,
    /// What its values are.
    pub kind: ColumnType,
}

impl<'a> Column<'a> {
    /// A column of `text`.
    #[must_use]
    pub const fn text(name: &'a str) -> Self {
        Column { name, kind: ColumnType::Text }
    }

    /// A column of `int8`.
    #[must_use]
    pub const fn int8(name: &'a str) -> Self {
        Column { name, kind: ColumnType::Int8 }
    }

    /// A column of `bytea`.
    #[must_use]
    pub const fn bytea(name: &'a str) -> Self {
        Column { name, kind: ColumnType::Bytea }
    }

    /// A column of `bool`.
    #[must_use]
    pub const fn bool(name: &'a str) -> Self {
        Column { name, kind: ColumnType::Bool }
    }
}

/// The type of a column, by PostgreSQL's names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ColumnType {
    /// `bool`.
    Bool,
    /// `bytea`.
    Bytea,
    /// `int8`.
    Int8,
    /// `text`.
    Text,
}

impl ColumnType {
    /// The type's oid (`pg_type.dat`).
    #[must_use]
    pub const fn oid(self) -> u32 {
        match self {
            ColumnType::Bool => 16,
            ColumnType::Bytea => 17,
            ColumnType::Int8 => 20,
            ColumnType::Text => 25,
        }
    }

    /// The type's size in bytes, -1 for a variable one (`typlen`).
    #[must_use]
    pub const fn size(self) -> i16 {
        match self {
            ColumnType::Bool => 1,
            ColumnType::Int8 => 8,
            ColumnType::Bytea | ColumnType::Text => -1,
        }
    }
}

/// A value of a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Value<'a> {
    /// No value, in a column of any type.
    Null,
    /// `bool`.
    Bool(bool),
    /// `bytea`; goes out as `\x` and hexadecimal digits.
    Bytea(&'a [u8]),
    /// `int8`.
    Int8(i64),
    /// `text`.
    Text(&'a str),
}

impl Value<'_> {
    /// Whether the value may stand in a column of this type.
    #[must_use]
    pub const fn fits(self, kind: ColumnType) -> bool {
        match self {
            Value::Null => true,
            Value::Bool(_) => matches!(kind, ColumnType::Bool),
            Value::Bytea(_) => matches!(kind, ColumnType::Bytea),
            Value::Int8(_) => matches!(kind, ColumnType::Int8),
            Value::Text(_) => matches!(kind, ColumnType::Text),
        }
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Value::Text(text)
    }
}

impl<'a> From<&'a String> for Value<'a> {
    fn from(text: &'a String) -> Self {
        Value::Text(text)
    }
}

impl<'a> From<&'a [u8]> for Value<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Value::Bytea(bytes)
    }
}

impl From<i64> for Value<'_> {
    fn from(number: i64) -> Self {
        Value::Int8(number)
    }
}

impl From<bool> for Value<'_> {
    fn from(truth: bool) -> Self {
        Value::Bool(truth)
    }
}

impl<'a, T: Into<Value<'a>>> From<Option<T>> for Value<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Value::Null, Into::into)
    }
}
