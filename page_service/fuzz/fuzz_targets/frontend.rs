//! Whatever a client sends, framing takes no more bytes than there are, and never none.
//! Run in `page_service`: `cargo +nightly fuzz run frontend`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use page_service::messages::{FrontendMessage, Startup};

fuzz_target!(|bytes: &[u8]| {
    let sizes = [
        FrontendMessage::parse(bytes).ok().flatten().map(|(_, size)| size),
        Startup::parse(bytes).ok().flatten().map(|(_, size)| size),
    ];
    assert!(sizes.into_iter().flatten().all(|size| (1..=bytes.len()).contains(&size)));
});
