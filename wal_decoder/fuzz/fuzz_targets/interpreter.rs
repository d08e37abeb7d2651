//! Any records: they are refused without leaving changes, or the interpreter's state is its changes folded.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wal_decoder::interpreter_state_is_its_changes;

fuzz_target!(|input: &[u8]| interpreter_state_is_its_changes(input));
