//! A manifest that is accepted, with the checksum put right, means the same when it is written and read again.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = page_cache::fuzzing::manifest_round_trips(bytes);
});
