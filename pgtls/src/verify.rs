//! How much of a server's certificate is examined.

use std::path::{Path, PathBuf};

/// How much of a server's certificate is examined when the connection uses TLS.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Verify {
    /// Nothing: safe from eavesdroppers only. libpq's `sslmode=require` without a root certificate.
    #[default]
    None,
    /// It is signed by one of these roots. libpq's `verify-ca`, and `require` with a root certificate.
    Authority(PathBuf),
    /// It is also made out to the host name of the connection string. libpq's `verify-full`.
    Full(PathBuf),
}

impl Verify {
    /// The file of trusted root certificates (PEM).
    #[must_use]
    pub fn roots(&self) -> Option<&Path> {
        match self {
            Verify::None => None,
            Verify::Authority(path) | Verify::Full(path) => Some(path),
        }
    }
}

/// Why there is no TLS to be had.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A root certificate file is not usable.
    #[error("root certificate file {}: {reason}", path.display())]
    RootCertificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The TLS library refuses its settings.
    #[error("TLS: {0}")]
    Library(#[from] rustls::Error),
}
