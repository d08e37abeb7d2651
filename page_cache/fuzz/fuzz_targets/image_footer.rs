//! A footer of a file of images that is accepted means the same when it is written again.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = page_cache::fuzzing::image_footer_round_trips(bytes);
});
