//! Bytes to messages of the server, without sockets: framing, and what travels inside CopyData while WAL is streamed or a base backup is sent.
//!
//! Format: PostgreSQL documentation, chapters "Message Formats" and "Streaming Replication Protocol"; integers are big-endian.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use pgdata::Lsn;
use postgres_protocol::message::backend::Message;

/// Bytes of a message's tag and length.
const HEADER_LEN: usize = 5;
/// The longest message that is accepted, without its tag. The server's longest are WAL (128 KiB and a header), pieces of
/// archives (tens of KiB) and timeline histories (some KiB); error texts stay far below.
pub const MAX_MESSAGE_LEN: usize = 1 << 20;
/// The tag of CopyBothResponse, which `postgres-protocol` does not know.
const COPY_BOTH_TAG: u8 = b'W';
/// Bytes of an XLogData message before the WAL.
const XLOG_DATA_HEADER_LEN: usize = 25;
/// Bytes of a keepalive of the server.
const KEEPALIVE_LEN: usize = 18;

/// What is wrong with the bytes of a server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// A length outside of what is accepted.
    #[error("message {tag:?} has length {len}, expected 4 to {}", MAX_MESSAGE_LEN)]
    Length {
        /// The message's tag.
        tag: char,
        /// Its length field.
        len: u32,
    },
    /// A message whose inside is malformed.
    #[error("message {tag:?} is malformed: {reason}")]
    Malformed {
        /// The message's tag.
        tag: char,
        /// What is wrong.
        reason: String,
    },
    /// A message that has no place at this point.
    #[error("unexpected {got} while {doing}")]
    Unexpected {
        /// What was going on.
        doing: &'static str,
        /// The message.
        got: String,
    },
    /// A message within CopyData that is not known.
    #[error("unknown type {kind:?} of CopyData while {doing}")]
    UnknownCopyData {
        /// What was going on.
        doing: &'static str,
        /// Its first byte.
        kind: char,
    },
    /// A message within CopyData of a wrong length or with wrong content.
    #[error("CopyData {kind:?} is malformed: {reason}")]
    MalformedCopyData {
        /// Its first byte.
        kind: char,
        /// What is wrong.
        reason: String,
    },
    /// A result without the row or value that it must have, or with one that is not what it must be.
    #[error("answer to {command}: {reason}")]
    Result {
        /// What was asked.
        command: &'static str,
        /// What is wrong.
        reason: String,
    },
}

/// A message of the server.
pub enum ServerMessage {
    /// CopyBothResponse: streaming begins.
    CopyBoth,
    /// Any other one.
    Other(Message),
}

impl ServerMessage {
    /// The message's name, for errors.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            ServerMessage::CopyBoth => "CopyBothResponse",
            ServerMessage::Other(message) => message_name(message),
        }
    }
}

fn message_name(message: &Message) -> &'static str {
    match message {
        Message::AuthenticationOk => "AuthenticationOk",
        Message::BackendKeyData(_) => "BackendKeyData",
        Message::CommandComplete(_) => "CommandComplete",
        Message::CopyData(_) => "CopyData",
        Message::CopyDone => "CopyDone",
        Message::CopyInResponse(_) => "CopyInResponse",
        Message::CopyOutResponse(_) => "CopyOutResponse",
        Message::DataRow(_) => "DataRow",
        Message::EmptyQueryResponse => "EmptyQueryResponse",
        Message::ErrorResponse(_) => "ErrorResponse",
        Message::NoticeResponse(_) => "NoticeResponse",
        Message::ParameterStatus(_) => "ParameterStatus",
        Message::ReadyForQuery(_) => "ReadyForQuery",
        Message::RowDescription(_) => "RowDescription",
        _ => "another message",
    }
}

/// Takes the first whole message off `buf`; `None` if more bytes are needed, for which room is then reserved.
///
/// # Errors
/// A length out of bounds, and whatever makes the message malformed. The buffer is of no use afterwards.
pub fn next_message(buf: &mut BytesMut) -> Result<Option<ServerMessage>, ProtocolError> {
    let Some((&[tag, l0, l1, l2, l3], _)) = buf.split_first_chunk::<HEADER_LEN>() else {
        return Ok(None);
    };
    let len = u32::from_be_bytes([l0, l1, l2, l3]);
    let tag_char = char::from(tag);
    if !(4..=MAX_MESSAGE_LEN as u32).contains(&len) {
        return Err(ProtocolError::Length { tag: tag_char, len });
    }
    let total = 1 + len as usize;
    if buf.len() < total {
        buf.reserve(total - buf.len());
        return Ok(None);
    }
    let malformed = |reason: String| ProtocolError::Malformed { tag: tag_char, reason };
    if tag == COPY_BOTH_TAG {
        let body = buf.split_to(total).split_off(HEADER_LEN);
        // A format, then the number of columns and a format for each.
        let columns = body.get(1..3).map(|c| usize::from(u16::from_be_bytes([c[0], c[1]])));
        return match columns {
            Some(columns) if body.len() == 3 + 2 * columns => Ok(Some(ServerMessage::CopyBoth)),
            _ => Err(malformed(format!("{} bytes do not fit its columns", body.len()))),
        };
    }
    match Message::parse(buf) {
        Ok(Some(message)) => Ok(Some(ServerMessage::Other(message))),
        Ok(None) => Err(malformed("its inside is longer than itself".to_owned())),
        Err(error) => Err(malformed(error.to_string())),
    }
}

/// What the server sends inside CopyData while WAL is streamed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplicationMessage {
    /// WAL.
    XLogData {
        /// The position of its first byte.
        start: Lsn,
        /// The end of the server's WAL when it was sent.
        server_end: Lsn,
        /// The bytes.
        wal: Bytes,
    },
    /// A sign of life.
    Keepalive {
        /// The end of the server's WAL when it was sent.
        server_end: Lsn,
        /// Whether the server wants to hear our positions now.
        reply_requested: bool,
    },
}

/// Reads the content of one CopyData of a stream.
///
/// # Errors
/// An unknown type or a wrong length.
pub fn parse_replication_message(mut body: Bytes) -> Result<ReplicationMessage, ProtocolError> {
    let doing = "streaming WAL";
    let wrong_length =
        |kind: char, len: usize| ProtocolError::MalformedCopyData { kind, reason: format!("it has {len} bytes") };
    match body.first() {
        Some(b'w') => {
            if body.len() < XLOG_DATA_HEADER_LEN {
                return Err(wrong_length('w', body.len()));
            }
            body.advance(1);
            let start = Lsn(body.get_u64());
            let server_end = Lsn(body.get_u64());
            let _sent_at = body.get_i64();
            if start.checked_add(body.len() as u64).is_none() {
                let reason = format!("{} bytes at {start} pass the last position", body.len());
                return Err(ProtocolError::MalformedCopyData { kind: 'w', reason });
            }
            Ok(ReplicationMessage::XLogData { start, server_end, wal: body })
        }
        Some(b'k') => {
            if body.len() != KEEPALIVE_LEN {
                return Err(wrong_length('k', body.len()));
            }
            body.advance(1);
            let server_end = Lsn(body.get_u64());
            let _sent_at = body.get_i64();
            Ok(ReplicationMessage::Keepalive { server_end, reply_requested: body.get_u8() != 0 })
        }
        Some(&kind) => Err(ProtocolError::UnknownCopyData { doing, kind: char::from(kind) }),
        None => Err(ProtocolError::Unexpected { doing, got: "an empty CopyData".to_owned() }),
    }
}

/// Appends a standby status update (`r`) within its CopyData. `now` counts microseconds since 2000-01-01.
pub fn write_status_update(written: Lsn, flushed: Lsn, applied: Lsn, now: i64, reply: bool, out: &mut BytesMut) {
    const BODY_LEN: u32 = 34;
    out.put_u8(b'd');
    out.put_u32(4 + BODY_LEN);
    out.put_u8(b'r');
    out.put_u64(written.0);
    out.put_u64(flushed.0);
    out.put_u64(applied.0);
    out.put_i64(now);
    out.put_u8(u8::from(reply));
}

/// What the server sends inside CopyData while a base backup is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BackupMessage {
    /// A new archive begins.
    Archive {
        /// Its file name: `base.tar` or `OID.tar`.
        name: String,
    },
    /// More bytes of the archive or the manifest.
    Data(Bytes),
    /// Bytes of archives sent so far.
    Progress,
    /// The manifest begins.
    Manifest,
}

/// Reads the content of one CopyData of a base backup.
///
/// # Errors
/// An unknown type or a wrong length.
pub fn parse_backup_message(mut body: Bytes) -> Result<BackupMessage, ProtocolError> {
    let doing = "receiving a base backup";
    let malformed = |kind: char, reason: &str| ProtocolError::MalformedCopyData { kind, reason: reason.to_owned() };
    if body.is_empty() {
        return Err(ProtocolError::Unexpected { doing, got: "an empty CopyData".to_owned() });
    }
    let kind = body.get_u8();
    match kind {
        b'd' => Ok(BackupMessage::Data(body)),
        b'n' => {
            let mut strings = body.split(|&b| b == 0);
            // Two strings, each with a NUL at its end: the last piece is what follows the second NUL.
            let (Some(name), Some(_location), Some(b""), None) =
                (strings.next(), strings.next(), strings.next(), strings.next())
            else {
                return Err(malformed('n', "it is not two strings"));
            };
            let name = std::str::from_utf8(name).map_err(|_| malformed('n', "its name is not UTF-8"))?;
            Ok(BackupMessage::Archive { name: name.to_owned() })
        }
        b'p' if body.len() == 8 => Ok(BackupMessage::Progress),
        b'p' => Err(malformed('p', "it does not have 9 bytes")),
        b'm' if body.is_empty() => Ok(BackupMessage::Manifest),
        b'm' => Err(malformed('m', "it is longer than its type")),
        _ => Err(ProtocolError::UnknownCopyData { doing, kind: char::from(kind) }),
    }
}

/// Takes any bytes apart as all that a server could send: for fuzzing.
///
/// # Panics
/// If a message is taken that the bytes do not hold.
#[doc(hidden)]
pub fn check_any_bytes(bytes: &[u8]) {
    let mut buf = BytesMut::from(bytes);
    loop {
        let before = buf.len();
        match next_message(&mut buf) {
            Ok(Some(message)) => {
                assert!(buf.len() + HEADER_LEN <= before, "a message of no bytes");
                if let ServerMessage::Other(Message::CopyData(body)) = message {
                    let _ = parse_backup_message(body.into_bytes());
                }
            }
            Ok(None) => {
                assert_eq!(buf.len(), before);
                assert!(buf.capacity() <= before + 2 * MAX_MESSAGE_LEN, "room for {} bytes", buf.capacity());
                break;
            }
            Err(_) => break,
        }
    }
    let body = Bytes::copy_from_slice(bytes);
    let _ = parse_backup_message(body.clone());
    if let Ok(ReplicationMessage::XLogData { wal, .. }) = parse_replication_message(body) {
        assert_eq!(wal.len() + XLOG_DATA_HEADER_LEN, bytes.len());
    }
}

#[cfg(test)]
mod tests;
