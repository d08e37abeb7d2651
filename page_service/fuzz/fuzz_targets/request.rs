//! A request that is understood is written as the same bytes.
//! Run in `page_service`: `cargo +nightly fuzz run request`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use page_service::{Request, Version};

fuzz_target!(|bytes: &[u8]| {
    for version in Version::ALL {
        if let Ok(request) = Request::parse(version, bytes) {
            let mut written = Vec::new();
            request.write(&mut written, version);
            assert_eq!(&written[5..], bytes);
        }
    }
});
