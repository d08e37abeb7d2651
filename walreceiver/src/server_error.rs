//! Errors of the server: reading them, and telling what they mean where they arise.

use fallible_iterator::FallibleIterator;
use pgdata::Lsn;
use postgres_protocol::message::backend::ErrorFields;

use crate::error::{Error, ServerError};

/// What the server was asked when it answered with an error.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Asked<'a> {
    /// Logging in.
    Login,
    /// `CREATE_REPLICATION_SLOT`, `DROP_REPLICATION_SLOT` or `READ_REPLICATION_SLOT`.
    Slot { command: &'static str, slot: &'a str },
    /// `START_REPLICATION`, and all that comes until it ends.
    Stream { slot: Option<&'a str>, start: Lsn },
    /// Any other command.
    Command(&'static str),
}

/// Reads the fields of an ErrorResponse or NoticeResponse. What is damaged is left out: the rest still tells more than nothing.
pub(crate) fn read(mut fields: ErrorFields<'_>) -> ServerError {
    let unknown = || "?".to_owned();
    let mut error = ServerError { severity: unknown(), code: unknown(), message: unknown(), detail: None, hint: None };
    while let Ok(Some(field)) = fields.next() {
        let value = String::from_utf8_lossy(field.value_bytes()).into_owned();
        match field.type_() {
            // `V` is the severity that is never translated; it comes after `S`.
            b'S' | b'V' => error.severity = value,
            b'C' => error.code = value,
            b'M' => error.message = value,
            b'D' => error.detail = Some(value),
            b'H' => error.hint = Some(value),
            _ => {}
        }
    }
    error
}

/// What an error means. SQLSTATEs decide wherever they can, because texts are translated.
pub(crate) fn explain(error: ServerError, asked: Asked<'_>) -> Error {
    let error = Box::new(error);
    match error.code.as_str() {
        // admin_shutdown, crash_shutdown, cannot_connect_now
        "57P01" | "57P02" | "57P03" => Error::Unavailable(error),
        // invalid_authorization_specification (also "no pg_hba.conf entry"), invalid_password
        "28000" | "28P01" => Error::AuthenticationFailed(error),
        "42501" => Error::NoReplicationPermission(error),
        // With wal_level = minimal the server starts only with max_wal_senders = 0, and then refuses us with "(currently 0)" after the setting's name,
        // which 17 and later put in quotes.
        "53300" if error.message.contains("max_wal_senders") && error.message.contains(" 0)") => {
            Error::ReplicationDisabled(error)
        }
        "53300" => Error::TooManyConnections(error),
        _ => explain_in_context(error, asked),
    }
}

fn explain_in_context(error: Box<ServerError>, asked: Asked<'_>) -> Error {
    match asked {
        Asked::Login => Error::Server { command: "the login", source: error },
        Asked::Command(command) => Error::Server { command, source: error },
        Asked::Slot { command, slot } => {
            let slot = slot.to_owned();
            match error.code.as_str() {
                "42704" => Error::SlotMissing { slot },
                "42710" => Error::SlotExists { slot },
                "55006" => Error::SlotInUse { slot, source: error },
                "53400" => Error::NoFreeSlot(error),
                "0A000" => Error::SlotUnsuitable { slot, source: error },
                "55000" if command == "CREATE_REPLICATION_SLOT" => Error::ReplicationDisabled(error),
                _ => Error::Server { command, source: error },
            }
        }
        Asked::Stream { slot, start } => match (error.code.as_str(), slot.map(str::to_owned)) {
            ("42704", Some(slot)) => Error::SlotMissing { slot },
            ("55006", Some(slot)) => Error::SlotInUse { slot, source: error },
            ("55000", Some(slot)) if error.message.contains("logical") => Error::SlotUnsuitable { slot, source: error },
            ("55000", Some(slot)) => Error::SlotInvalidated { slot, source: Some(error) },
            ("58P01", _) => Error::WalRemoved { start, source: error },
            _ => Error::Server { command: "START_REPLICATION", source: error },
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(code: &str, message: &str) -> ServerError {
        let (severity, code, message) = ("FATAL".to_owned(), code.to_owned(), message.to_owned());
        ServerError { severity, code, message, detail: None, hint: None }
    }

    #[test]
    fn no_senders_at_all_is_another_matter_than_none_left() {
        let words = |name: &str, limit: u32| {
            let text = format!("number of requested standby connections exceeds {name} (currently {limit})");
            explain(error("53300", &text), Asked::Login)
        };
        for name in ["max_wal_senders", "\"max_wal_senders\""] {
            assert!(matches!(words(name, 0), Error::ReplicationDisabled(_)));
            assert!(matches!(words(name, 10), Error::TooManyConnections(_)));
        }
        assert!(matches!(
            explain(error("53300", "sorry, too many clients already"), Asked::Login),
            Error::TooManyConnections(_)
        ));
    }

    #[test]
    fn an_unknown_code_is_told_as_it_is() {
        let asked = Asked::Stream { slot: Some("s"), start: Lsn(1) };
        let told = explain(error("XX000", "oops"), asked);
        assert!(matches!(&told, Error::Server { source, .. } if source.message == "oops") && !told.is_transient());
    }
}
