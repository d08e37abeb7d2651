//! Streaming over one connection: messages in, WAL to the sink, positions back.

use std::time::{Duration, Instant, SystemTime};

use bytes::{Bytes, BytesMut};
use pgdata::Lsn;
use postgres_protocol::message::backend::Message;
use postgres_protocol::message::frontend;

use crate::command;
use crate::connection::Connection;
use crate::error::Error;
use crate::options::StreamOptions;
use crate::primary::Primary;
use crate::protocol::{
    ProtocolError, ReplicationMessage, ServerMessage, parse_replication_message, write_status_update,
};
use crate::rows::Row;
use crate::server_error::{self, Asked};
use crate::sink::{Positions, WalSink};
use crate::status::{ReceiverStatus, State, TimelineSwitch};
use crate::stop::StopHandle;
use crate::stream::Outcome;
use crate::wire::{Fill, is_aside};

const COMMAND: &str = "START_REPLICATION";
const STREAMING: &str = "streaming WAL";

/// One connection's streaming.
pub(crate) struct Session<'a> {
    connection: Connection,
    options: &'a StreamOptions,
    sink: &'a mut dyn WalSink,
    status: &'a ReceiverStatus,
    server_timeline: u32,
    /// Where streaming began.
    start: Lsn,
    /// The position after the last byte given to the sink.
    position: Lsn,
    /// Bytes given to the sink since it was flushed.
    unflushed: u64,
    /// The end of the server's WAL as it last said.
    server_end: Lsn,
    /// Whether the server waits for our positions.
    reply_due: bool,
    /// Whether we wait for a sign of life that we asked for.
    asked: bool,
    heard: Instant,
    reported: Instant,
    /// Whether the server has no WAL of this timeline beyond our start, so that nothing is streamed.
    at_end: bool,
}

impl<'a> Session<'a> {
    /// Connects, makes sure that it is the right server, and asks for WAL.
    pub(crate) fn start(
        primary: &Primary,
        options: &'a StreamOptions,
        sink: &'a mut dyn WalSink,
        stop: &StopHandle,
        status: &'a ReceiverStatus,
    ) -> Result<Self, Error> {
        let start = sink.start_lsn();
        if !start.is_valid() {
            return Err(Error::InvalidStart(start));
        }
        let mut connection = Connection::connect(primary, stop)?;
        let server_timeline = check_server(&mut connection, options, start)?;
        check_slot(&mut connection, options, start)?;
        connection.send(COMMAND, &command::start_replication(options.slot.as_ref(), start, options.timeline))?;
        let now = Instant::now();
        let mut session = Session {
            connection,
            options,
            sink,
            status,
            server_timeline,
            start,
            position: start,
            unflushed: 0,
            server_end: start,
            reply_due: true,
            asked: false,
            heard: now,
            reported: now,
            at_end: false,
        };
        session.await_stream()?;
        Ok(session)
    }

    fn question(&self) -> Asked<'a> {
        Asked::Stream {
            slot: self.options.slot.as_ref().map(|slot| slot.as_str()),
            start: self.start,
            timeline: self.options.timeline,
            server_timeline: self.server_timeline,
        }
    }

    fn await_stream(&mut self) -> Result<(), Error> {
        match self.connection.next(self.question())? {
            ServerMessage::CopyBoth => {
                self.connection.wire.doing = STREAMING;
                self.connection.wire.timeout = Some(self.options.receiver_timeout);
                let (start, slot) = (self.start, self.options.slot.as_ref().map(|slot| slot.as_str()));
                tracing::info!(%start, timeline = self.options.timeline, slot, "streaming");
                self.status.update(|status| {
                    status.state = State::Streaming;
                    status.connected_since = Some(SystemTime::now());
                    status.connections += 1;
                    status.received = start;
                });
            }
            // The timeline ends where we are: its successor is told at once.
            ServerMessage::Other(Message::RowDescription(_)) => self.at_end = true,
            other => return Err(self.connection.wire.unexpected(&other)),
        }
        Ok(())
    }

    /// Streams until something ends it. What was received is then flushed, whatever ended it, unless that was the sink and for good.
    pub(crate) fn run(mut self) -> Result<Outcome, Error> {
        let end = if self.at_end { self.timeline_end() } else { self.pump() };
        if self.unflushed > 0 && !matches!(&end, Err(error @ Error::Sink(_)) if !error.is_transient()) {
            self.flush()?;
        }
        if let Err(Error::Stopped) = end {
            self.say_goodbye();
        }
        end
    }

    fn pump(&mut self) -> Result<Outcome, Error> {
        loop {
            while let Some(message) = self.connection.wire.buffered()? {
                if let Some(outcome) = self.message(message)? {
                    return Ok(outcome);
                }
                if self.unflushed >= self.options.flush_bytes {
                    self.report(false)?;
                }
            }
            self.publish();
            if self.unflushed > 0 || self.reply_due {
                match self.connection.wire.fill_now()? {
                    Fill::Bytes => self.hear(),
                    Fill::Nothing => self.report(false)?,
                }
            } else {
                self.wait()?;
            }
        }
    }

    /// Waits for the server, and meanwhile keeps up what it expects of us.
    fn wait(&mut self) -> Result<(), Error> {
        let timeout = self.options.receiver_timeout;
        let mut silence = self.heard.elapsed();
        if silence >= timeout {
            // The time may have passed in the sink: then bytes wait already.
            if self.connection.wire.fill_now()? == Fill::Nothing {
                return Err(Error::Timeout { doing: STREAMING, after: timeout });
            }
            self.hear();
            return Ok(());
        }
        if silence >= timeout / 2 && !self.asked {
            self.report(true)?;
            self.asked = true;
        } else if self.reported.elapsed() >= self.options.status_interval {
            self.report(false)?;
        }
        silence = self.heard.elapsed();
        let patience = if self.asked { timeout } else { timeout / 2 };
        let until_report = self.options.status_interval.saturating_sub(self.reported.elapsed());
        let wait = patience.saturating_sub(silence).min(until_report);
        if self.connection.wire.fill_until(Instant::now() + wait)? == Fill::Bytes {
            self.hear();
        }
        Ok(())
    }

    fn hear(&mut self) {
        self.heard = Instant::now();
        self.asked = false;
    }

    fn message(&mut self, message: ServerMessage) -> Result<Option<Outcome>, Error> {
        match message {
            ServerMessage::Other(Message::CopyData(body)) => {
                match parse_replication_message(body.into_bytes())? {
                    ReplicationMessage::XLogData { start, server_end, wal } => self.wal(start, server_end, &wal)?,
                    ReplicationMessage::Keepalive { server_end, reply_requested } => {
                        self.server_end = server_end;
                        self.reply_due |= reply_requested;
                    }
                }
                Ok(None)
            }
            ServerMessage::Other(Message::CopyDone) => {
                frontend::copy_done(&mut self.connection.wire.outgoing);
                self.connection.wire.flush()?;
                self.timeline_end().map(Some)
            }
            ServerMessage::Other(Message::ErrorResponse(body)) => {
                Err(server_error::explain(server_error::read(body.fields()), self.question()))
            }
            // The server has sent all it has, and shuts down.
            ServerMessage::Other(Message::CommandComplete(_)) => Err(Error::Closed { doing: STREAMING }),
            ServerMessage::Other(message) if is_aside(&message) => Ok(None),
            other => Err(self.connection.wire.unexpected(&other)),
        }
    }

    fn wal(&mut self, start: Lsn, server_end: Lsn, wal: &Bytes) -> Result<(), Error> {
        if start != self.position {
            return Err(Error::Discontinuous { expected: self.position, got: start });
        }
        self.server_end = server_end;
        if wal.is_empty() {
            return Ok(());
        }
        self.sink.write(start, wal).map_err(Error::Sink)?;
        let len = wal.len() as u64;
        // The parser has made sure that the sum exists.
        self.position = Lsn(start.0 + len);
        self.unflushed += len;
        Ok(())
    }

    /// Flushes the sink and answers with the positions that the server may hear.
    fn flush(&mut self) -> Result<Positions, Error> {
        let said = self.sink.flush().map_err(Error::Sink)?;
        // After a restart we ask for WAL from the sink's start on: the server must keep it until then.
        let safe = said.flushed.min(self.sink.start_lsn());
        let positions = Positions {
            written: said.written.min(self.position),
            flushed: safe.min(self.position),
            applied: said.applied.min(self.position),
        };
        let bytes = std::mem::take(&mut self.unflushed);
        self.status.update(|status| {
            status.flushed = positions.flushed;
            status.bytes += bytes;
        });
        self.publish();
        Ok(positions)
    }

    fn report(&mut self, reply: bool) -> Result<(), Error> {
        let positions = self.flush()?;
        write_positions(positions, reply, &mut self.connection.wire.outgoing);
        self.connection.wire.flush()?;
        self.reply_due = false;
        self.reported = Instant::now();
        Ok(())
    }

    fn publish(&self) {
        let heard_before = self.heard.elapsed();
        self.status.update(|status| {
            status.received = self.position;
            status.server_end = self.server_end;
            status.last_message = SystemTime::now().checked_sub(heard_before);
        });
    }

    /// Reads where the timeline ended.
    fn timeline_end(&mut self) -> Result<Outcome, Error> {
        let asked = self.question();
        let rows =
            self.connection.rows_until(COMMAND, asked, |message| matches!(message, Message::ReadyForQuery(_)))?;
        let Some(row) = rows.first() else {
            // A server that ends the stream of its present timeline goes away.
            return Err(Error::Closed { doing: STREAMING });
        };
        let switch = read_switch(self.options.timeline, row)?;
        if switch.switch_lsn != self.position {
            let reason = format!("timeline ends at {}, but its WAL at {}", switch.switch_lsn, self.position);
            return Err(ProtocolError::Result { command: COMMAND, reason }.into());
        }
        self.flush()?;
        Ok(Outcome::TimelineEnded(switch))
    }

    /// Tells the last positions and ends the stream in order, as far as that takes no time.
    fn say_goodbye(mut self) {
        let Ok(positions) = self.flush() else { return };
        let mut farewell = BytesMut::new();
        write_positions(positions, false, &mut farewell);
        frontend::copy_done(&mut farewell);
        frontend::terminate(&mut farewell);
        self.connection.wire.close(&farewell);
    }
}

/// Refuses a server that cannot continue our history; the timeline on which it is.
fn check_server(connection: &mut Connection, options: &StreamOptions, start: Lsn) -> Result<u32, Error> {
    if let Some(expected) = options.version
        && expected != connection.version()
    {
        return Err(Error::WrongVersion { expected, got: connection.version() });
    }
    let identity = connection.identify_system()?;
    if let Some(expected) = options.system_id
        && expected != identity.system_id
    {
        return Err(Error::WrongSystem { expected, got: identity.system_id });
    }
    if identity.timeline < options.timeline {
        return Err(Error::TimelineBehind { expected: options.timeline, server: identity.timeline });
    }
    if identity.timeline == options.timeline && identity.flushed < start {
        return Err(Error::AheadOfServer { start, server_end: identity.flushed });
    }
    Ok(identity.timeline)
}

/// Refuses a slot that holds nothing back, before the server lets us stream with it nevertheless.
fn check_slot(connection: &mut Connection, options: &StreamOptions, start: Lsn) -> Result<(), Error> {
    let Some(slot) = &options.slot else { return Ok(()) };
    let Some(info) = connection.read_slot(slot)? else {
        return Err(Error::SlotMissing { slot: slot.to_string() });
    };
    let Some(restart_lsn) = info.restart_lsn else {
        return Err(Error::SlotInvalidated { slot: slot.to_string(), source: None });
    };
    if restart_lsn > start && is_loss(start, restart_lsn, connection.wal_segment_size()?) {
        tracing::error!(
            slot = slot.as_str(),
            %restart_lsn,
            %start,
            "WAL that was received and acknowledged before is gone here: it is asked for again, but the server may have removed it"
        );
    }
    Ok(())
}

/// Whether a slot that holds back WAL from `restart_lsn` on was told of more than is there. A new slot begins inside the segment from whose
/// start the first WAL is asked for.
fn is_loss(start: Lsn, restart_lsn: Lsn, segment_size: u32) -> bool {
    let size = u64::from(segment_size);
    restart_lsn > start && !(start.0.is_multiple_of(size) && restart_lsn.0 / size == start.0 / size)
}

fn read_switch(timeline: u32, row: &Row) -> Result<TimelineSwitch, ProtocolError> {
    Ok(TimelineSwitch { timeline, next_timeline: row.value(0)?, switch_lsn: row.value(1)? })
}

fn write_positions(positions: Positions, reply: bool, out: &mut BytesMut) {
    write_status_update(positions.written, positions.flushed, positions.applied, postgres_now(), reply, out);
}

/// Microseconds since 2000-01-01.
fn postgres_now() -> i64 {
    const EPOCH: Duration = Duration::from_secs(946_684_800);
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH + EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_ahead_of_us_means_a_loss_unless_it_is_new() {
        const SIZE: u32 = 16 << 20;
        for (start, restart, loss) in [
            (0x300_0000, 0x300_0028, false),
            (0x300_0000, 0x3FF_FFF8, false),
            (0x300_0000, 0x400_0000, true),
            (0x300_0100, 0x300_0108, true),
            (0x300_0100, 0x300_0100, false),
            (0x300_0100, 0x300_0028, false),
        ] {
            assert_eq!(is_loss(Lsn(start), Lsn(restart), SIZE), loss, "{start:x} {restart:x}");
        }
    }
}
