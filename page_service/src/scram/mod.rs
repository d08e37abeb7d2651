//! SCRAM-SHA-256 (RFC 5802 and 7677), the server's side: bytes to bytes, without sockets.
//!
//! The server keeps a [`Verifier`] of each user's password, in the form that PostgreSQL keeps in `pg_authid`. It can tell by it whether a
//! client knows the password, but cannot log in anywhere with it. A client whose name is unknown goes through the same exchange,
//! with a salt that is the same each time, and learns nothing but that its password is wrong.
//!
//! ```
//! use page_service::scram::{Users, Verifier};
//!
//! let verifier = Verifier::of_password("open sesame");
//! let kept = verifier.to_string();
//! assert!(kept.starts_with("SCRAM-SHA-256$4096:"));
//! assert_eq!(kept.parse::<Verifier>()?, verifier);
//! let users = Users::new([("ali".to_owned(), verifier)], &[7; 32]);
//! assert_eq!(users.len(), 1);
//! # Ok::<(), page_service::scram::VerifierError>(())
//! ```

mod exchange;
mod message;
mod users;
mod verifier;

pub use exchange::ScramError;
pub(crate) use exchange::{Exchange, MECHANISM, MECHANISM_PLUS};
pub use message::{ClientBinding, ClientFinal, ClientFirst, MessageError};
pub use users::Users;
pub use verifier::{Verifier, VerifierError};

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// The size of SHA-256's results, and of the keys here, in bytes.
const KEY: usize = 32;

type Key = [u8; KEY];

/// HMAC-SHA-256 over all the parts, one after the other.
fn hmac(key: &[u8], parts: &[&[u8]]) -> Key {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}
