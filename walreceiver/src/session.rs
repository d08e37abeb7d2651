//! Streaming over one connection: messages in, WAL to the sink, positions back.

use std::time::{Duration, Instant, SystemTime};

use bytes::{Bytes, BytesMut};
use pgdata::{Lsn, Timelines};
use postgres_protocol::message::backend::Message;
use postgres_protocol::message::frontend;

use crate::check::{check_server, check_slot};
use crate::command;
use crate::connection::{Connection, TimelineHistory};
use crate::error::Error;
use crate::options::StreamOptions;
use crate::primary::Primary;
use crate::protocol::{
    ProtocolError, ReplicationMessage, ServerMessage, parse_replication_message, write_status_update,
};
use crate::rows::Row;
use crate::server_error::{self, Asked};
use crate::sink::{Positions, WalSink};
use crate::socket::Target;
use crate::status::{ReceiverStatus, State, TimelineSwitch};
use crate::stop::StopHandle;
use crate::wire::{Fill, is_aside};

const COMMAND: &str = "START_REPLICATION";
const STREAMING: &str = "streaming WAL";

/// How a timeline ended.
pub(crate) struct TimelineEnd {
    pub(crate) switch: TimelineSwitch,
    /// The history file of the timeline that follows.
    pub(crate) history: TimelineHistory,
    /// What it says.
    pub(crate) timelines: Timelines,
}

/// One connection's streaming.
pub(crate) struct Session<'a> {
    connection: Connection,
    wanted: Wanted<'a>,
    sink: &'a mut dyn WalSink,
    status: &'a ReceiverStatus,
    /// Up to here the server's WAL has been compared with what there was before; from `wanted.start` on it is given to the sink.
    compared: Lsn,
    /// The position after the last byte given to the sink.
    position: Lsn,
    /// Bytes given to the sink since it was flushed, or began to be.
    unflushed: u64,
    /// Whether a flush was begun, and none made since.
    begun: bool,
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

/// A connection in which the server has begun to stream, or said that there is nothing to stream of the timeline.
struct Started {
    connection: Connection,
    /// The end of the server's WAL.
    server_end: Lsn,
    at_end: bool,
}

/// What is to be streamed, and from where on.
#[derive(Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) options: &'a StreamOptions,
    pub(crate) timelines: &'a Timelines,
    /// Where the server is to begin, and where what is new begins.
    compare_from: Lsn,
    start: Lsn,
}

impl<'a> Wanted<'a> {
    fn slot(&self) -> Option<&'a str> {
        self.options.slot.as_ref().map(|slot| slot.as_str())
    }

    fn question(&self) -> Asked<'a> {
        Asked::Stream { slot: self.slot(), start: self.start }
    }

    /// Connects, makes sure that it is the right server, and asks for WAL.
    fn start_on(&self, primary: &Primary, target: &Target, stop: &StopHandle) -> Result<Started, Error> {
        let (timeline, start, from) = (self.timelines.last(), self.start, self.compare_from);
        let mut connection = Connection::connect_to(primary, target, stop)?;
        let identity = check_server(&mut connection, self.options, self.timelines, start)?;
        if let Some(slot) = &self.options.slot {
            let moved = identity.timeline != timeline || primary.has_several_hosts();
            check_slot(&mut connection, slot, start, moved)?;
        }
        connection.send(COMMAND, &command::start_replication(self.options.slot.as_ref(), from, timeline))?;
        let at_end = match connection.next(self.question())? {
            ServerMessage::CopyBoth => false,
            // The timeline ends where we are: its successor is told at once.
            ServerMessage::Other(Message::RowDescription(_)) => true,
            other => return Err(connection.wire.unexpected(&other)),
        };
        tracing::info!(host = %target, %start, timeline, slot = self.slot(), "streaming");
        Ok(Started { connection, server_end: identity.flushed.max(start), at_end })
    }
}

impl<'a> Session<'a> {
    /// Connects, makes sure that it is the right server, and asks for WAL of the last of `timelines`.
    pub(crate) fn start(
        primary: &Primary,
        options: &'a StreamOptions,
        timelines: &'a Timelines,
        sink: &'a mut dyn WalSink,
        stop: &StopHandle,
        status: &'a ReceiverStatus,
    ) -> Result<Self, Error> {
        let start = sink.start_lsn();
        if !start.is_valid() {
            return Err(Error::InvalidStart(start));
        }
        let compare_from = sink.compare_from().min(start);
        let wanted = Wanted { options, timelines, compare_from, start };
        let started = Connection::first_host(primary, |target| wanted.start_on(primary, target, stop))?;
        let Started { mut connection, server_end, at_end } = started;
        if !at_end {
            connection.wire.doing = STREAMING;
            connection.wire.timeout = Some(options.receiver_timeout);
        }
        let now = Instant::now();
        let session = Session {
            connection,
            wanted,
            sink,
            status,
            compared: compare_from,
            position: start,
            unflushed: 0,
            begun: false,
            server_end,
            reply_due: true,
            asked: false,
            heard: now,
            reported: now,
            at_end,
        };
        if !at_end && compare_from == start {
            session.tell_streaming();
        }
        Ok(session)
    }

    fn tell_streaming(&self) {
        self.status.update(|status| {
            status.state = State::Streaming;
            status.connected_since = Some(SystemTime::now());
            status.connections += 1;
            status.received = self.position;
            status.server_end = self.server_end;
        });
    }

    /// Streams until something ends it: by itself only the timeline does. What was received is then flushed, whatever ended it, unless that
    /// was the sink and for good.
    pub(crate) fn run(mut self) -> Result<TimelineEnd, Error> {
        let end = if self.at_end { self.timeline_end() } else { self.pump() };
        if (self.unflushed > 0 || self.begun) && !matches!(&end, Err(error @ Error::Sink(_)) if !error.is_transient()) {
            self.flush()?;
        }
        if let Err(Error::Stopped) = end {
            self.say_goodbye();
        }
        end
    }

    fn pump(&mut self) -> Result<TimelineEnd, Error> {
        loop {
            while let Some(message) = self.connection.wire.buffered()? {
                if let Some(end) = self.message(message)? {
                    return Ok(end);
                }
                if self.flush_is_due() {
                    let positions = self.begin_flush()?;
                    self.send_positions(positions, false)?;
                }
            }
            self.publish();
            if self.unflushed > 0 || self.begun || self.reply_due {
                match self.connection.wire.fill_now()? {
                    Fill::Bytes => self.hear(),
                    Fill::Nothing => self.report(false)?,
                }
            } else {
                self.wait()?;
            }
        }
    }

    /// Whether a multiple of `flush_bytes` has been reached since the last flush. The ends of segments are among the places: a sink that makes each
    /// segment durable before the next has little of the next then.
    fn flush_is_due(&self) -> bool {
        passes_multiple(self.position, self.unflushed, self.wanted.options.flush_bytes)
    }

    /// Waits for the server, and meanwhile keeps up what it expects of us.
    fn wait(&mut self) -> Result<(), Error> {
        let StreamOptions { receiver_timeout: timeout, status_interval, .. } = *self.wanted.options;
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
        } else if self.reported.elapsed() >= status_interval {
            self.report(false)?;
        }
        silence = self.heard.elapsed();
        let patience = if self.asked { timeout } else { timeout / 2 };
        let until_report = status_interval.saturating_sub(self.reported.elapsed());
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

    fn message(&mut self, message: ServerMessage) -> Result<Option<TimelineEnd>, Error> {
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
                Err(server_error::explain(server_error::read(body.fields()), self.wanted.question()))
            }
            // The server has sent all it has, and shuts down.
            ServerMessage::Other(Message::CommandComplete(_)) => Err(Error::Closed { doing: STREAMING }),
            ServerMessage::Other(message) if is_aside(&message) => Ok(None),
            other => Err(self.connection.wire.unexpected(&other)),
        }
    }

    fn wal(&mut self, start: Lsn, server_end: Lsn, wal: &Bytes) -> Result<(), Error> {
        let expected = if self.compared < self.wanted.start { self.compared } else { self.position };
        if start != expected {
            return Err(Error::Discontinuous { expected, got: start });
        }
        self.server_end = server_end;
        let wal = self.compare(wal)?;
        if wal.is_empty() {
            return Ok(());
        }
        self.sink.write(self.position, wal).map_err(Error::Sink)?;
        let len = wal.len() as u64;
        // The parser has made sure that the sum exists.
        self.position = Lsn(self.position.0 + len);
        self.unflushed += len;
        Ok(())
    }

    /// Compares what lies before the start; what is left is new.
    fn compare<'w>(&mut self, wal: &'w [u8]) -> Result<&'w [u8], Error> {
        let left = self.wanted.start.bytes_since(self.compared);
        if left == 0 {
            return Ok(wal);
        }
        let (known, new) = wal.split_at(wal.len().min(usize::try_from(left).unwrap_or(usize::MAX)));
        if let Some(at) = self.sink.compare(self.compared, known).map_err(Error::Sink)? {
            return Err(Error::WalDiffers { at });
        }
        self.compared = Lsn(self.compared.0 + known.len() as u64);
        if self.compared == self.wanted.start {
            self.tell_streaming();
        }
        Ok(new)
    }

    /// Flushes the sink and answers with the positions that the server may hear.
    fn flush(&mut self) -> Result<Positions, Error> {
        let said = self.sink.flush().map_err(Error::Sink)?;
        self.begun = false;
        Ok(self.flushed(said))
    }

    /// The same, but what was written last need not be durable yet.
    fn begin_flush(&mut self) -> Result<Positions, Error> {
        let said = self.sink.begin_flush().map_err(Error::Sink)?;
        self.begun = true;
        Ok(self.flushed(said))
    }

    fn flushed(&mut self, said: Positions) -> Positions {
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
        positions
    }

    fn report(&mut self, reply: bool) -> Result<(), Error> {
        let positions = self.flush()?;
        self.send_positions(positions, reply)
    }

    fn send_positions(&mut self, positions: Positions, reply: bool) -> Result<(), Error> {
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
    fn timeline_end(&mut self) -> Result<TimelineEnd, Error> {
        let asked = self.wanted.question();
        let rows =
            self.connection.rows_until(COMMAND, asked, |message| matches!(message, Message::ReadyForQuery(_)))?;
        let Some(row) = rows.first() else {
            // A server that ends the stream of its present timeline goes away.
            return Err(Error::Closed { doing: STREAMING });
        };
        let switch = read_switch(self.wanted.timelines.last(), row)?;
        self.flush()?;
        self.check_switch(switch)?;
        let history = self.connection.timeline_history(switch.next_timeline)?;
        let timelines = Timelines::parse(switch.next_timeline, &history.content)?;
        let end = timelines.end_of(switch.timeline);
        if end != Some(switch.switch_lsn) || !self.wanted.timelines.is_continued_by(&timelines) {
            let reason = format!("{switch:?} contradicts the history of the next timeline, where it ends at {end:?}");
            return Err(ProtocolError::Result { command: COMMAND, reason }.into());
        }
        Ok(TimelineEnd { switch, history, timelines })
    }

    /// Up to the switch everything has come, and nothing that counts came from behind it. A standby sends what it has of a record that is not whole
    /// yet, and when it is promoted, its new timeline begins before that.
    fn check_switch(&self, switch: TimelineSwitch) -> Result<(), Error> {
        let (parting, held) = (switch.switch_lsn, self.sink.start_lsn());
        if parting < held {
            let (expected, server) = (switch.timeline, switch.next_timeline);
            return Err(Error::TimelineDiverged { expected, server, parting, start: held });
        }
        let came = if self.compared < self.wanted.start { self.compared } else { self.position };
        if parting > came {
            let reason = format!("the timeline ends at {parting}, but its WAL came up to {came} only");
            return Err(ProtocolError::Result { command: COMMAND, reason }.into());
        }
        Ok(())
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

/// Whether a multiple of `every` lies among the last `len` bytes before a position, or at it.
fn passes_multiple(position: Lsn, len: u64, every: u64) -> bool {
    let every = every.max(1);
    position.0 / every != (position.0 - len) / every
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
    fn a_flush_is_due_at_multiples_however_long_the_messages_are() {
        let due = |position, len| passes_multiple(Lsn(position), len, 1000);
        assert!(!due(2999, 999) && !due(2000, 0) && !due(2500, 500));
        assert!(due(3000, 1) && due(3000, 1000) && due(3001, 2) && due(9000, 5000));
        assert!(passes_multiple(Lsn(5), 1, 0));
    }
}
