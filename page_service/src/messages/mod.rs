//! Bytes to messages and back, without sockets: the framing of libpq's protocol version 3, and the page stream inside of it.
//!
//! Framing parsers look at the bytes received so far and say "need more" (`None`), "one message, this many bytes long", or "error".
//! Parsers of whole messages refuse bytes that are too few and bytes that are left over.

pub mod backend;
mod backend_message;
mod frame;
pub mod frontend;
mod frontend_message;
mod read;
mod request;
mod response;
mod sasl;
mod startup;

pub use backend_message::{Authentication, BackendMessage, ColumnInfo, Row, ServerMessage, Severity};
pub use frame::{FrameError, MAX_ROW};
pub use frontend_message::{FrontendMessage, MAX_COPY_REQUEST, MAX_QUERY};
pub use read::{Header, ReadLsn, ReadLsnError};
pub use request::{Operation, Request, RequestError, RequestKind};
pub use response::{Answer, Response, ResponseError, write_answer, write_page};
pub use sasl::{MAX_SASL, SaslInitial, parse_sasl_response};
pub use startup::{MAX_STARTUP, Startup, StartupParameters, write_ssl_request, write_startup};

/// Which form the answers of a page stream have.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Version {
    /// `pagestream_v2`: answers carry the result alone; their order says what they answer.
    V2,
    /// `pagestream_v3`: requests carry an id; answers repeat it and the whole question.
    V3,
}

impl Version {
    /// Both, older first.
    pub const ALL: [Version; 2] = [Version::V2, Version::V3];

    /// The command that starts such a stream.
    #[must_use]
    pub const fn command(self) -> &'static str {
        match self {
            Version::V2 => "pagestream_v2",
            Version::V3 => "pagestream_v3",
        }
    }

    /// The version that this command word starts, in any case of letters.
    #[must_use]
    pub fn from_command(word: &str) -> Option<Version> {
        Self::ALL.into_iter().find(|version| version.command().eq_ignore_ascii_case(word))
    }
}
