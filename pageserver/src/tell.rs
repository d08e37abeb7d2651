//! What the commands say beside their output.

use std::fmt::Display;
use std::io::Write;

/// Writes a line to standard error. If nobody reads that any more, the command goes on: it is not what the command is for.
pub fn tell(text: impl Display) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
