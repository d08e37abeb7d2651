//! Identities of tenants and timelines.

use std::fmt;
use std::str::FromStr;

/// A 128-bit id, written as 32 hexadecimal digits. Tenants and timelines (branches) have one each, for life; names may change.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id([u8; 16]);

impl Id {
    /// A new random id.
    ///
    /// # Errors
    /// If the operating system has no random bytes to give.
    pub fn random() -> std::io::Result<Id> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(|error| std::io::Error::other(error.to_string()))?;
        Ok(Id(bytes))
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an id: expected 32 hexadecimal digits")]
pub struct ParseIdError(String);

impl FromStr for Id {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ParseIdError(text.to_owned());
        if text.len() != 32 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        u128::from_str_radix(text, 16).map(|number| Id(number.to_be_bytes())).map_err(|_| wrong())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_print_and_parse() {
        let text = "00112233445566778899aabbccddeeff";
        assert_eq!(text.parse::<Id>().map(|id| id.to_string()), Ok(text.to_owned()));
        for wrong in ["", "0011", "+0112233445566778899aabbccddeeff", "zz112233445566778899aabbccddeeff"] {
            assert!(wrong.parse::<Id>().is_err(), "{wrong:?}");
        }
        assert_ne!(Id::random().expect("random"), Id::random().expect("random"));
    }
}
