//! What can go wrong for a client.

use std::io;

use crate::messages::{FrameError, Request, ResponseError, ServerMessage};

/// Why a client did not get what it asked for.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No address of the server answers.
    #[error("cannot connect")]
    Connect(#[source] io::Error),
    /// The socket failed, or the server took longer than the timeout allows.
    #[error("the connection to the server failed")]
    Socket(#[from] io::Error),
    /// The server closed the connection while an answer was due.
    #[error("the server closed the connection")]
    Closed,
    /// The server's bytes are no messages.
    #[error("the server does not keep to the protocol")]
    Frame(#[from] FrameError),
    /// The server's bytes are no answer of a page stream.
    #[error("the server does not keep to the page stream protocol")]
    Response(#[from] ResponseError),
    /// A message that has no place here.
    #[error("the server sent {got} during {during}")]
    Unexpected {
        /// The message.
        got: &'static str,
        /// What was going on.
        during: &'static str,
    },
    /// The server wants to know who we are; its kind of authentication is not spoken here.
    #[error("the server asks for authentication of kind {0}")]
    Authentication(u32),
    /// The server asks for a password, and none was given.
    #[error("the server asks for a password")]
    PasswordNeeded,
    /// The server offers no mechanism of authentication that is spoken here.
    #[error("the server offers no authentication but {0}")]
    Mechanism(String),
    /// The exchange of proofs failed: the server may not be the one it seems to be.
    #[error("the server did not prove that it knows the password: {0}")]
    Scram(#[source] io::Error),
    /// Channel binding is required, and cannot be had.
    #[error(
        "channel binding is required, but the server does not offer it, or there is no TLS, or its certificate has none"
    )]
    NoBinding,
    /// The server has no TLS, and it is required.
    #[error("the server does not offer TLS")]
    NoTls,
    /// The files that TLS needs are not usable.
    #[error(transparent)]
    Tls(#[from] pgtls::TlsError),
    /// TLS was not agreed on, most often because the server's certificate is not trusted.
    #[error("TLS: {0}")]
    Handshake(#[source] io::Error),
    /// A name that no certificate can be made out to.
    #[error("{0:?} is not a host name that a certificate could be compared with")]
    ServerName(String),
    /// The server refused the connection or a command.
    #[error("{0}")]
    Server(ServerMessage),
    /// A request of a page stream failed. The stream goes on.
    #[error("{text}")]
    Request {
        /// What was asked.
        request: Request,
        /// What the server says about it.
        text: String,
    },
    /// An answer that does not belong to the oldest request in flight. The stream cannot be used any more.
    #[error("the answer to another request came instead of the one to {request:?}")]
    Mismatch {
        /// What was asked.
        request: Request,
    },
    /// No request is in flight, so no answer will come.
    #[error("no request is in flight")]
    NothingInFlight,
    /// Both sides would block on sending if more requests went out before answers are read.
    #[error("{0} requests are in flight: receive answers first")]
    TooManyInFlight(usize),
    /// A tenant's or timeline's name that cannot be part of a command.
    #[error("{0:?} is not the name of a tenant or a timeline")]
    Name(String),
}
