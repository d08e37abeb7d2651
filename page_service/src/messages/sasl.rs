//! What a client says while it proves who it is.

use super::frame::{Fields, FrameError, first_frame};
use super::frontend_message::PASSWORD;

/// The longest message of an exchange, in bytes, without its length field; PostgreSQL has the same bound. A proof takes about 150.
pub const MAX_SASL: usize = 1024;

/// The first message: the client's choice of a mechanism, and what it begins with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SaslInitial<'a> {
    /// The mechanism's name.
    pub mechanism: &'a str,
    /// The mechanism's first message.
    pub data: &'a [u8],
}

impl<'a> SaslInitial<'a> {
    /// The SASLInitialResponse at the start of `bytes` and how many bytes it takes, or `None` if more are needed.
    ///
    /// # Errors
    /// If it is another message or none, or too long, or has no data: every client of PostgreSQL sends some.
    pub fn parse(bytes: &'a [u8]) -> Result<Option<(SaslInitial<'a>, usize)>, FrameError> {
        const WHAT: &str = "SASLInitialResponse";
        let Some(frame) = first_frame(bytes, |tag| (tag == PASSWORD).then_some((WHAT, MAX_SASL)))? else {
            return Ok(None);
        };
        let mut fields = Fields::new(WHAT, frame.body);
        let mechanism = fields.cstr()?;
        let count = fields.i32()?;
        let count = usize::try_from(count).map_err(|_| fields.wrong("number of bytes", count))?;
        let data = fields.bytes(count)?;
        fields.end()?;
        Ok(Some((SaslInitial { mechanism, data }, frame.size)))
    }
}

/// The data of the SASLResponse at the start of `bytes` and how many bytes it takes, or `None` if more are needed.
///
/// # Errors
/// If it is another message or none, or too long.
pub fn parse_sasl_response(bytes: &[u8]) -> Result<Option<(&[u8], usize)>, FrameError> {
    let frame = first_frame(bytes, |tag| (tag == PASSWORD).then_some(("SASLResponse", MAX_SASL)))?;
    Ok(frame.map(|frame| (frame.body, frame.size)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::frontend;

    #[test]
    fn the_messages_are_read_back() {
        let mut bytes = Vec::new();
        frontend::sasl_initial(&mut bytes, "SCRAM-SHA-256", b"n,,n=,r=a");
        for cut in 0..bytes.len() {
            assert_eq!(SaslInitial::parse(&bytes[..cut]), Ok(None), "{cut} bytes");
        }
        let expected = SaslInitial { mechanism: "SCRAM-SHA-256", data: b"n,,n=,r=a" };
        assert_eq!(SaslInitial::parse(&bytes), Ok(Some((expected, 32))));
        let mut bytes = Vec::new();
        frontend::sasl_response(&mut bytes, b"c=biws");
        assert_eq!(parse_sasl_response(&bytes), Ok(Some((&b"c=biws"[..], 11))));
        assert_eq!(parse_sasl_response(&bytes[..10]), Ok(None));
    }

    #[test]
    fn what_is_none_of_them_is_refused() {
        for bytes in [
            &b"Q\0\0\0\x04"[..],
            b"p\0\0\x04\x05",
            b"p\xff\xff\xff\xff",
            b"p\0\0\0\x04",
            b"p\0\0\0\x0aS\0\xff\xff\xff\xff",
            b"p\0\0\0\x0aS\0\0\0\0\x01",
            b"p\0\0\0\x0bS\0\0\0\0\0x",
        ] {
            assert!(SaslInitial::parse(bytes).is_err(), "{bytes:?}");
        }
        assert!(parse_sasl_response(b"p\0\0\x04\x05").is_err());
    }
}
