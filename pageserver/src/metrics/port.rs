//! What is counted on the libpq port.

use std::array::from_fn;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use page_service::{ConnectionEnd, Observer, RequestKind, SqlState};

use super::errors::Errors;
use super::histogram::{Durations, Histogram};
use crate::backend::COMMANDS;

/// What stands for every command that there is not.
const UNKNOWN: &str = "unknown";

/// Connections, requests and commands since the start.
#[derive(Debug)]
pub struct Port {
    opened: AtomicU64,
    closed: AtomicU64,
    broken: AtomicU64,
    panicked: AtomicU64,
    refused: AtomicU64,
    dropped: AtomicU64,
    /// Why connections were refused, under the name [`REFUSED`].
    refusals: Errors,
    requests: [Histogram; RequestKind::ALL.len()],
    request_errors: Errors,
    /// By the place in [`COMMANDS`]; the last is of all others.
    commands: [Histogram; COMMANDS.len() + 1],
    command_errors: Errors,
}

const REFUSED: &str = "connection";

/// Numbers of connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Connections {
    /// Those that have a thread now.
    pub open: u64,
    /// All that ever had one.
    pub opened: u64,
    /// Ended in order.
    pub closed: u64,
    /// Ended by a socket that failed or a client that was silent for too long.
    pub broken: u64,
    /// Ended by the server, which said why.
    pub refused: u64,
    /// Ended by a defect.
    pub panicked: u64,
    /// Closed without a word: far too many were open.
    pub dropped: u64,
}

impl Default for Port {
    fn default() -> Self {
        Port {
            opened: AtomicU64::default(),
            closed: AtomicU64::default(),
            broken: AtomicU64::default(),
            panicked: AtomicU64::default(),
            refused: AtomicU64::default(),
            dropped: AtomicU64::default(),
            refusals: Errors::default(),
            requests: from_fn(|_| Histogram::default()),
            request_errors: Errors::default(),
            commands: from_fn(|_| Histogram::default()),
            command_errors: Errors::default(),
        }
    }
}

impl Port {
    /// The connections.
    pub fn connections(&self) -> Connections {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        // Ends first: what is opened and ends meanwhile must not make the rest negative.
        let (closed, broken) = (get(&self.closed), get(&self.broken));
        let (refused, panicked) = (get(&self.refused), get(&self.panicked));
        let opened = get(&self.opened);
        let open = opened.saturating_sub(closed + broken + refused + panicked);
        Connections { open, opened, closed, broken, refused, panicked, dropped: get(&self.dropped) }
    }

    /// SQLSTATEs that connections were refused with.
    pub fn refusals(&self) -> Vec<(&'static str, u64)> {
        self.refusals.read().into_iter().map(|(_, code, count)| (code, count)).collect()
    }

    /// How long requests took, by kind.
    pub fn requests(&self) -> impl Iterator<Item = (&'static str, Durations)> {
        RequestKind::ALL.into_iter().map(|kind| (kind.name(), self.requests[kind as usize].read()))
    }

    /// Kind, SQLSTATE and number of the requests that failed.
    pub fn request_errors(&self) -> Vec<(&'static str, &'static str, u64)> {
        self.request_errors.read()
    }

    /// How long commands took, by their word.
    pub fn commands(&self) -> impl Iterator<Item = (&'static str, Durations)> {
        COMMANDS.into_iter().chain([UNKNOWN]).zip(&self.commands).map(|(word, histogram)| (word, histogram.read()))
    }

    /// Word, SQLSTATE and number of the commands that failed.
    pub fn command_errors(&self) -> Vec<(&'static str, &'static str, u64)> {
        self.command_errors.read()
    }
}

fn add_one(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Observer for Port {
    fn connection_opened(&self) {
        add_one(&self.opened);
    }

    fn connection_ended(&self, end: ConnectionEnd) {
        match end {
            ConnectionEnd::Closed => add_one(&self.closed),
            ConnectionEnd::Broken => add_one(&self.broken),
            ConnectionEnd::Panicked => add_one(&self.panicked),
            ConnectionEnd::Refused(code) => {
                add_one(&self.refused);
                self.refusals.count(REFUSED, code);
            }
        }
    }

    fn connection_dropped(&self) {
        add_one(&self.dropped);
    }

    fn request(&self, kind: RequestKind, took: Duration, error: Option<SqlState>) {
        self.requests[kind as usize].observe(took);
        if let Some(code) = error {
            self.request_errors.count(kind.name(), code);
        }
    }

    fn command(&self, word: &str, took: Duration, error: Option<SqlState>) {
        let known = COMMANDS.iter().position(|command| command.eq_ignore_ascii_case(word));
        self.commands[known.unwrap_or(COMMANDS.len())].observe(took);
        if let Some(code) = error {
            self.command_errors.count(known.map_or(UNKNOWN, |at| COMMANDS[at]), code);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOOK: Duration = Duration::from_micros(3);

    #[test]
    fn kinds_are_numbered_as_they_are_listed() {
        for (number, kind) in RequestKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, number);
        }
    }

    #[test]
    fn requests_are_counted_by_kind_and_errors_by_code() {
        let port = Port::default();
        port.request(RequestKind::Page, TOOK, None);
        port.request(RequestKind::Page, TOOK, Some(SqlState::DATA_CORRUPTED));
        port.request(RequestKind::Size, TOOK, Some(SqlState::UNDEFINED_OBJECT));
        let counts: Vec<_> = port.requests().map(|(kind, took)| (kind, took.count())).collect();
        assert_eq!(counts, [("exists", 0), ("size", 1), ("page", 2), ("database_size", 0), ("slru_segment", 0)]);
        assert_eq!(port.request_errors(), [("page", "XX001", 1), ("size", "42704", 1)]);
    }

    #[test]
    fn commands_that_there_are_not_are_one() {
        let port = Port::default();
        port.command("STATUS", TOOK, None);
        for word in ["frobnicate", "", "\u{1F418}"] {
            port.command(word, TOOK, Some(SqlState::SYNTAX_ERROR));
        }
        let counts: Vec<_> =
            port.commands().filter(|(_, took)| took.count() > 0).map(|(word, took)| (word, took.count())).collect();
        assert_eq!(counts, [("status", 1), (UNKNOWN, 3)]);
        assert_eq!(port.command_errors(), [(UNKNOWN, "42601", 3)]);
    }

    #[test]
    fn open_connections_are_those_that_have_not_ended() {
        let port = Port::default();
        (0..5).for_each(|_| port.connection_opened());
        port.connection_ended(ConnectionEnd::Closed);
        port.connection_ended(ConnectionEnd::Refused(SqlState::TOO_MANY_CONNECTIONS));
        port.connection_dropped();
        let expected = Connections { open: 3, opened: 5, closed: 1, broken: 0, refused: 1, panicked: 0, dropped: 1 };
        assert_eq!(port.connections(), expected);
        assert_eq!(port.refusals(), [("53300", 1)]);
    }
}
