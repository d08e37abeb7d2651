//! Messages to a redo process. Pure: bytes only. The other side is `postgres/protocol.c`.
//!
//! A message is a type byte, a length (big-endian `u32` that counts itself and the body) and the body.

use pgdata::{Lsn, Page, RelTag};

/// The longest record that a process takes, in bytes (`WALREDO_MAX_RECORD`).
pub(super) const MAX_RECORD: usize = 16 * 1024 * 1024;

/// Bytes of a page tag.
const TAG_SIZE: usize = 17;

/// Writes one message, with the length that its body turns out to have.
fn message(out: &mut Vec<u8>, kind: u8, body: impl FnOnce(&mut Vec<u8>)) {
    out.push(kind);
    let length_at = out.len();
    out.extend_from_slice(&[0; 4]);
    body(out);
    // Bodies are bounded far below 4 GiB: the longest holds a record of at most MAX_RECORD bytes.
    let length = (out.len() - length_at) as u32;
    out[length_at..length_at + 4].copy_from_slice(&length.to_be_bytes());
}

fn tag(out: &mut Vec<u8>, rel: RelTag, block: u32) {
    let mut bytes = [0; TAG_SIZE];
    bytes[0] = rel.fork.number();
    for (at, value) in [(1, rel.spc), (5, rel.db), (9, rel.rel), (13, block)] {
        bytes[at..at + 4].copy_from_slice(&value.to_be_bytes());
    }
    out.extend_from_slice(&bytes);
}

/// Begins a page.
pub(super) fn begin(out: &mut Vec<u8>, rel: RelTag, block: u32) {
    message(out, b'B', |out| tag(out, rel, block));
}

/// Gives the page that the records start from.
pub(super) fn push_page(out: &mut Vec<u8>, rel: RelTag, block: u32, page: &Page) {
    message(out, b'P', |out| {
        tag(out, rel, block);
        out.extend_from_slice(page);
    });
}

/// Applies a record.
pub(super) fn apply(out: &mut Vec<u8>, end: Lsn, record: &[u8]) {
    message(out, b'A', |out| {
        out.extend_from_slice(&end.0.to_be_bytes());
        out.extend_from_slice(record);
    });
}

/// Asks for the page: answered by [`pgdata::PAGE_SIZE`] bytes.
pub(super) fn get_page(out: &mut Vec<u8>, rel: RelTag, block: u32) {
    message(out, b'G', |out| tag(out, rel, block));
}

/// Asks for a sign of life: answered by [`pgdata::PAGE_SIZE`] bytes of zero.
pub(super) fn ping(out: &mut Vec<u8>) {
    message(out, b'H', |_| {});
}

/// Asks for two pages as a resource manager's `rm_mask` makes them: answered by twice [`pgdata::PAGE_SIZE`] bytes.
pub(super) fn mask(out: &mut Vec<u8>, rmid: u8, block: u32, pages: [&Page; 2]) {
    message(out, b'M', |out| {
        out.push(rmid);
        out.extend_from_slice(&block.to_be_bytes());
        for page in pages {
            out.extend_from_slice(page);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use pgdata::{Fork, PAGE_SIZE};
    use proptest::prelude::*;

    const REL: RelTag = RelTag { spc: 0x0102_0304, db: 0x0506_0708, rel: 0x090A_0B0C, fork: Fork::Vm };
    const TAG: [u8; TAG_SIZE] = [2, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0xA0, 0xA1, 0xA2, 0xA3];
    const BLOCK: u32 = 0xA0A1_A2A3;

    /// Splits one message off: kind and body.
    fn split(bytes: &[u8]) -> (u8, &[u8], &[u8]) {
        let length = u32::from_be_bytes(bytes[1..5].try_into().unwrap()) as usize;
        (bytes[0], &bytes[5..1 + length], &bytes[1 + length..])
    }

    fn encoded(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out);
        out
    }

    #[test]
    fn a_tag_is_fork_and_four_big_endian_numbers() {
        let bytes = encoded(|out| begin(out, REL, BLOCK));
        assert_eq!(bytes[..5], [b'B', 0, 0, 0, 21]);
        assert_eq!(bytes[5..], TAG);
        assert_eq!(encoded(|out| get_page(out, REL, BLOCK))[..5], [b'G', 0, 0, 0, 21]);
    }

    #[test]
    fn the_length_counts_itself_and_not_the_type() {
        assert_eq!(encoded(ping), [b'H', 0, 0, 0, 4]);
        assert_eq!(encoded(|out| apply(out, Lsn(0x11), &[7]))[1..5], 13u32.to_be_bytes());
    }

    #[test]
    fn a_pushed_page_follows_its_tag() {
        let page = std::array::from_fn(|at| at as u8);
        let bytes = encoded(|out| push_page(out, REL, BLOCK, &page));
        let (kind, body, rest) = split(&bytes);
        assert_eq!((kind, &body[..TAG_SIZE], &body[TAG_SIZE..], rest.len()), (b'P', &TAG[..], &page[..], 0));
    }

    #[test]
    fn a_mask_message_holds_manager_block_and_both_pages() {
        let bytes = encoded(|out| mask(out, 10, BLOCK, [&[1; PAGE_SIZE], &[2; PAGE_SIZE]]));
        let (kind, body, _) = split(&bytes);
        assert_eq!((kind, &body[..5]), (b'M', &[10, 0xA0, 0xA1, 0xA2, 0xA3][..]));
        assert_eq!((body[5], body[5 + PAGE_SIZE], body.len()), (1, 2, 5 + 2 * PAGE_SIZE));
    }

    proptest! {
        #[test]
        fn messages_split_where_they_were_joined(
            records in prop::collection::vec((any::<u64>(), prop::collection::vec(any::<u8>(), 0..300)), 0..20),
        ) {
            let mut bytes = encoded(|out| begin(out, REL, BLOCK));
            for (lsn, record) in &records {
                apply(&mut bytes, Lsn(*lsn), record);
            }
            let (kind, _, mut rest) = split(&bytes);
            prop_assert_eq!(kind, b'B');
            for (lsn, record) in &records {
                let (kind, body, after) = split(rest);
                prop_assert_eq!((kind, &body[..8], &body[8..]), (b'A', &lsn.to_be_bytes()[..], &record[..]));
                rest = after;
            }
            prop_assert!(rest.is_empty());
        }
    }
}
