//! What a client says in an exchange.
//!
//! ```text
//! client-first:  gs2-flag "," ["a=" authzid] "," ["m=" …] "n=" name ",r=" nonce ["," extensions]
//! client-final:  "c=" base64(gs2-header binding-data) ",r=" nonce ["," extensions] ",p=" base64(proof)
//! ```

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Key;

/// The one kind of channel binding that PostgreSQL has.
const BINDING: &str = "tls-server-end-point";

/// Why a message is none of SCRAM's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MessageError {
    /// It is not text.
    #[error("a SCRAM message is not UTF-8")]
    NotUtf8,
    /// It is built otherwise.
    #[error("a SCRAM message is malformed: {0}")]
    Malformed(&'static str),
    /// It asks for what RFC 5802 lets a server refuse.
    #[error("a SCRAM message asks for what is not supported here: {0}")]
    Unsupported(&'static str),
}

use MessageError::{Malformed, Unsupported};

/// What a client says about channel binding.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClientBinding {
    /// It knows none.
    No,
    /// It knows one, and believes that the server does not.
    NotOffered,
    /// It binds to the server's certificate.
    ServerEndPoint,
}

/// A client's first message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClientFirst<'a> {
    /// What it says about channel binding.
    pub binding: ClientBinding,
    /// Its beginning, which the last message repeats.
    pub gs2_header: &'a str,
    /// The rest, which the proof covers.
    pub bare: &'a str,
    /// The client's part of the nonce.
    pub nonce: &'a str,
}

impl<'a> ClientFirst<'a> {
    /// Reads the first message.
    ///
    /// # Errors
    /// If it is malformed, or asks for more than PostgreSQL's SCRAM has. The name in it is not looked at: the startup packet has named the user.
    pub fn parse(bytes: &'a [u8]) -> Result<ClientFirst<'a>, MessageError> {
        let text = std::str::from_utf8(bytes).map_err(|_| MessageError::NotUtf8)?;
        let (flag, rest) = text.split_once(',').ok_or(Malformed("it has no channel binding flag"))?;
        let binding = match flag {
            "n" => ClientBinding::No,
            "y" => ClientBinding::NotOffered,
            _ => match flag.strip_prefix("p=") {
                Some(BINDING) => ClientBinding::ServerEndPoint,
                Some(_) => return Err(Unsupported("channel binding other than tls-server-end-point")),
                None => return Err(Malformed("its channel binding flag is none of n, y and p=")),
            },
        };
        let (authorization, bare) = rest.split_once(',').ok_or(Malformed("it ends early"))?;
        match authorization {
            "" => {}
            id if id.starts_with("a=") => return Err(Unsupported("an authorization identity")),
            _ => return Err(Malformed("its authorization identity has no a=")),
        }
        if bare.starts_with("m=") {
            return Err(Unsupported("a mandatory extension"));
        }
        let (name, rest) = bare.split_once(',').ok_or(Malformed("it has no nonce"))?;
        name.strip_prefix("n=").ok_or(Malformed("it has no name"))?;
        let (nonce, extensions) = rest.split_once(',').unwrap_or((rest, ""));
        let nonce = printable(nonce.strip_prefix("r=").ok_or(Malformed("it has no nonce"))?)?;
        if nonce.is_empty() {
            return Err(Malformed("its nonce is empty"));
        }
        check_extensions(extensions)?;
        Ok(ClientFirst { binding, gs2_header: &text[..text.len() - bare.len()], bare, nonce })
    }
}

/// A client's last message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClientFinal<'a> {
    /// What of it the proof covers: all but the proof.
    pub without_proof: &'a str,
    /// The header of the first message, and the binding data.
    pub binding: Vec<u8>,
    /// Both sides' nonce.
    pub nonce: &'a str,
    /// What only one who knows the password can say.
    pub proof: Key,
}

impl<'a> ClientFinal<'a> {
    /// Reads the last message.
    ///
    /// # Errors
    /// If it is malformed.
    pub fn parse(bytes: &'a [u8]) -> Result<ClientFinal<'a>, MessageError> {
        let text = std::str::from_utf8(bytes).map_err(|_| MessageError::NotUtf8)?;
        let (without_proof, proof) = text.rsplit_once(",p=").ok_or(Malformed("it has no proof"))?;
        let (binding, rest) = without_proof.split_once(',').ok_or(Malformed("it has no nonce"))?;
        let binding = binding.strip_prefix("c=").ok_or(Malformed("it has no channel binding"))?;
        let (nonce, extensions) = rest.split_once(',').unwrap_or((rest, ""));
        let nonce = printable(nonce.strip_prefix("r=").ok_or(Malformed("it has no nonce"))?)?;
        check_extensions(extensions)?;
        let proof = STANDARD.decode(proof).ok().and_then(|proof| proof.try_into().ok());
        Ok(ClientFinal {
            without_proof,
            binding: STANDARD.decode(binding).map_err(|_| Malformed("its channel binding is not base64"))?,
            nonce,
            proof: proof.ok_or(Malformed("its proof is not 32 bytes in base64"))?,
        })
    }
}

/// A nonce: printable ASCII.
fn printable(nonce: &str) -> Result<&str, MessageError> {
    if nonce.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(nonce)
    } else {
        Err(Malformed("its nonce is not printable"))
    }
}

/// Optional extensions are passed over, if they look like some.
fn check_extensions(extensions: &str) -> Result<(), MessageError> {
    let is_attribute = |text: &str| matches!(text.as_bytes(), [name, b'=', ..] if name.is_ascii_alphabetic());
    if extensions.is_empty() || extensions.split(',').all(is_attribute) {
        Ok(())
    } else {
        Err(Malformed("what follows its nonce are no attributes"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_7677_is_understood() {
        let first = ClientFirst::parse(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO").expect("understood");
        assert_eq!((first.binding, first.gs2_header, first.nonce), (ClientBinding::No, "n,,", "rOprNGfwEbeRWgbNEkqO"));
        assert_eq!(first.bare, "n=user,r=rOprNGfwEbeRWgbNEkqO");
        let bytes = b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        let last = ClientFinal::parse(bytes).expect("understood");
        assert_eq!((&last.binding[..], last.nonce.len()), (&b"n,,"[..], 50));
        assert_eq!(last.without_proof.as_bytes(), &bytes[..bytes.len() - 47]);
    }

    #[test]
    fn extensions_are_passed_over() {
        let first = ClientFirst::parse(b"p=tls-server-end-point,,n=,r=abc,x=1,y=").expect("understood");
        assert_eq!((first.binding, first.nonce), (ClientBinding::ServerEndPoint, "abc"));
        assert_eq!(first.bare, "n=,r=abc,x=1,y=");
    }

    #[test]
    fn what_is_no_first_message_is_refused() {
        for text in [
            "",
            "n",
            "n,",
            "n,,",
            "x,,n=,r=a",
            "n,b,n=,r=a",
            "n,a=root,n=,r=a",
            "n,,m=1,n=,r=a",
            "n,,n=,r=",
            "n,,n=,r=\u{e4}",
            "n,,n=,r=a,b",
            "n,,r=a",
            "n,,n=,x=a",
            "p=tls-unique,,n=,r=a",
            "p=,,n=,r=a",
            "n,,n=,r=a b",
        ] {
            assert!(ClientFirst::parse(text.as_bytes()).is_err(), "{text:?}");
        }
        assert_eq!(ClientFirst::parse(b"n,,n=\xff,r=a"), Err(MessageError::NotUtf8));
    }

    #[test]
    fn what_is_no_last_message_is_refused() {
        let proof = "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        assert!(ClientFinal::parse(format!("c=biws,r=a,{proof}").as_bytes()).is_ok());
        for text in [
            String::new(),
            proof.to_owned(),
            format!("c=biws,{proof}"),
            format!("c=b,r=a,{proof}"),
            format!("r=a,c=biws,{proof}"),
            format!("c=biws,r=a,b,{proof}"),
            format!("c=biws,r=a,{proof},x=1"),
            "c=biws,r=a,p=AAAA".to_owned(),
        ] {
            assert!(ClientFinal::parse(text.as_bytes()).is_err(), "{text:?}");
        }
    }
}
