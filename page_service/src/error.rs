//! What a backend answers instead of a result: an SQLSTATE, a message, perhaps a hint.

use std::fmt;
use std::io;

/// A five-character SQLSTATE (`errcodes.txt` in PostgreSQL's sources). Clients decide by it, people read the message.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SqlState(&'static str);

impl SqlState {
    /// The connection to the peer broke.
    pub const CONNECTION_FAILURE: SqlState = SqlState("08006");
    /// The client may not come in, or not in this way.
    pub const INVALID_AUTHORIZATION: SqlState = SqlState("28000");
    /// The password is wrong.
    pub const INVALID_PASSWORD: SqlState = SqlState("28P01");
    /// The peer did not keep to the protocol.
    pub const PROTOCOL_VIOLATION: SqlState = SqlState("08P01");
    /// Understood, and not offered.
    pub const FEATURE_NOT_SUPPORTED: SqlState = SqlState("0A000");
    /// An argument has a value that cannot be used.
    pub const INVALID_PARAMETER_VALUE: SqlState = SqlState("22023");
    /// The object is not in a state that allows this.
    pub const OBJECT_NOT_IN_PREREQUISITE_STATE: SqlState = SqlState("55000");
    /// The command is not understood.
    pub const SYNTAX_ERROR: SqlState = SqlState("42601");
    /// No such tenant, timeline, relation, …
    pub const UNDEFINED_OBJECT: SqlState = SqlState("42704");
    /// There is one of this name already.
    pub const DUPLICATE_OBJECT: SqlState = SqlState("42710");
    /// No more connections are taken.
    pub const TOO_MANY_CONNECTIONS: SqlState = SqlState("53300");
    /// The disk is full.
    pub const DISK_FULL: SqlState = SqlState("53100");
    /// A limit of this program.
    pub const PROGRAM_LIMIT_EXCEEDED: SqlState = SqlState("54000");
    /// Given up on: a wait that took too long, or the client's wish.
    pub const QUERY_CANCELED: SqlState = SqlState("57014");
    /// The server is going away.
    pub const ADMIN_SHUTDOWN: SqlState = SqlState("57P01");
    /// The server is not ready yet.
    pub const CANNOT_CONNECT_NOW: SqlState = SqlState("57P03");
    /// Reading or writing a file failed.
    pub const IO_ERROR: SqlState = SqlState("58030");
    /// A defect of this program.
    pub const INTERNAL_ERROR: SqlState = SqlState("XX000");
    /// Stored data are not what they were.
    pub const DATA_CORRUPTED: SqlState = SqlState("XX001");

    /// Another code of `errcodes.txt`. `None` unless it is five digits or capital letters.
    #[must_use]
    pub const fn new(code: &'static str) -> Option<SqlState> {
        let bytes = code.as_bytes();
        if bytes.len() != 5 {
            return None;
        }
        let mut at = 0;
        while at < bytes.len() {
            if !(bytes[at].is_ascii_digit() || bytes[at].is_ascii_uppercase()) {
                return None;
            }
            at += 1;
        }
        Some(SqlState(code))
    }

    /// The five characters.
    #[must_use]
    pub const fn code(self) -> &'static str {
        self.0
    }
}

impl fmt::Display for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl fmt::Debug for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// Why a command or a page request has no result. It becomes an ErrorResponse, or the error answer of a page stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ServiceError {
    /// What kind of failure it is.
    pub code: SqlState,
    /// What failed, where, with which values. One line, no full stop.
    pub message: String,
    /// What the user may do about it.
    pub hint: Option<String>,
}

impl ServiceError {
    /// An error without a hint.
    #[must_use]
    pub fn new(code: SqlState, message: impl Into<String>) -> Self {
        ServiceError { code, message: message.into(), hint: None }
    }

    /// The same error with a hint.
    #[must_use]
    pub fn with_hint(self, hint: impl Into<String>) -> Self {
        ServiceError { hint: Some(hint.into()), ..self }
    }

    /// A defect of this program.
    #[must_use]
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(SqlState::INTERNAL_ERROR, message)
    }

    /// The answer to a command that is not known, with the list of those that are.
    #[must_use]
    pub fn unknown_command(word: &str, known: &[&str]) -> Self {
        let word: String = word.chars().take(64).collect();
        Self::new(SqlState::SYNTAX_ERROR, format!("unknown command {word:?}"))
            .with_hint(format!("commands are: {}", known.join(", ")))
    }
}

/// The peer is gone: a command that writes rows stops at its next row.
impl From<io::Error> for ServiceError {
    fn from(error: io::Error) -> Self {
        Self::new(SqlState::CONNECTION_FAILURE, format!("connection to the client: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_five_digits_or_capital_letters() {
        assert_eq!(SqlState::new("42P01").map(SqlState::code), Some("42P01"));
        for wrong in ["", "4260", "426011", "4260a", "42 01"] {
            assert_eq!(SqlState::new(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn an_unknown_command_lists_the_known_ones() {
        let error = ServiceError::unknown_command("frob", &["status", "attach"]);
        assert_eq!(error.to_string(), "unknown command \"frob\"");
        assert_eq!(error.hint.as_deref(), Some("commands are: status, attach"));
    }
}
