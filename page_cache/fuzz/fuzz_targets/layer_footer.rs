//! A layer footer that is accepted gives the same bytes when it is written again.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = page_cache::fuzzing::layer_footer_round_trips(bytes);
});
