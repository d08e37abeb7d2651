//! Any bytes as a record: it is refused, or its parts are its bytes, and its images make pages or are refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wal_decoder::invariants;

fuzz_target!(|input: &[u8]| invariants::record_parts_are_its_bytes(input));
