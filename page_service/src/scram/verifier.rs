//! What a server keeps of a password.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Key;

const PREFIX: &str = "SCRAM-SHA-256$";
/// The longest salt that is taken, in bytes. PostgreSQL's have 16.
const MAX_SALT: usize = 256;

/// What a server keeps of a password: enough to examine who claims to know it, not enough to claim it.
///
/// Its text form is PostgreSQL's: `SCRAM-SHA-256$ITERATIONS:SALT$STORED_KEY:SERVER_KEY`, the last three in base64. Still it is not for
/// everybody's eyes: whoever has it can try passwords against it, and can play the server to its user.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    pub(super) iterations: u32,
    pub(super) salt: Vec<u8>,
    pub(super) stored_key: Key,
    pub(super) server_key: Key,
}

/// A text that is no verifier. It is not repeated, because it may be a password.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not of the form SCRAM-SHA-256$ITERATIONS:SALT$STORED_KEY:SERVER_KEY: {0}")]
pub struct VerifierError(&'static str);

impl Verifier {
    /// Makes one with a random salt of 16 bytes and 4096 iterations, as PostgreSQL does. The password is brought into SASLprep's form
    /// first, as clients do, if it has one.
    #[must_use]
    pub fn of_password(password: &str) -> Verifier {
        let text = postgres_protocol::password::scram_sha_256(password.as_bytes());
        text.parse().expect("the library writes PostgreSQL's form")
    }
}

impl FromStr for Verifier {
    type Err = VerifierError;

    fn from_str(text: &str) -> Result<Self, VerifierError> {
        let rest = text.strip_prefix(PREFIX).ok_or(VerifierError("it begins otherwise"))?;
        let (salted, keys) = rest.split_once('$').ok_or(VerifierError("the keys are missing"))?;
        let (iterations, salt) = salted.split_once(':').ok_or(VerifierError("the salt is missing"))?;
        let (stored_key, server_key) = keys.split_once(':').ok_or(VerifierError("the server key is missing"))?;
        let iterations = iterations.parse().ok().filter(|&count: &u32| (1..=i32::MAX as u32).contains(&count));
        let salt = STANDARD.decode(salt).ok().filter(|salt| (1..=MAX_SALT).contains(&salt.len()));
        Ok(Verifier {
            iterations: iterations.ok_or(VerifierError("the number of iterations is none"))?,
            salt: salt.ok_or(VerifierError("the salt is not 1 to 256 bytes in base64"))?,
            stored_key: key(stored_key).ok_or(VerifierError("the stored key is not 32 bytes in base64"))?,
            server_key: key(server_key).ok_or(VerifierError("the server key is not 32 bytes in base64"))?,
        })
    }
}

fn key(text: &str) -> Option<Key> {
    STANDARD.decode(text).ok()?.try_into().ok()
}

impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let encode = |bytes: &[u8]| STANDARD.encode(bytes);
        let (salt, stored, server) = (encode(&self.salt), encode(&self.stored_key), encode(&self.server_key));
        write!(f, "{PREFIX}{}:{salt}${stored}:{server}", self.iterations)
    }
}

/// Without the keys.
impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("iterations", &self.iterations).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_read_and_written_as_postgres_does() {
        // The keys of RFC 7677's example, in PostgreSQL's form.
        let text = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:\
                    wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";
        let verifier: Verifier = text.parse().expect("understood");
        assert_eq!((verifier.iterations, verifier.salt.len()), (4096, 16));
        assert_eq!(verifier.to_string(), text);
    }

    #[test]
    fn what_is_no_verifier_is_refused_without_being_repeated() {
        let good = Verifier::of_password("x").to_string();
        let (salted, keys) = good.rsplit_once('$').expect("two parts");
        for text in [
            "secret",
            "md5c4ca4238a0b923820dcc509a6f75849b",
            "SCRAM-SHA-256$4096:AAAA",
            &format!("{salted}$"),
            &format!("{salted}$AAAA:AAAA"),
            &format!("SCRAM-SHA-256$0:AAAA${keys}"),
            &format!("SCRAM-SHA-256$-1:AAAA${keys}"),
            &format!("SCRAM-SHA-256$4096:${keys}"),
            &format!("{good}="),
        ] {
            let error = text.parse::<Verifier>().expect_err(text).to_string();
            assert!(!error.contains(text), "{error}");
        }
        assert!(!format!("{:?}", Verifier::of_password("x")).contains(keys));
    }
}
