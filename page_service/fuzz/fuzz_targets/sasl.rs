//! Whatever a client says instead of proving who it is: framing takes no more bytes than there are, and what is understood are parts of
//! what came. A verifier that is understood is read back from what is written of it.
//! Run in `page_service`: `cargo +nightly fuzz run sasl`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use page_service::messages::{SaslInitial, parse_sasl_response};
use page_service::scram::{ClientFinal, ClientFirst, Verifier};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(Some((initial, size))) = SaslInitial::parse(bytes) {
        assert!(size <= bytes.len() && initial.mechanism.len() + initial.data.len() < size);
    }
    if let Ok(Some((data, size))) = parse_sasl_response(bytes) {
        assert!(size <= bytes.len() && data.len() + 5 == size);
    }
    if let Ok(first) = ClientFirst::parse(bytes) {
        assert_eq!([first.gs2_header.as_bytes(), first.bare.as_bytes()].concat(), bytes);
        assert!(!first.nonce.is_empty() && first.bare.contains(first.nonce));
    }
    if let Ok(last) = ClientFinal::parse(bytes) {
        assert!(bytes.starts_with(last.without_proof.as_bytes()));
        assert!(last.without_proof.contains(last.nonce));
    }
    if let Some(verifier) = std::str::from_utf8(bytes).ok().and_then(|text| text.parse::<Verifier>().ok()) {
        assert_eq!(verifier.to_string().parse(), Ok(verifier));
    }
});
