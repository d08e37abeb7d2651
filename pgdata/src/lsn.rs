//! Positions in the WAL.

use std::fmt;
use std::str::FromStr;

/// A byte position in the WAL (`XLogRecPtr`).
///
/// The LSN *of a record* is always its end, rounded up to eight bytes: the value that redo writes into `pd_lsn`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Lsn(pub u64);

impl Lsn {
    /// Zero: PostgreSQL's `InvalidXLogRecPtr`, before every record.
    pub const INVALID: Lsn = Lsn(0);
    /// The largest position; in requests it means "the latest".
    pub const MAX: Lsn = Lsn(u64::MAX);

    /// This position rounded up to eight bytes (`MAXALIGN`). [`Lsn::MAX`] stays as it is.
    #[must_use]
    pub const fn align_up(self) -> Lsn {
        if self.0 > u64::MAX - 7 {
            return self;
        }
        Lsn((self.0 + 7) & !7)
    }

    /// Whether this position is a multiple of eight.
    #[must_use]
    pub const fn is_aligned(self) -> bool {
        self.0 & 7 == 0
    }

    /// Whether this is a position at all, not [`Lsn::INVALID`].
    #[must_use]
    pub const fn is_valid(self) -> bool {
        self.0 != 0
    }

    /// The position `bytes` later, or `None` past the end of the WAL's numbers.
    #[must_use]
    pub const fn checked_add(self, bytes: u64) -> Option<Lsn> {
        match self.0.checked_add(bytes) {
            Some(sum) => Some(Lsn(sum)),
            None => None,
        }
    }

    /// How many bytes lie between `earlier` and this position; zero if `earlier` is not earlier.
    #[must_use]
    pub const fn bytes_since(self, earlier: Lsn) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// PostgreSQL's `%X/%X`: high and low 32 bits in hexadecimal, no padding.
impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xFFFF_FFFF)
    }
}

impl fmt::Debug for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is not an LSN.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an LSN: expected two hexadecimal numbers of at most eight digits, as in 0/16B3748")]
pub struct ParseLsnError(String);

impl FromStr for Lsn {
    type Err = ParseLsnError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let half = |digits: &str| {
            let plain = (1..=8).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_hexdigit());
            plain.then(|| u64::from_str_radix(digits, 16).ok()).flatten()
        };
        text.split_once('/')
            .and_then(|(high, low)| Some(Lsn(half(high)? << 32 | half(low)?)))
            .ok_or_else(|| ParseLsnError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_and_parses_as_postgres_does() {
        for (value, text) in [(0, "0/0"), (0x16B_3748, "0/16B3748"), (u64::MAX, "FFFFFFFF/FFFFFFFF"), (1 << 32, "1/0")]
        {
            assert_eq!(Lsn(value).to_string(), text);
            assert_eq!(text.parse(), Ok(Lsn(value)));
        }
        assert_eq!("a/b".parse(), Ok(Lsn(0xA_0000_000B)));
    }

    #[test]
    fn refuses_what_is_not_an_lsn() {
        for text in ["", "/", "1", "1/", "/1", "0/123456789", "0x1/0", "-1/0", "+1/0", "1/2/3", " 1/2", "g/0"] {
            assert!(text.parse::<Lsn>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn aligns_upwards() {
        assert_eq!(Lsn(0).align_up(), Lsn(0));
        assert_eq!(Lsn(1).align_up(), Lsn(8));
        assert_eq!(Lsn(8).align_up(), Lsn(8));
        assert_eq!(Lsn::MAX.align_up(), Lsn::MAX);
    }
}
