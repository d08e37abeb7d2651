//! The header of a request: its id and the LSN to read at.

use pgdata::Lsn;

use super::Version;
use super::frame::{Fields, FrameError};

/// At which LSN to read, as a request says it: the page must be as of `request`, and the client knows that nothing has changed it
/// since `not_modified_since`, so that an answer as of any LSN between the two is right.
///
/// The rule: if `not_modified_since` has not arrived yet, wait for it and read there; otherwise read at the smaller one of `request` and
/// the last record's LSN.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ReadLsn {
    /// As of here; [`Lsn::MAX`] is "the latest".
    pub request: Lsn,
    /// Not changed between here and `request`.
    pub not_modified_since: Lsn,
}

/// An LSN that nobody can read at, whatever the timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReadLsnError {
    /// Zero is no position in the WAL.
    #[error("request LSN 0/0 is invalid")]
    Zero,
    /// The two contradict each other.
    #[error("request LSN {request} is before not_modified_since {not_modified_since}")]
    Order {
        /// The LSN to read at.
        request: Lsn,
        /// The later one.
        not_modified_since: Lsn,
    },
}

impl ReadLsn {
    /// The latest state there is, without waiting for more.
    pub const LATEST: ReadLsn = ReadLsn { request: Lsn::MAX, not_modified_since: Lsn::INVALID };

    /// Exactly at `lsn`; waits until it has arrived.
    #[must_use]
    pub const fn at(lsn: Lsn) -> ReadLsn {
        ReadLsn { request: lsn, not_modified_since: lsn }
    }

    /// Both LSNs rounded up to eight bytes, since records end at no other positions.
    ///
    /// # Errors
    /// If they are no pair that can be read at.
    pub fn checked(self) -> Result<ReadLsn, ReadLsnError> {
        let ReadLsn { request, not_modified_since } = self;
        if !request.is_valid() {
            return Err(ReadLsnError::Zero);
        }
        if request < not_modified_since {
            return Err(ReadLsnError::Order { request, not_modified_since });
        }
        Ok(ReadLsn { request: request.align_up(), not_modified_since: not_modified_since.align_up() })
    }
}

/// What every request begins with, and every answer of version 3 repeats.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Header {
    /// The client's name for the request. Only version 3 carries it; in version 2 it is 0.
    pub reqid: u64,
    /// The LSNs as sent, not checked.
    pub at: ReadLsn,
}

impl Header {
    pub(super) fn read(fields: &mut Fields<'_>, version: Version) -> Result<Header, FrameError> {
        let reqid = if version == Version::V3 { fields.u64()? } else { 0 };
        let at = ReadLsn { request: Lsn(fields.u64()?), not_modified_since: Lsn(fields.u64()?) };
        Ok(Header { reqid, at })
    }

    pub(super) fn write(&self, out: &mut Vec<u8>, version: Version) {
        if version == Version::V3 {
            out.extend_from_slice(&self.reqid.to_be_bytes());
        }
        out.extend_from_slice(&self.at.request.0.to_be_bytes());
        out.extend_from_slice(&self.at.not_modified_since.0.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(request: u64, not_modified_since: u64) -> ReadLsn {
        ReadLsn { request: Lsn(request), not_modified_since: Lsn(not_modified_since) }
    }

    #[test]
    fn lsns_that_nobody_can_read_at_are_refused() {
        assert_eq!(pair(0, 0).checked(), Err(ReadLsnError::Zero));
        assert_eq!(pair(8, 9).checked(), Err(ReadLsnError::Order { request: Lsn(8), not_modified_since: Lsn(9) }));
    }

    #[test]
    fn lsns_are_rounded_up_to_where_records_end() {
        assert_eq!(pair(17, 9).checked(), Ok(pair(24, 16)));
        assert_eq!(ReadLsn::at(Lsn(8)).checked(), Ok(pair(8, 8)));
        assert_eq!(ReadLsn::LATEST.checked(), Ok(ReadLsn::LATEST));
    }
}
