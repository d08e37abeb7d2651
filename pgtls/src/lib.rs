//! TLS as PostgreSQL's clients have it. What `rustls` does not know about it is here, for every client and server of this project:
//!
//! - [`Verify`]: how much of a server's certificate is examined, by the names of `sslmode`; [`client_config`] makes a client of it.
//! - [`TlsWords`]: the words of a connection string that say so.
//! - [`tls_server_end_point`]: what binds a SCRAM exchange to the certificate of the connection.
//! - [`ALPN`]: the name of the protocol in a TLS handshake.
//!
//! No sockets: whoever connects brings these together.
//!
//! ```
//! use pgtls::{TlsWords, Verify};
//!
//! let (rest, words) = TlsWords::split("host=db.example user=me sslmode=verify-full sslrootcert=/etc/root.crt")?;
//! assert_eq!(rest.trim_end(), "host=db.example user=me");
//! assert_eq!(words.verify()?, Verify::Full("/etc/root.crt".into()));
//! # Ok::<(), String>(())
//! ```
#![forbid(unsafe_code)]

mod binding;
mod client;
mod verify;
mod words;

pub use binding::tls_server_end_point;
pub use client::client_config;
pub use verify::{TlsError, Verify};
pub use words::TlsWords;

/// The protocol's name in a TLS handshake, which PostgreSQL 17 and later ask for with `sslnegotiation=direct`.
pub const ALPN: &[u8] = b"postgresql";
