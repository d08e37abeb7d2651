//! The exchange: two messages from the client, two answers.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::message::{ClientBinding, ClientFinal, ClientFirst, MessageError};
use super::{Key, Users, Verifier, hmac};

/// The mechanism without channel binding.
pub(crate) const MECHANISM: &str = "SCRAM-SHA-256";
/// The mechanism with channel binding.
pub(crate) const MECHANISM_PLUS: &str = "SCRAM-SHA-256-PLUS";

/// Bytes of the server's part of the nonce, before base64. PostgreSQL has as many.
const NONCE: usize = 18;

/// Why a client has not proved who it is.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ScramError {
    /// A message is not one of the exchange.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// The client asks for a mechanism that was not offered.
    #[error("the client chose a SASL mechanism that was not offered")]
    Mechanism,
    /// What the client says about channel binding contradicts what it does.
    #[error("channel binding: {0}")]
    Binding(&'static str),
    /// The client repeats another nonce than it was given.
    #[error("the client answers another exchange: its nonce is not the one of this")]
    Nonce,
    /// The password is wrong, or the user unknown.
    #[error("the password is wrong, or there is no such user")]
    Password,
}

/// An exchange whose first half is over.
pub(crate) struct Exchange {
    verifier: Verifier,
    is_known: bool,
    /// What the client has to repeat: its header, and the binding data if it binds.
    binding: Vec<u8>,
    nonce: String,
    /// The client's first message without its header, a comma, and the server's first message.
    said: String,
}

impl Exchange {
    /// Takes the client's first message, and answers with the server's first.
    ///
    /// `offered` is the connection's binding data: with it, both mechanisms were offered; without it, only the one without binding.
    pub fn start(
        users: &Users,
        user: &str,
        offered: Option<&[u8]>,
        mechanism: &str,
        first: &[u8],
    ) -> Result<(Exchange, String), ScramError> {
        let mut random = [0; NONCE];
        getrandom::fill(&mut random).expect("the operating system gives random bytes");
        Self::start_with(users, user, offered, mechanism, first, &STANDARD.encode(random))
    }

    fn start_with(
        users: &Users,
        user: &str,
        offered: Option<&[u8]>,
        mechanism: &str,
        first: &[u8],
        nonce: &str,
    ) -> Result<(Exchange, String), ScramError> {
        let data = match (mechanism, offered) {
            (MECHANISM, _) => None,
            (MECHANISM_PLUS, Some(data)) => Some(data),
            _ => return Err(ScramError::Mechanism),
        };
        let first = ClientFirst::parse(first)?;
        check_binding(first.binding, data.is_some(), offered.is_some())?;
        let (verifier, is_known) = users.verifier(user);
        let nonce = format!("{}{nonce}", first.nonce);
        let answer = format!("r={nonce},s={},i={}", STANDARD.encode(&verifier.salt), verifier.iterations);
        let binding = [first.gs2_header.as_bytes(), data.unwrap_or_default()].concat();
        let said = format!("{},{answer}", first.bare);
        Ok((Exchange { verifier, is_known, binding, nonce, said }, answer))
    }

    /// Takes the client's last message, and answers with the proof that the server knows the password too.
    pub fn finish(self, last: &[u8]) -> Result<String, ScramError> {
        let last = ClientFinal::parse(last)?;
        if last.binding != self.binding {
            return Err(ScramError::Binding("the client is bound to another connection"));
        }
        if last.nonce != self.nonce {
            return Err(ScramError::Nonce);
        }
        let said = [self.said.as_bytes(), b",", last.without_proof.as_bytes()];
        let signature = hmac(&self.verifier.stored_key, &said);
        let mut client_key: Key = last.proof;
        client_key.iter_mut().zip(signature).for_each(|(byte, other)| *byte ^= other);
        let fits = Sha256::digest(client_key).ct_eq(&self.verifier.stored_key[..]);
        if !bool::from(fits) || !self.is_known {
            return Err(ScramError::Password);
        }
        Ok(format!("v={}", STANDARD.encode(hmac(&self.verifier.server_key, &said))))
    }
}

fn check_binding(client: ClientBinding, plus: bool, offered: bool) -> Result<(), ScramError> {
    let error = match (client, plus) {
        (ClientBinding::ServerEndPoint, true) | (ClientBinding::No, false) => return Ok(()),
        (ClientBinding::NotOffered, false) if !offered => return Ok(()),
        // Somebody in between has taken the offer away.
        (ClientBinding::NotOffered, false) => "the client believes that it was not offered, but it was",
        (ClientBinding::ServerEndPoint, false) => "the client binds, but chose the mechanism without",
        (ClientBinding::No | ClientBinding::NotOffered, true) => {
            "the client chose the mechanism with it and does not bind"
        }
    };
    Err(ScramError::Binding(error))
}

#[cfg(test)]
mod tests {
    use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};

    use super::*;

    const DATA: &[u8] = b"the hash of a certificate";

    fn users() -> Users {
        Users::new([("ali".to_owned(), Verifier::of_password("open sesame"))], &[7; 32])
    }

    /// An exchange with the library's client.
    fn run(
        user: &str,
        password: &str,
        binding: ChannelBinding,
        mechanism: &str,
        offered: bool,
    ) -> Result<(), ScramError> {
        let mut client = ScramSha256::new(password.as_bytes(), binding);
        let offered = offered.then_some(DATA);
        let (exchange, answer) = Exchange::start(&users(), user, offered, mechanism, client.message())?;
        client.update(answer.as_bytes()).expect("the client goes on");
        let proof = exchange.finish(client.message())?;
        client.finish(proof.as_bytes()).expect("the client believes the server");
        Ok(())
    }

    #[test]
    fn the_example_of_rfc_7677_succeeds() {
        // The keys of the example: user "user", password "pencil", and this salt.
        let keys = "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";
        let verifier = format!("SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==${keys}").parse().expect("a verifier");
        let users = Users::new([("user".to_owned(), verifier)], &[0; 32]);
        let (exchange, answer) = Exchange::start_with(
            &users,
            "user",
            None,
            MECHANISM,
            b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
            "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
        )
        .expect("begun");
        assert_eq!(answer, "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096");
        let last = b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        assert_eq!(exchange.finish(last).as_deref(), Ok("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="));
    }

    #[test]
    fn the_right_password_is_let_in() {
        assert_eq!(run("ali", "open sesame", ChannelBinding::unsupported(), MECHANISM, false), Ok(()));
        assert_eq!(run("ali", "open sesame", ChannelBinding::unsupported(), MECHANISM, true), Ok(()));
        assert_eq!(run("ali", "open sesame", ChannelBinding::unrequested(), MECHANISM, false), Ok(()));
        let bound = ChannelBinding::tls_server_end_point(DATA.to_vec());
        assert_eq!(run("ali", "open sesame", bound, MECHANISM_PLUS, true), Ok(()));
    }

    #[test]
    fn wrong_passwords_and_unknown_users_are_refused_alike() {
        for (user, password) in [("ali", "open barley"), ("baba", "open sesame"), ("", "")] {
            let refused = run(user, password, ChannelBinding::unsupported(), MECHANISM, false);
            assert_eq!(refused, Err(ScramError::Password), "{user}");
        }
    }

    #[test]
    fn channel_binding_cannot_be_stripped_or_faked() {
        let refused = |binding, mechanism, offered| {
            matches!(run("ali", "open sesame", binding, mechanism, offered), Err(ScramError::Binding(_)))
        };
        assert!(refused(ChannelBinding::unrequested(), MECHANISM, true));
        assert!(refused(ChannelBinding::unsupported(), MECHANISM_PLUS, true));
        assert!(refused(ChannelBinding::tls_server_end_point(DATA.to_vec()), MECHANISM, true));
        assert!(refused(ChannelBinding::tls_server_end_point(b"another".to_vec()), MECHANISM_PLUS, true));
        for (mechanism, offered) in [(MECHANISM_PLUS, false), ("SCRAM-SHA-1", true), ("", true)] {
            let refused = run("ali", "open sesame", ChannelBinding::unsupported(), mechanism, offered);
            assert_eq!(refused, Err(ScramError::Mechanism));
        }
    }

    #[test]
    fn an_answer_to_another_exchange_is_refused() {
        let mut client = ScramSha256::new(b"open sesame", ChannelBinding::unsupported());
        let start = |first: &[u8]| Exchange::start(&users(), "ali", None, MECHANISM, first).expect("begun");
        let (_, answer) = start(client.message());
        let (other, _) = start(client.message());
        client.update(answer.as_bytes()).expect("the client goes on");
        assert_eq!(other.finish(client.message()), Err(ScramError::Nonce));
    }
}
