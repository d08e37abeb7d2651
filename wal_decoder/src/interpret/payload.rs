//! Reading a record's main data with every length checked.

use crate::{Record, RecordError};
use pgdata::RelTag;

/// An error about this record's payload.
pub(crate) fn error(record: &Record<'_>, reason: impl Into<String>) -> RecordError {
    RecordError::Payload { lsn: record.lsn, rmid: record.rmid, info: record.info, reason: reason.into() }
}

/// The operation code of a record whose resource manager uses all its four bits of `xl_info` for it.
pub(crate) fn operation(record: &Record<'_>) -> u8 {
    record.info & crate::rmgr::XLR_RMGR_INFO_MASK
}

/// The error for an operation code that does not exist.
pub(crate) fn unknown_operation<T>(record: &Record<'_>) -> Result<T, RecordError> {
    Err(error(record, format!("operation {:#04X} does not exist", operation(record))))
}

/// What is left of a record's main data.
pub(crate) struct Payload<'r, 'a> {
    record: &'r Record<'a>,
    rest: &'a [u8],
}

impl<'r, 'a> Payload<'r, 'a> {
    pub(crate) fn new(record: &'r Record<'a>) -> Self {
        Payload { record, rest: record.main_data }
    }

    pub(crate) fn error(&self, reason: impl Into<String>) -> RecordError {
        error(self.record, reason)
    }

    /// The next `count` bytes.
    pub(crate) fn bytes(&mut self, count: usize, what: &str) -> Result<&'a [u8], RecordError> {
        let (bytes, rest) = self.rest.split_at_checked(count).ok_or_else(|| {
            self.error(format!(
                "{what} needs {count} bytes, {} of {} are left",
                self.rest.len(),
                self.record.main_data.len()
            ))
        })?;
        self.rest = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], RecordError> {
        let bytes = self.bytes(N, what)?;
        Ok(bytes.try_into().expect("N bytes were taken"))
    }

    pub(crate) fn u8(&mut self, what: &str) -> Result<u8, RecordError> {
        Ok(self.array::<1>(what)?[0])
    }

    pub(crate) fn u32(&mut self, what: &str) -> Result<u32, RecordError> {
        self.array(what).map(u32::from_le_bytes)
    }

    pub(crate) fn i32(&mut self, what: &str) -> Result<i32, RecordError> {
        self.array(what).map(i32::from_le_bytes)
    }

    pub(crate) fn i64(&mut self, what: &str) -> Result<i64, RecordError> {
        self.array(what).map(i64::from_le_bytes)
    }

    /// A number of items (`int`) that must not be negative. The items themselves are bounded by the bytes that are there.
    pub(crate) fn count(&mut self, what: &str) -> Result<usize, RecordError> {
        let count = self.i32(what)?;
        usize::try_from(count).map_err(|_| self.error(format!("{what} is {count}")))
    }

    /// `count` items of `size` bytes each.
    pub(crate) fn items(&mut self, count: usize, size: usize, what: &str) -> Result<&'a [u8], RecordError> {
        let total = count.checked_mul(size).ok_or_else(|| self.error(format!("{what}: {count} items are too many")))?;
        self.bytes(total, what)
    }

    /// `count` numbers of 32 bits.
    pub(crate) fn u32s(&mut self, count: usize, what: &str) -> Result<Vec<u32>, RecordError> {
        let bytes = self.items(count, 4, what)?;
        Ok(bytes.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word)).collect())
    }

    /// A `RelFileLocator`: tablespace, database, relation. The fork is the main one.
    pub(crate) fn relation(&mut self, what: &str) -> Result<RelTag, RecordError> {
        let (spc, db, rel) = (self.u32(what)?, self.u32(what)?, self.u32(what)?);
        Ok(RelTag { spc, db, rel, ..RelTag::default() })
    }

    /// The bytes before the next NUL, which is taken as well.
    pub(crate) fn c_string(&mut self, what: &str) -> Result<&'a [u8], RecordError> {
        let end = self.rest.iter().position(|byte| *byte == 0);
        let end = end.ok_or_else(|| self.error(format!("{what} does not end")))?;
        let text = self.bytes(end + 1, what)?;
        Ok(&text[..end])
    }
}
