//! Archives of any bytes are read the same in one piece and byte by byte, and files have their announced sizes.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| walreceiver::tar::check_any_bytes(bytes));
