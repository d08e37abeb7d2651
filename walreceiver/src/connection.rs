//! A replication connection and the commands that answer at once.

use std::time::Duration;

use bytes::BytesMut;
use pgdata::{Lsn, PgVersion};
use postgres_protocol::message::backend::Message;
use postgres_protocol::message::frontend;

use crate::command;
use crate::error::Error;
use crate::login::log_in;
use crate::primary::Primary;
use crate::protocol::{ProtocolError, ServerMessage};
use crate::rows::{self, Row};
use crate::server_error::{self, Asked};
use crate::slot::SlotName;
use crate::socket::{self, Target};
use crate::stop::StopHandle;
use crate::wire::{self, Wire};

/// How long the server may take to answer a command, unless said otherwise.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(60);
/// The most rows that a result may have: one for each tablespace is the longest.
const MAX_ROWS: usize = 100_000;

/// What a cluster says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SystemIdentity {
    /// The identifier that `initdb` drew; all copies of a cluster share it.
    pub system_id: u64,
    /// The timeline on which the server is now.
    pub timeline: u32,
    /// How far its WAL is flushed.
    pub flushed: Lsn,
}

/// What a physical slot holds back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotInfo {
    /// The oldest WAL that is kept; `None` if none is, because the slot was invalidated or never reserved any.
    pub restart_lsn: Option<Lsn>,
    /// The timeline of `restart_lsn`.
    pub restart_timeline: Option<u32>,
}

/// The history of a timeline: where it and its ancestors began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimelineHistory {
    /// The name of its file in `pg_wal`, as `00000002.history`.
    pub file_name: String,
    /// The file's content.
    pub content: Vec<u8>,
}

/// The error of a connection string without hosts.
fn no_host() -> Error {
    Error::Config("it names no host: add host=…".to_owned())
}

/// A connection to a server in physical replication mode. Every call blocks, and ends at once when the handle given to [`connect`](Connection::connect) is stopped.
/// After an error of any kind but an answer of the server the connection is of no use.
pub struct Connection {
    pub(crate) wire: Wire,
    version: PgVersion,
    server_version_num: u32,
}

impl Connection {
    /// Connects to the first host of the connection string that can be reached, and logs in.
    ///
    /// # Errors
    /// Whatever the last host that was tried failed with, and at once what no other host would make better:
    /// [`Error::UnsupportedVersion`], [`Error::AuthenticationFailed`] and other final ones.
    pub fn connect(primary: &Primary, stop: &StopHandle) -> Result<Self, Error> {
        let mut last = None;
        for target in socket::targets(&primary.config)? {
            match Self::connect_to(primary, &target, stop) {
                Ok(connection) => return Ok(connection),
                Err(error) if error.is_transient() => last = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(last.unwrap_or_else(no_host))
    }

    /// Tries one host after the other until one can what is asked. What one of them cannot for now another may, and it may itself later: so
    /// an error that may pass is told rather than one that does not.
    pub(crate) fn first_host<T>(
        primary: &Primary,
        mut attempt: impl FnMut(&Target) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut told: Option<Error> = None;
        for target in socket::targets(&primary.config)? {
            match attempt(&target) {
                Err(Error::Stopped) => return Err(Error::Stopped),
                Err(error) => {
                    if primary.has_several_hosts() {
                        tracing::warn!(host = %target, %error, "this host cannot be followed");
                    }
                    if told.as_ref().is_none_or(|told| error.is_transient() || !told.is_transient()) {
                        told = Some(error);
                    }
                }
                done => return done,
            }
        }
        Err(told.unwrap_or_else(no_host))
    }

    pub(crate) fn connect_to(primary: &Primary, target: &Target, stop: &StopHandle) -> Result<Self, Error> {
        let runtime = wire::event_loop()?;
        let socket = wire::run(&runtime, stop, "connecting", None, socket::connect(primary, target))?;
        let mut wire = Wire::new(runtime, socket, stop.clone());
        wire.timeout = primary.config.get_connect_timeout().copied().filter(|t| !t.is_zero()).or(Some(COMMAND_TIMEOUT));
        log_in(&mut wire, primary)?;
        wire.timeout = Some(COMMAND_TIMEOUT);
        let mut connection = Connection { wire, version: PgVersion::V15, server_version_num: 0 };
        connection.read_version()?;
        if let Some(wanted) = primary.standby {
            let standby = connection.is_standby()?;
            if standby != wanted {
                return Err(Error::WrongRole { host: target.to_string(), standby });
            }
        }
        Ok(connection)
    }

    /// Whether the server is a standby at this moment.
    ///
    /// # Errors
    /// Those of [`show`](Connection::show).
    pub fn is_standby(&mut self) -> Result<bool, Error> {
        self.show_switch("in_hot_standby")
    }

    fn read_version(&mut self) -> Result<(), Error> {
        let text = self.show("server_version_num")?;
        let bad = || ProtocolError::Result { command: "SHOW server_version_num", reason: format!("it is {text:?}") };
        let number: u32 = text.parse().map_err(|_| bad())?;
        self.server_version_num = number;
        self.version = PgVersion::from_major(number / 10_000)
            .map_err(|_| Error::UnsupportedVersion { server_version_num: number })?;
        Ok(())
    }

    /// The server's major version.
    #[must_use]
    pub fn version(&self) -> PgVersion {
        self.version
    }

    /// The server's `server_version_num`, as 150018.
    #[must_use]
    pub fn server_version_num(&self) -> u32 {
        self.server_version_num
    }

    /// Whether the connection is encrypted.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.wire.is_tls()
    }

    /// `IDENTIFY_SYSTEM`.
    ///
    /// # Errors
    /// Those of the connection, and [`Error::Protocol`] if the answer is malformed.
    pub fn identify_system(&mut self) -> Result<SystemIdentity, Error> {
        let command = "IDENTIFY_SYSTEM";
        let row = self.query_row(command, command, Asked::Command(command))?;
        Ok(SystemIdentity { system_id: row.value(0)?, timeline: row.value(1)?, flushed: row.value(2)? })
    }

    /// `SHOW`: a setting as the server prints it.
    ///
    /// # Errors
    /// Those of the connection, and [`Error::Server`] if there is no such setting.
    pub fn show(&mut self, setting: &str) -> Result<String, Error> {
        let row = self.query_row("SHOW", &command::show(setting)?, Asked::Command("SHOW"))?;
        Ok(row.text(0)?.to_owned())
    }

    /// Bytes of a WAL segment: a power of two from 1 MiB to 1 GiB.
    ///
    /// # Errors
    /// Those of [`show`](Connection::show).
    pub fn wal_segment_size(&mut self) -> Result<u32, Error> {
        Ok(rows::segment_size(&self.show("wal_segment_size")?)?)
    }

    /// Whether the cluster keeps page checksums.
    ///
    /// # Errors
    /// Those of [`show`](Connection::show).
    pub fn data_checksums(&mut self) -> Result<bool, Error> {
        self.show_switch("data_checksums")
    }

    fn show_switch(&mut self, setting: &str) -> Result<bool, Error> {
        match self.show(setting)?.as_str() {
            "on" => Ok(true),
            "off" => Ok(false),
            other => {
                let reason = format!("{setting} is {other:?}");
                Err(ProtocolError::Result { command: "SHOW", reason }.into())
            }
        }
    }

    /// Creates a physical slot that holds back WAL from now on: everything that a base backup taken afterwards needs.
    ///
    /// # Errors
    /// [`Error::SlotExists`], [`Error::NoFreeSlot`], [`Error::ReplicationDisabled`], and those of the connection.
    pub fn create_slot(&mut self, slot: &SlotName) -> Result<(), Error> {
        let command = "CREATE_REPLICATION_SLOT";
        self.query_row(command, &command::create_slot(slot), Asked::Slot { command, slot: slot.as_str() })?;
        Ok(())
    }

    /// What a slot holds back; `None` if there is no such slot.
    ///
    /// # Errors
    /// [`Error::SlotUnsuitable`] if it is a logical one, and those of the connection.
    pub fn read_slot(&mut self, slot: &SlotName) -> Result<Option<SlotInfo>, Error> {
        let command = "READ_REPLICATION_SLOT";
        let row = self.query_row(command, &command::read_slot(slot), Asked::Slot { command, slot: slot.as_str() })?;
        if row.optional_text(0)?.is_none() {
            return Ok(None);
        }
        Ok(Some(SlotInfo { restart_lsn: row.optional(1)?, restart_timeline: row.optional(2)? }))
    }

    /// Drops a slot; the server may then remove the WAL that it held back.
    ///
    /// # Errors
    /// [`Error::SlotMissing`], [`Error::SlotInUse`], and those of the connection.
    pub fn drop_slot(&mut self, slot: &SlotName) -> Result<(), Error> {
        let command = "DROP_REPLICATION_SLOT";
        self.query(command, &command::drop_slot(slot), Asked::Slot { command, slot: slot.as_str() })?;
        Ok(())
    }

    /// `TIMELINE_HISTORY`. Timeline 1 has none.
    ///
    /// # Errors
    /// [`Error::Server`] if the server has no history of this timeline, and those of the connection.
    pub fn timeline_history(&mut self, timeline: u32) -> Result<TimelineHistory, Error> {
        let command = "TIMELINE_HISTORY";
        let row = self.query_row(command, &format!("{command} {timeline}"), Asked::Command(command))?;
        let content = row.bytes(1)?.map(|bytes| bytes.to_vec()).unwrap_or_default();
        Ok(TimelineHistory { file_name: row.text(0)?.to_owned(), content })
    }

    /// Says goodbye. Dropping the connection does too, less politely.
    pub fn close(self) {
        let mut farewell = BytesMut::new();
        frontend::terminate(&mut farewell);
        self.wire.close(&farewell);
    }

    /// Sends a command.
    pub(crate) fn send(&mut self, command: &'static str, text: &str) -> Result<(), Error> {
        self.wire.doing = command;
        frontend::query(text, &mut self.wire.outgoing)
            .map_err(|error| Error::Config(format!("{command} cannot be sent: {error}")))?;
        self.wire.flush()
    }

    /// The next message, unless it is an error. After one, the server is ready for the next command.
    pub(crate) fn next(&mut self, asked: Asked<'_>) -> Result<ServerMessage, Error> {
        match self.wire.message()? {
            ServerMessage::Other(Message::ErrorResponse(body)) => {
                let error = server_error::explain(server_error::read(body.fields()), asked);
                // A stream is not resumed in the same connection. A fatal error ends the connection, and says more than that end does.
                if !matches!(asked, Asked::Stream { .. }) {
                    let _ = self.until_ready();
                }
                Err(error)
            }
            message => Ok(message),
        }
    }

    fn until_ready(&mut self) -> Result<(), Error> {
        while !matches!(self.wire.message()?, ServerMessage::Other(Message::ReadyForQuery(_))) {}
        Ok(())
    }

    /// A result's rows, up to what ends it, which must be a message that `is_end` knows.
    pub(crate) fn rows_until(
        &mut self,
        command: &'static str,
        asked: Asked<'_>,
        is_end: impl Fn(&Message) -> bool,
    ) -> Result<Vec<Row>, Error> {
        let mut rows = Vec::new();
        loop {
            match self.next(asked)? {
                ServerMessage::Other(message) if is_end(&message) => return Ok(rows),
                ServerMessage::Other(Message::RowDescription(_) | Message::CommandComplete(_)) => {}
                ServerMessage::Other(Message::DataRow(body)) if rows.len() < MAX_ROWS => {
                    rows.push(Row::read(command, &body)?);
                }
                other => return Err(self.wire.unexpected(&other)),
            }
        }
    }

    fn query(&mut self, command: &'static str, text: &str, asked: Asked<'_>) -> Result<Vec<Row>, Error> {
        self.send(command, text)?;
        self.rows_until(command, asked, |message| matches!(message, Message::ReadyForQuery(_)))
    }

    fn query_row(&mut self, command: &'static str, text: &str, asked: Asked<'_>) -> Result<Row, Error> {
        Ok(rows::only(command, self.query(command, text, asked)?)?)
    }
}
