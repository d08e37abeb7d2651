//! Messages of any bytes are taken apart without a panic, and never out of what is not there.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| walreceiver::protocol::check_any_bytes(bytes));
