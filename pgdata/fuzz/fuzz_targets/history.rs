//! Any bytes as a timeline's history file: refused, or the same when it is written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u32, &[u8])| pgdata::check_any_history(input.0, input.1));
