//! A page for human eyes.

use std::fmt::Write;

/// Lines of sixteen bytes, as `hexdump -C` prints them: repeated lines are a single `*`.
pub fn page(bytes: &[u8]) -> String {
    let mut text = String::new();
    let mut previous: Option<&[u8]> = None;
    let mut repeated = false;
    for (number, line) in bytes.chunks(16).enumerate() {
        if previous == Some(line) {
            if !repeated {
                text.push_str("*\n");
            }
            repeated = true;
            continue;
        }
        (previous, repeated) = (Some(line), false);
        let _ = write!(text, "{:08x} ", number * 16);
        for byte in line {
            let _ = write!(text, " {byte:02x}");
        }
        let printable = |&byte: &u8| if (b' '..=b'~').contains(&byte) { char::from(byte) } else { '.' };
        let _ = writeln!(text, "  |{}|", line.iter().map(printable).collect::<String>());
    }
    let _ = writeln!(text, "{:08x}", bytes.len());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_lines_are_left_out() {
        let mut bytes = vec![0; 64];
        bytes[48] = b'x';
        let zeros = "00 ".repeat(16);
        let expected = format!(
            "00000000  {}  |................|\n*\n00000030  78{}  |x...............|\n00000040\n",
            zeros.trim_end(),
            " 00".repeat(15)
        );
        assert_eq!(page(&bytes), expected);
    }
}
