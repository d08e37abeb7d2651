//! Messages from a client, after the startup.

use super::frame::{Fields, FrameError, first_frame};

/// The longest simple query, in bytes.
pub const MAX_QUERY: usize = 1 << 20;
/// The longest CopyData message from a client, in bytes: every request of a page stream is much shorter.
pub const MAX_COPY_REQUEST: usize = 1 << 10;
/// The longest message of every other kind. They are skipped.
const MAX_OTHER: usize = 1 << 16;

pub(super) const COPY_DATA: u8 = b'd';
const COPY_DONE: u8 = b'c';
const COPY_FAIL: u8 = b'f';
const FLUSH: u8 = b'H';
const FUNCTION_CALL: u8 = b'F';
pub(super) const PASSWORD: u8 = b'p';
pub(super) const QUERY: u8 = b'Q';
const SYNC: u8 = b'S';
pub(super) const TERMINATE: u8 = b'X';

/// A message from a client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FrontendMessage<'a> {
    /// A simple query.
    Query(&'a str),
    /// A piece of a copy: in a page stream, a request.
    CopyData(&'a [u8]),
    /// The copy is over.
    CopyDone,
    /// The copy is given up, for this reason.
    CopyFail(&'a str),
    /// Parse, Bind, Describe, Execute or Close: the extended query protocol.
    Extended,
    /// The end of a group of extended messages.
    Sync,
    /// Send what you have.
    Flush,
    /// Call of a function by its oid.
    FunctionCall,
    /// An answer to a demand for authentication.
    Password,
    /// The client leaves.
    Terminate,
}

impl<'a> FrontendMessage<'a> {
    /// The message at the start of `bytes` and how many bytes it takes, or `None` if more are needed.
    ///
    /// # Errors
    /// If it is not a message, or one that is too long.
    pub fn parse(bytes: &'a [u8]) -> Result<Option<(FrontendMessage<'a>, usize)>, FrameError> {
        Self::parse_within(bytes, MAX_QUERY)
    }

    /// The same with a bound for every kind of message, in bytes: the smaller of this one and the kind's own counts.
    ///
    /// # Errors
    /// If it is not a message, or one that is too long.
    pub fn parse_within(bytes: &'a [u8], most: usize) -> Result<Option<(FrontendMessage<'a>, usize)>, FrameError> {
        let rule = |tag| name_and_limit(tag).map(|(name, limit)| (name, limit.min(most)));
        let Some(frame) = first_frame(bytes, rule)? else { return Ok(None) };
        let name = name_and_limit(frame.tag).map_or("message", |(name, _)| name);
        let mut fields = Fields::new(name, frame.body);
        let message = match frame.tag {
            QUERY => FrontendMessage::Query(fields.cstr()?),
            COPY_DATA => FrontendMessage::CopyData(fields.remainder()),
            COPY_DONE => FrontendMessage::CopyDone,
            COPY_FAIL => FrontendMessage::CopyFail(fields.cstr()?),
            SYNC => FrontendMessage::Sync,
            FLUSH => FrontendMessage::Flush,
            TERMINATE => FrontendMessage::Terminate,
            skipped => {
                fields.remainder();
                match skipped {
                    FUNCTION_CALL => FrontendMessage::FunctionCall,
                    PASSWORD => FrontendMessage::Password,
                    _ => FrontendMessage::Extended,
                }
            }
        };
        fields.end()?;
        Ok(Some((message, frame.size)))
    }
}

/// The name of the message with this tag, and how many bytes it may have.
const fn name_and_limit(tag: u8) -> Option<(&'static str, usize)> {
    Some(match tag {
        QUERY => ("Query", MAX_QUERY),
        COPY_DATA => ("CopyData", MAX_COPY_REQUEST),
        COPY_DONE => ("CopyDone", 0),
        COPY_FAIL => ("CopyFail", MAX_OTHER),
        SYNC => ("Sync", 0),
        FLUSH => ("Flush", 0),
        TERMINATE => ("Terminate", 0),
        FUNCTION_CALL => ("FunctionCall", MAX_OTHER),
        PASSWORD => ("PasswordMessage", MAX_OTHER),
        b'P' => ("Parse", MAX_QUERY),
        b'B' => ("Bind", MAX_QUERY),
        b'C' => ("Close", MAX_OTHER),
        b'D' => ("Describe", MAX_OTHER),
        b'E' => ("Execute", MAX_OTHER),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::frontend;

    #[test]
    fn a_query_is_read_back() {
        let mut bytes = Vec::new();
        frontend::query(&mut bytes, "status");
        assert_eq!(bytes, b"Q\0\0\0\x0bstatus\0");
        for cut in 0..bytes.len() {
            assert_eq!(FrontendMessage::parse(&bytes[..cut]), Ok(None), "{cut} bytes");
        }
        frontend::terminate(&mut bytes);
        assert_eq!(FrontendMessage::parse(&bytes), Ok(Some((FrontendMessage::Query("status"), 12))));
        assert_eq!(FrontendMessage::parse(&bytes[12..]), Ok(Some((FrontendMessage::Terminate, 5))));
    }

    #[test]
    fn messages_that_are_not_served_are_still_framed() {
        for (bytes, message) in [
            (&b"P\0\0\0\x08\0\0\0\0"[..], FrontendMessage::Extended),
            (b"S\0\0\0\x04", FrontendMessage::Sync),
            (b"H\0\0\0\x04", FrontendMessage::Flush),
            (b"F\0\0\0\x05x", FrontendMessage::FunctionCall),
            (b"p\0\0\0\x05\0", FrontendMessage::Password),
            (b"c\0\0\0\x04", FrontendMessage::CopyDone),
            (b"f\0\0\0\x06x\0", FrontendMessage::CopyFail("x")),
            (b"d\0\0\0\x06xy", FrontendMessage::CopyData(b"xy")),
        ] {
            assert_eq!(FrontendMessage::parse(bytes), Ok(Some((message, bytes.len()))));
        }
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for bytes in [
            &b"\x16\x03\x01"[..],
            b"Q\0\0\0\x03",
            b"Q\0\0\0\x05x",
            b"Q\0\0\0\x07x\0y",
            b"Q\0\0\0\x06\xff\0",
            b"Q\0\x10\0\x05",
            b"d\0\0\x04\x05",
            b"X\0\0\0\x05",
            b"Q\xff\xff\xff\xff",
        ] {
            assert!(FrontendMessage::parse(bytes).is_err(), "{bytes:?}");
        }
    }
}
