//! Who may log in.

use std::collections::BTreeMap;
use std::fmt;

use super::{Key, Verifier, hmac};

/// What an unknown user's exchange looks like if there is no user whose exchange it could look like: PostgreSQL's own defaults.
const DEFAULT: (u32, usize) = (4096, 16);

/// Users and their verifiers.
#[derive(Clone)]
pub struct Users {
    verifiers: BTreeMap<String, Verifier>,
    mock_key: Key,
}

impl Users {
    /// Of two users with the same name, the later one counts.
    ///
    /// `mock_key` is a secret out of which the salts of unknown users are made. It should stay the same while the server's users do, also
    /// over a restart: a salt that changes belongs to nobody.
    #[must_use]
    pub fn new(users: impl IntoIterator<Item = (String, Verifier)>, mock_key: &[u8; 32]) -> Users {
        Users { verifiers: users.into_iter().collect(), mock_key: *mock_key }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.verifiers.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.verifiers.is_empty()
    }

    /// The user's verifier; or one that looks like a user's, for a name that is not known. Whether it is, is said too: no password at
    /// all must fit the second.
    pub(super) fn verifier(&self, name: &str) -> (Verifier, bool) {
        match self.verifiers.get(name) {
            Some(verifier) => (verifier.clone(), true),
            None => (self.mock(name), false),
        }
    }

    fn mock(&self, name: &str) -> Verifier {
        let like = self.verifiers.values().next().map(|first| (first.iterations, first.salt.len()));
        let (iterations, salt_len) = like.unwrap_or(DEFAULT);
        let made_up = |what: u8| hmac(&self.mock_key, &[&[what], name.as_bytes()]);
        // Salts have at most 256 bytes, made of 32 at a time.
        let salt = (0..8).flat_map(made_up).take(salt_len).collect();
        Verifier { iterations, salt, stored_key: made_up(8), server_key: made_up(9) }
    }
}

/// The names alone.
impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Users").field(&self.verifiers.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_user_looks_like_a_known_one_each_time() {
        let users = Users::new([("ali".to_owned(), Verifier::of_password("open sesame"))], &[7; 32]);
        let (known, is_known) = users.verifier("ali");
        assert!(is_known);
        let (mock, is_known) = users.verifier("Ali");
        assert!(!is_known);
        assert_eq!((mock.iterations, mock.salt.len()), (known.iterations, known.salt.len()));
        assert_eq!(users.verifier("Ali").0, mock);
        assert_ne!(users.verifier("baba").0.salt, mock.salt);
        assert_ne!(Users::new([], &[8; 32]).verifier("Ali").0.salt, mock.salt);
    }
}
