//! The server's certificate and key.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pgtls::{ALPN, tls_server_end_point};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem};
use rustls::server::NoServerSessionStorage;
use rustls::{InconsistentKeys, ServerConfig};

/// What a server needs to speak TLS.
#[derive(Clone)]
pub struct ServerTls {
    pub(super) config: Arc<ServerConfig>,
    /// What SCRAM is bound to. Some kinds of certificate have none.
    pub(super) binding: Option<Vec<u8>>,
}

/// Why a certificate and a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ServerTlsError {
    /// A file cannot be read.
    #[error("cannot read {what} {}: {source}", path.display())]
    Read {
        /// What it holds.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file is not what it should be.
    #[error("{what} {}: {reason}", path.display())]
    Content {
        /// What it should hold.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Others than the owner can read the key.
    #[error(
        "private key {} can be read by others (mode {mode:03o}): run chmod 600 on it (640 will do if root owns it)",
        path.display()
    )]
    NotPrivate {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// Both can be read, and the one does not belong to the other.
    #[error("private key {} is not the key of certificate {}", key.display(), certificate.display())]
    Mismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// Both can be read, and TLS cannot be made of them.
    #[error("certificate {} and private key {} cannot be used: {source}", certificate.display(), key.display())]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why not.
        source: rustls::Error,
    },
}

const CERTIFICATE: &str = "certificate";
const KEY: &str = "private key";

impl ServerTls {
    /// Reads a certificate, with the intermediate ones after it, and its private key, both PEM. The key's file must be its owner's alone.
    ///
    /// # Errors
    /// If a file is not there or not what it should be, or they do not go together.
    pub fn from_files(certificate: &Path, key: &Path) -> Result<ServerTls, ServerTlsError> {
        let chain = read_chain(certificate)?;
        let binding = chain.first().and_then(|own| tls_server_end_point(own));
        let private = read_key(key)?;
        let config = server_config(chain, private).map_err(|source| {
            let (certificate, key) = (certificate.to_owned(), key.to_owned());
            match source {
                rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                    ServerTlsError::Mismatch { certificate, key }
                }
                source => ServerTlsError::Pair { certificate, key, source },
            }
        })?;
        Ok(ServerTls { config: Arc::new(config), binding })
    }
}

fn server_config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    // PostgreSQL's clients resume no sessions, so there is nothing to be remembered for them.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

fn read(what: &'static str, path: &Path) -> Result<Vec<u8>, ServerTlsError> {
    fs::read(path).map_err(|source| ServerTlsError::Read { what, path: path.to_owned(), source })
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, ServerTlsError> {
    let wrong = |reason: String| ServerTlsError::Content { what: CERTIFICATE, path: path.to_owned(), reason };
    let text = read(CERTIFICATE, path)?;
    let chain = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|error| wrong(error.to_string()))?;
    if chain.is_empty() {
        return Err(wrong("there is no certificate in it (it must be PEM: BEGIN CERTIFICATE)".to_owned()));
    }
    Ok(chain)
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, ServerTlsError> {
    check_private(path)?;
    PrivateKeyDer::from_pem_slice(&read(KEY, path)?).map_err(|error| {
        let reason = match error {
            pem::Error::NoItemsFound => {
                "there is no private key in it that can be used (it must be PEM, and not encrypted)".to_owned()
            }
            other => other.to_string(),
        };
        ServerTlsError::Content { what: KEY, path: path.to_owned(), reason }
    })
}

/// PostgreSQL's rule: nobody but the owner; the group too may read what root owns, for keys that belong to a system.
fn check_private(path: &Path) -> Result<(), ServerTlsError> {
    let metadata =
        fs::metadata(path).map_err(|source| ServerTlsError::Read { what: KEY, path: path.to_owned(), source })?;
    let forbidden = if metadata.uid() == 0 { 0o037 } else { 0o077 };
    match metadata.mode() & 0o777 {
        mode if mode & forbidden != 0 => Err(ServerTlsError::NotPrivate { path: path.to_owned(), mode }),
        _ => Ok(()),
    }
}

/// Without the key.
impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").field("has_binding", &self.binding.is_some()).finish_non_exhaustive()
    }
}
