//! Any bytes as a pglz stream: refused, or the same as what a decompressor that copies byte by byte makes of it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wal_decoder::invariants;

fuzz_target!(|input: &[u8]| invariants::pglz_agrees_with_a_plain_model(input));
