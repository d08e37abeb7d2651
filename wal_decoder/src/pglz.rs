//! PostgreSQL's own compression, the default of `wal_compression` (the format is described in `common/pg_lzcompress.c`).
//!
//! The input is a row of groups: a control byte and up to eight items, one for each of its bits from the lowest on. A zero bit
//! is a literal byte. A one bit is a copy of earlier output, in two bytes or three:
//!
//! ```text
//! byte 0: high 4 bits = bits 8..11 of the distance, low 4 bits = length - 3
//! byte 1: bits 0..7 of the distance
//! byte 2: only if the low bits of byte 0 are all ones: what to add to a length of 18
//! ```

/// Why some bytes are not a pglz stream of the expected size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PglzError {
    /// The input ends inside a copy's tag.
    #[error("pglz: the input ends inside a tag at byte {at}")]
    Truncated {
        /// Where in the input the tag starts.
        at: usize,
    },
    /// A copy from before the output's start, or from nowhere.
    #[error("pglz: the tag at byte {at} copies from {distance} bytes back, but {output} bytes are there")]
    Distance {
        /// Where in the input the tag starts.
        at: usize,
        /// How far it reaches back.
        distance: usize,
        /// How many bytes of output there were.
        output: usize,
    },
    /// The input made fewer bytes than expected.
    #[error("pglz: the input ends after {got} bytes of output, expected {expected}")]
    Short {
        /// Bytes of output.
        got: usize,
        /// Bytes expected.
        expected: usize,
    },
    /// The output is complete and there is input left.
    #[error("pglz: {left} bytes are left over")]
    Leftover {
        /// How many.
        left: usize,
    },
}

/// Decompresses `input`, which must fill `output` exactly (`pglz_decompress` with `check_complete`). A last copy that would
/// reach past the end of the output is cut short, as PostgreSQL does.
///
/// # Errors
/// [`PglzError`]; `output` then has no meaningful content.
pub fn pglz_decompress(input: &[u8], output: &mut [u8]) -> Result<(), PglzError> {
    let (mut at, mut filled) = (0, 0);
    while at < input.len() && filled < output.len() {
        let mut control = input[at];
        at += 1;
        for _ in 0..8 {
            if at == input.len() || filled == output.len() {
                break;
            }
            if control & 1 == 0 {
                output[filled] = input[at];
                (at, filled) = (at + 1, filled + 1);
            } else {
                let tag = Tag::read(input, at)?;
                if tag.distance == 0 || tag.distance > filled {
                    return Err(PglzError::Distance { at, distance: tag.distance, output: filled });
                }
                at += tag.size;
                filled += copy_back(output, filled, tag);
            }
            control >>= 1;
        }
    }
    if filled < output.len() {
        return Err(PglzError::Short { got: filled, expected: output.len() });
    }
    if at < input.len() {
        return Err(PglzError::Leftover { left: input.len() - at });
    }
    Ok(())
}

/// A copy of earlier output.
#[derive(Clone, Copy)]
struct Tag {
    /// Bytes of input that the tag takes.
    size: usize,
    /// How far back to copy from.
    distance: usize,
    /// How many bytes.
    length: usize,
}

impl Tag {
    fn read(input: &[u8], at: usize) -> Result<Tag, PglzError> {
        let byte = |index: usize| input.get(at + index).map(|&b| usize::from(b)).ok_or(PglzError::Truncated { at });
        let (first, second) = (byte(0)?, byte(1)?);
        let distance = (first & 0xF0) << 4 | second;
        match (first & 0x0F) + 3 {
            18 => Ok(Tag { size: 3, distance, length: 18 + byte(2)? }),
            length => Ok(Tag { size: 2, distance, length }),
        }
    }
}

/// Copies what a tag says to `filled`, and tells how many bytes that were. The distance has been checked.
fn copy_back(output: &mut [u8], filled: usize, tag: Tag) -> usize {
    let length = tag.length.min(output.len() - filled);
    let from = filled - tag.distance;
    let mut done = 0;
    // A copy longer than its distance repeats what it has just made: each round doubles what can be copied at once.
    while done < length {
        let chunk = (length - done).min(tag.distance + done);
        output.copy_within(from..from + chunk, filled + done);
        done += chunk;
    }
    length
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decompress(input: &[u8], size: usize) -> Result<Vec<u8>, PglzError> {
        let mut output = vec![0xEE; size];
        pglz_decompress(input, &mut output).map(|()| output)
    }

    #[test]
    fn literals_are_copied() {
        assert_eq!(decompress(b"\0abc", 3).unwrap(), b"abc");
        assert_eq!(decompress(b"\0abcdefgh\0i", 9).unwrap(), b"abcdefghi");
        assert_eq!(decompress(b"", 0).unwrap(), b"");
    }

    #[test]
    fn copies_may_overlap_themselves() {
        // 5 literals, then 16 bytes from 4 back: the example of pg_lzcompress.c.
        assert_eq!(decompress(b"\x2011234\x0D\x04", 21).unwrap(), b"112341234123412341234");
        // A run of one byte: length 18 + 2 from one back.
        assert_eq!(decompress(b"\x02a\x0F\x01\x02", 21).unwrap(), [b'a'; 21]);
    }

    #[test]
    fn a_distance_has_twelve_bits() {
        let mut input = Vec::new();
        for chunk in (0..=255u8).cycle().take(0x123).collect::<Vec<_>>().chunks(8) {
            input.push(if chunk.len() == 3 { 0b1000 } else { 0 });
            input.extend_from_slice(chunk);
        }
        input.extend_from_slice(&[0x10, 0x23]);
        assert_eq!(decompress(&input, 0x126).unwrap()[0x123..], [0, 1, 2]);
    }

    #[test]
    fn the_last_copy_is_cut_at_the_end() {
        assert_eq!(decompress(b"\x02a\x0F\x01\xFF", 4).unwrap(), b"aaaa");
    }

    #[test]
    fn damage_is_told() {
        assert_eq!(decompress(b"\x02a\x01", 4), Err(PglzError::Truncated { at: 2 }));
        assert_eq!(decompress(b"\x02a\x0F\x01", 40), Err(PglzError::Truncated { at: 2 }));
        assert_eq!(decompress(b"\x02a\x00\x02", 4), Err(PglzError::Distance { at: 2, distance: 2, output: 1 }));
        assert_eq!(decompress(b"\x02a\x00\x00", 4), Err(PglzError::Distance { at: 2, distance: 0, output: 1 }));
        assert_eq!(decompress(b"\0abc", 4), Err(PglzError::Short { got: 3, expected: 4 }));
        assert_eq!(decompress(b"\0abcd", 3), Err(PglzError::Leftover { left: 1 }));
    }
}
