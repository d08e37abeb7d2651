//! Names of replication slots.

use std::fmt;
use std::str::FromStr;

use crate::error::Error;

/// The name of a replication slot, as `ReplicationSlotValidateName` of PostgreSQL accepts it:
/// 1 to 63 characters of `a-z`, `0-9` and `_`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SlotName(String);

impl SlotName {
    /// `NAMEDATALEN - 1`.
    const MAX_LEN: usize = 63;

    /// Checks a name.
    ///
    /// # Errors
    /// [`Error::SlotName`] if PostgreSQL would refuse it.
    pub fn new(name: impl Into<String>) -> Result<Self, Error> {
        let name = name.into();
        let plain = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if plain && (1..=Self::MAX_LEN).contains(&name.len()) { Ok(SlotName(name)) } else { Err(Error::SlotName(name)) }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SlotName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for SlotName {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        SlotName::new(name)
    }
}
