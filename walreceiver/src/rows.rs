//! Rows of results: text values, checked as they are taken.

use std::str::FromStr;

use bytes::Bytes;
use fallible_iterator::FallibleIterator;
use pgdata::Lsn;
use postgres_protocol::message::backend::DataRowBody;

use crate::protocol::ProtocolError;

/// The most columns that any result here has is four; PostgreSQL itself has at most 1664.
const MAX_COLUMNS: usize = 1664;

/// One row.
#[derive(Debug)]
pub(crate) struct Row {
    command: &'static str,
    values: Vec<Option<Bytes>>,
}

impl Row {
    pub(crate) fn read(command: &'static str, body: &DataRowBody) -> Result<Self, ProtocolError> {
        let bytes = body.buffer_bytes();
        let bad = |reason: String| ProtocolError::Result { command, reason };
        let mut values = Vec::new();
        let mut ranges = body.ranges();
        while let Some(range) = ranges.next().map_err(|error| bad(error.to_string()))? {
            if values.len() == MAX_COLUMNS {
                return Err(bad(format!("a row has more than {MAX_COLUMNS} columns")));
            }
            values.push(range.map(|range| bytes.slice(range)));
        }
        Ok(Row { command, values })
    }

    fn bad(&self, reason: String) -> ProtocolError {
        ProtocolError::Result { command: self.command, reason }
    }

    /// The bytes of a value; `None` if it is NULL.
    pub(crate) fn bytes(&self, column: usize) -> Result<Option<&Bytes>, ProtocolError> {
        let count = self.values.len();
        let value = self.values.get(column).ok_or_else(|| self.bad(format!("no column {column}, only {count}")))?;
        Ok(value.as_ref())
    }

    /// A text; `None` if it is NULL.
    pub(crate) fn optional_text(&self, column: usize) -> Result<Option<&str>, ProtocolError> {
        match self.bytes(column)? {
            None => Ok(None),
            Some(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => Ok(Some(text)),
                Err(_) => Err(self.bad(format!("column {column} is not UTF-8: {}", bytes.escape_ascii()))),
            },
        }
    }

    /// A text that must be there.
    pub(crate) fn text(&self, column: usize) -> Result<&str, ProtocolError> {
        self.optional_text(column)?.ok_or_else(|| self.bad(format!("column {column} is NULL")))
    }

    /// A value that must be there, parsed.
    pub(crate) fn value<T: FromStr>(&self, column: usize) -> Result<T, ProtocolError> {
        let text = self.text(column)?;
        text.parse().map_err(|_| self.bad(format!("column {column} is {text:?}")))
    }

    /// A value, parsed; `None` if it is NULL.
    pub(crate) fn optional<T: FromStr>(&self, column: usize) -> Result<Option<T>, ProtocolError> {
        if self.bytes(column)?.is_none() { Ok(None) } else { self.value(column).map(Some) }
    }
}

/// An LSN and its timeline: how a base backup tells its start and its end.
pub(crate) fn position(row: &Row) -> Result<(Lsn, u32), ProtocolError> {
    Ok((row.value(0)?, row.value(1)?))
}

/// The only row of a result.
pub(crate) fn only(command: &'static str, mut rows: Vec<Row>) -> Result<Row, ProtocolError> {
    match (rows.len(), rows.pop()) {
        (1, Some(row)) => Ok(row),
        (count, _) => Err(ProtocolError::Result { command, reason: format!("it has {count} rows, expected one") }),
    }
}

/// Reads `SHOW wal_segment_size`: `16MB`, or another power of two from 1 MiB to 1 GiB in PostgreSQL's units.
pub(crate) fn segment_size(text: &str) -> Result<u32, ProtocolError> {
    let bad = || ProtocolError::Result { command: "SHOW wal_segment_size", reason: format!("it is {text:?}") };
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: u64 = match &text[digits.len()..] {
        "kB" => 1 << 10,
        "MB" => 1 << 20,
        "GB" => 1 << 30,
        "B" | "" => 1,
        _ => return Err(bad()),
    };
    let number: u64 = digits.parse().map_err(|_| bad())?;
    let size = number.checked_mul(unit).ok_or_else(bad)?;
    match u32::try_from(size) {
        Ok(size) if size.is_power_of_two() && (1 << 20..=1 << 30).contains(&size) => Ok(size),
        _ => Err(bad()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_segment_sizes() {
        for (text, size) in [("1MB", 1 << 20), ("16MB", 16 << 20), ("1GB", 1 << 30), ("16777216", 16 << 20)] {
            assert_eq!(segment_size(text), Ok(size));
        }
        for text in ["", "MB", "0MB", "3MB", "2GB", "512kB", "16TB", "-1MB", "99999999999999999999GB", "16 MB"] {
            assert!(segment_size(text).is_err(), "{text:?}");
        }
    }
}
