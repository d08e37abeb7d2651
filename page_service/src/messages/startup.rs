//! What a client says first, before messages have tags.

use super::frame::{Counts, Fields, FrameError, announced_length, infallible, put_cstr, with_length};

/// The longest startup packet (`MAX_STARTUP_PACKET_LENGTH` in `libpq/pqcomm.h`), without its length field.
pub const MAX_STARTUP: usize = 10_000;

/// Protocol version 3.0, and the codes that stand in the place of a version (`libpq/pqcomm.h`).
const PROTOCOL_3: u32 = 3 << 16;
const CANCEL: u32 = 80_877_102;
const SSL: u32 = 80_877_103;
const GSS_ENCRYPTION: u32 = 80_877_104;

const WHAT: &str = "startup packet";

/// A first packet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Startup {
    /// SSLRequest: may we encrypt with TLS?
    Ssl,
    /// GSSENCRequest: may we encrypt with GSSAPI?
    GssEncryption,
    /// CancelRequest: stop what another connection is doing.
    Cancel,
    /// StartupMessage of protocol version 3.
    Start(StartupParameters),
    /// StartupMessage of a major version other than 3.
    OtherVersion {
        /// Major number.
        major: u16,
        /// Minor number.
        minor: u16,
    },
}

/// What a StartupMessage says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StartupParameters {
    /// The minor version of the protocol that the client would like.
    pub minor: u16,
    /// Names and values in the order sent: `user`, `database`, `application_name`, options.
    pub parameters: Vec<(String, String)>,
}

impl StartupParameters {
    /// The value of a parameter.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Names of protocol options (`_pq_.…`), none of which is known here.
    pub fn protocol_options(&self) -> impl Iterator<Item = &str> {
        self.parameters.iter().map(|(key, _)| key.as_str()).filter(|key| key.starts_with("_pq_."))
    }
}

impl Startup {
    /// The startup packet at the start of `bytes` and how many bytes it takes, or `None` if more are needed.
    ///
    /// # Errors
    /// If it is not a startup packet.
    pub fn parse(bytes: &[u8]) -> Result<Option<(Startup, usize)>, FrameError> {
        Self::parse_within(bytes, MAX_STARTUP)
    }

    /// The same with another bound than [`MAX_STARTUP`].
    ///
    /// # Errors
    /// If it is not a startup packet, or a longer one.
    pub fn parse_within(bytes: &[u8], most: usize) -> Result<Option<(Startup, usize)>, FrameError> {
        let Some(length) = announced_length(bytes, WHAT, 4, most)? else { return Ok(None) };
        let Some(body) = bytes.get(4..length) else { return Ok(None) };
        Self::parse_body(Fields::new(WHAT, body)).map(|startup| Some((startup, length)))
    }

    fn parse_body(mut fields: Fields<'_>) -> Result<Startup, FrameError> {
        let startup = match fields.u32()? {
            SSL => Startup::Ssl,
            GSS_ENCRYPTION => Startup::GssEncryption,
            CANCEL => {
                // Process id, then a key whose length is the client's matter since protocol 3.2.
                fields.u32()?;
                fields.remainder();
                Startup::Cancel
            }
            code if code >> 16 == 3 => Startup::Start(parse_parameters(&mut fields, (code & 0xFFFF) as u16)?),
            code => {
                fields.remainder();
                Startup::OtherVersion { major: (code >> 16) as u16, minor: (code & 0xFFFF) as u16 }
            }
        };
        fields.end()?;
        Ok(startup)
    }
}

/// Pairs of strings, closed by an empty name.
fn parse_parameters(fields: &mut Fields<'_>, minor: u16) -> Result<StartupParameters, FrameError> {
    let mut parameters = Vec::new();
    loop {
        let name = fields.cstr()?;
        if name.is_empty() {
            return Ok(StartupParameters { minor, parameters });
        }
        parameters.push((name.to_owned(), fields.cstr()?.to_owned()));
    }
}

/// Appends an SSLRequest.
pub fn write_ssl_request(out: &mut Vec<u8>) {
    infallible(with_length(out, Counts::Itself, |out| {
        out.extend_from_slice(&SSL.to_be_bytes());
        Ok(())
    }));
}

/// Appends a StartupMessage of version 3.0.
pub fn write_startup(out: &mut Vec<u8>, parameters: &[(&str, &str)]) {
    infallible(with_length(out, Counts::Itself, |out| {
        out.extend_from_slice(&PROTOCOL_3.to_be_bytes());
        for (name, value) in parameters {
            put_cstr(out, name);
            put_cstr(out, value);
        }
        out.push(0);
        Ok(())
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(body: &[u8]) -> Vec<u8> {
        let mut bytes = ((body.len() + 4) as u32).to_be_bytes().to_vec();
        bytes.extend_from_slice(body);
        bytes
    }

    #[test]
    fn a_startup_message_is_read_back() {
        let mut bytes = Vec::new();
        write_startup(&mut bytes, &[("user", "me"), ("_pq_.x", "1")]);
        assert_eq!(&bytes[..8], [0, 0, 0, 26, 0, 3, 0, 0]);
        for cut in 0..bytes.len() {
            assert_eq!(Startup::parse(&bytes[..cut]), Ok(None), "{cut} bytes");
        }
        let Ok(Some((Startup::Start(start), 26))) = Startup::parse(&bytes) else { panic!("not understood") };
        assert_eq!((start.minor, start.get("user"), start.get("database")), (0, Some("me"), None));
        assert_eq!(start.protocol_options().collect::<Vec<_>>(), ["_pq_.x"]);
    }

    #[test]
    fn the_codes_in_place_of_a_version_are_known() {
        // Bytes as libpq sends them.
        assert_eq!(Startup::parse(&[0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f]), Ok(Some((Startup::Ssl, 8))));
        assert_eq!(Startup::parse(&[0, 0, 0, 8, 4, 0xd2, 0x16, 0x30]), Ok(Some((Startup::GssEncryption, 8))));
        let cancel = packet(&[4, 0xd2, 0x16, 0x2e, 0, 0, 0, 1, 0, 0, 0, 2]);
        assert_eq!(Startup::parse(&cancel), Ok(Some((Startup::Cancel, 16))));
        let old = packet(&[0, 2, 0, 1, 9, 9]);
        assert_eq!(Startup::parse(&old), Ok(Some((Startup::OtherVersion { major: 2, minor: 1 }, 10))));
    }

    #[test]
    fn what_is_no_startup_packet_is_refused() {
        for bytes in [
            &b"GET / HTTP/1.1"[..],
            &[0x16, 3, 1, 2, 0, 1, 0, 1],
            &[0, 0, 0, 7, 0, 3, 0, 0],
            &[0, 0, 0x27, 0x15, 0, 3, 0, 0],
            &packet(&[0, 3, 0, 0]),
            &packet(b"\0\x03\0\0user\0me\0"),
            &packet(b"\0\x03\0\0user\0"),
            &packet(b"\0\x03\0\0user\0me\0\0x"),
            &packet(b"\0\x03\0\0user\0\xff\0\0"),
            &packet(&[4, 0xd2, 0x16, 0x2f, 0]),
            &packet(&[4, 0xd2, 0x16, 0x2e]),
        ] {
            assert!(Startup::parse(bytes).is_err(), "{bytes:?}");
        }
    }
}
