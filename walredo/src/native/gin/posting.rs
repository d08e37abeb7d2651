//! Posting lists (`access/gin/ginpostinglist.c`): heap tuples in rising order, the first as it is, each of the others as the difference to the
//! one before it in bytes of seven bits, the low ones first, with the eighth bit set on all but the last.
//!
//! ```text
//! first: block 4, number 2 │ count of bytes 2 │ differences … │ a zero if the count is odd
//! ```

use crate::native::cursor::Cursor;
use crate::native::fault::Fault;

/// Bytes of `ItemPointerData`.
pub(super) const TID: usize = 6;
/// `offsetof(GinPostingList, bytes)`.
pub(super) const LIST_HEADER: usize = TID + 2;
/// `MaxHeapTuplesPerPageBits`.
const OFFSET_BITS: u32 = 11;
/// A block number and a tuple number.
const TID_BITS: u32 = 32 + OFFSET_BITS;
/// `MaxBytesPerInteger`.
const MAX_BYTES: usize = 7;

/// A heap tuple's place as one number: the block, then eleven bits of the tuple's number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Tid(u64);

impl Tid {
    /// Reads `ItemPointerData`. Tuple 0, and numbers that do not fit into eleven bits, are in no posting list.
    pub(super) fn read(bytes: &[u8; TID]) -> Result<Tid, Fault> {
        let [b2, b3, b0, b1, o0, o1] = *bytes;
        let (block, offset) = (u32::from_le_bytes([b0, b1, b2, b3]), u16::from_le_bytes([o0, o1]));
        Tid::new(u64::from(block) << OFFSET_BITS | u64::from(offset))
            .filter(|_| offset >> OFFSET_BITS == 0)
            .ok_or(Fault::PostingTuple(offset))
    }

    fn new(value: u64) -> Option<Tid> {
        (value >> TID_BITS == 0 && value & ((1 << OFFSET_BITS) - 1) != 0).then_some(Tid(value))
    }

    fn bytes(self) -> [u8; TID] {
        let [b0, b1, b2, b3] = ((self.0 >> OFFSET_BITS) as u32).to_le_bytes();
        let [o0, o1] = (self.0 as u16 & ((1 << OFFSET_BITS) - 1)).to_le_bytes();
        [b2, b3, b0, b1, o0, o1]
    }
}

/// One compressed list (`GinPostingList`), padding included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct PostingList<'a>(&'a [u8]);

impl<'a> PostingList<'a> {
    /// The list that the bytes begin with, and what follows it.
    pub(super) fn split_from(bytes: &'a [u8]) -> Option<(PostingList<'a>, &'a [u8])> {
        let (list, rest) = bytes.split_at_checked(size(bytes.first_chunk()?))?;
        Some((PostingList(list), rest))
    }

    /// The list that comes next in a record.
    pub(super) fn read(record: &mut Cursor<'a>) -> Result<PostingList<'a>, Fault> {
        let size = size(&record.ahead()?);
        record.bytes(size).map(PostingList)
    }

    pub(super) fn bytes(self) -> &'a [u8] {
        self.0
    }

    /// `ginPostingListDecode`.
    pub(super) fn tids(self) -> impl Iterator<Item = Result<Tid, Fault>> + 'a {
        let (header, differences) = self.0.split_first_chunk::<LIST_HEADER>().expect("lists have a header");
        let first = Tid::read(header.first_chunk().expect("it begins with a place"));
        let mut rest = &differences[..difference_bytes(header).min(differences.len())];
        let mut last = first.clone().ok();
        std::iter::once(first).chain(std::iter::from_fn(move || {
            let before = last?;
            if rest.is_empty() {
                return None;
            }
            last = read_difference(&mut rest).filter(|&by| by != 0).and_then(|by| Tid::new(before.0.checked_add(by)?));
            Some(last.ok_or(Fault::PostingList))
        }))
    }
}

fn difference_bytes(header: &[u8; LIST_HEADER]) -> usize {
    usize::from(u16::from_le_bytes([header[TID], header[TID + 1]]))
}

/// `SizeOfGinPostingList`.
fn size(header: &[u8; LIST_HEADER]) -> usize {
    LIST_HEADER + difference_bytes(header).next_multiple_of(2)
}

/// `decode_varbyte`: `None` where the bytes end inside a number or it is longer than any.
fn read_difference(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for index in 0..MAX_BYTES {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// `ginCompressPostingList`: packs all of `tids` into a list at the beginning of `room`, and answers with its size.
pub(super) fn pack(mut tids: impl Iterator<Item = Result<Tid, Fault>>, room: &mut [u8]) -> Result<usize, Fault> {
    let full = Fault::PostingRoom { room: room.len() };
    let Some((header, differences)) = room.split_first_chunk_mut::<LIST_HEADER>() else { return Err(full) };
    let mut last = tids.next().ok_or(Fault::PostingList)??;
    header[..TID].copy_from_slice(&last.bytes());
    let mut at = 0;
    for tid in tids {
        let tid = tid?;
        let by = tid.0.checked_sub(last.0).filter(|&by| by != 0).ok_or(Fault::PostingOrder)?;
        let Some(length) = write_difference(by, &mut differences[at..]) else { return Err(full) };
        at += length;
        last = tid;
    }
    header[TID..].copy_from_slice(&(at as u16).to_le_bytes());
    if !at.is_multiple_of(2) {
        *differences.get_mut(at).ok_or(full)? = 0;
    }
    Ok(LIST_HEADER + at.next_multiple_of(2))
}

/// `encode_varbyte`: how many bytes it took, or `None` if there are not so many.
fn write_difference(mut value: u64, bytes: &mut [u8]) -> Option<usize> {
    for (index, byte) in bytes.iter_mut().enumerate() {
        let low = value as u8 & 0x7F;
        value >>= 7;
        if value == 0 {
            *byte = low;
            return Some(index + 1);
        }
        *byte = low | 0x80;
    }
    None
}

/// `ginMergeItemPointers`: both in one rising order, and what is in both once.
pub(super) fn merge(
    left: impl Iterator<Item = Result<Tid, Fault>>,
    right: impl Iterator<Item = Result<Tid, Fault>>,
) -> impl Iterator<Item = Result<Tid, Fault>> {
    let (mut left, mut right) = (left.peekable(), right.peekable());
    std::iter::from_fn(move || match (left.peek(), right.peek()) {
        (Some(Ok(l)), Some(Ok(r))) if l == r => {
            right.next();
            left.next()
        }
        (Some(Ok(l)), Some(Ok(r))) if l > r => right.next(),
        (None, _) | (Some(Ok(_)), Some(Err(_))) => right.next(),
        _ => left.next(),
    })
}
