//! Any bytes in any pieces: the stream ends in an error or asks for more, its positions only grow, its records are whole, and how
//! the bytes are cut changes nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wal_decoder::invariants;

fuzz_target!(|input: &[u8]| invariants::stream_does_not_depend_on_pieces(input));
