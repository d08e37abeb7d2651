//! Whatever a server sends, framing takes no more bytes than there are, and never none; and an answer that is understood, but for
//! long error texts, is written as the same bytes.
//! Run in `page_service`: `cargo +nightly fuzz run response`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use page_service::messages::{BackendMessage, write_answer};
use page_service::{Answer, Response, Version};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(Some((_, size))) = BackendMessage::parse(bytes) {
        assert!((1..=bytes.len()).contains(&size));
    }
    match Response::parse(Version::V3, bytes) {
        Ok(Response { answer: Answer::Error(text), .. }) if text.len() > 4096 => {}
        Ok(Response { header: Some(header), operation, answer }) => {
            let mut written = Vec::new();
            write_answer(&mut written, Version::V3, &header, operation.as_ref(), &answer);
            assert_eq!(&written[5..], bytes);
        }
        Ok(other) => panic!("an answer without a header was understood: {other:?}"),
        Err(_) => {}
    }
    let _ = Response::parse(Version::V2, bytes);
});
