//! Index tuples (`IndexTupleData`) as B-trees use them: `t_tid` (6 bytes), `t_info`, key; perhaps a posting list of more TIDs behind
//! the key, and then `t_tid` holds how many and where (`access/nbtree.h`).

use crate::native::cursor::Cursor;
use crate::native::fault::Fault;
use crate::native::index_tuple::INDEX_TUPLE_HEADER as HEADER;
use crate::native::page::max_align;

/// Bytes of an `ItemPointerData`.
pub(super) const TID: usize = 6;
const INFO: usize = 6;

/// `INDEX_SIZE_MASK`, of `t_info`.
const SIZE_MASK: u16 = 0x1FFF;
/// `INDEX_ALT_TID_MASK`: `t_tid` is no heap TID.
const ALT_TID: u16 = 0x2000;
/// `BT_OFFSET_MASK`, of the offset number in `t_tid`.
const OFFSET_MASK: u16 = 0x0FFF;
/// `BT_IS_POSTING`
const IS_POSTING: u16 = 0x2000;
/// `BTMaxItemSize`: a third of a page.
pub(super) const MAX_ITEM: usize = 2704;

/// A tuple's bytes, no more than its size says.
pub(super) fn tuple(bytes: &[u8]) -> Result<&[u8], Fault> {
    Cursor::new("an index tuple", bytes).index_tuple()
}

/// `BTreeTupleIsPosting`.
pub(super) fn is_posting(tuple: &[u8]) -> Result<bool, Fault> {
    Ok(info(tuple)? & ALT_TID != 0 && u16_at(tuple, 4)? & IS_POSTING != 0)
}

/// The block number in `t_tid` (`BTreeTupleGetDownLink`, and where a posting list starts).
pub(super) fn block(tuple: &[u8]) -> Result<u32, Fault> {
    Ok(u32::from(u16_at(tuple, 0)?) << 16 | u32::from(u16_at(tuple, 2)?))
}

/// `BTreeTupleSetDownLink`.
pub(super) fn set_block(tuple: &mut [u8], block: u32) -> Result<(), Fault> {
    let field = tuple.first_chunk_mut::<4>().ok_or(Fault::PageValue { what: "index tuple's size", value: 0 })?;
    let [a, b] = ((block >> 16) as u16).to_le_bytes();
    let [c, d] = (block as u16).to_le_bytes();
    *field = [a, b, c, d];
    Ok(())
}

/// The high key of a half-dead page, which has no key but a link to the top of the branch (`BTreeTupleSetTopParent`).
pub(super) fn top_parent(block: u32) -> [u8; HEADER] {
    let mut tuple = [0; HEADER];
    set_block(&mut tuple, block).expect("a tuple has a t_tid");
    tuple[INFO..].copy_from_slice(&(HEADER as u16 | ALT_TID).to_le_bytes());
    tuple
}

/// Where the TIDs of a tuple are: its posting list's, or its own one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tids {
    pub from: usize,
    pub count: usize,
}

impl Tids {
    pub(super) fn of(tuple: &[u8]) -> Result<Tids, Fault> {
        if !is_posting(tuple)? {
            return Ok(Tids { from: 0, count: 1 });
        }
        Tids::of_posting(tuple)
    }

    /// Of a tuple that must have a posting list.
    pub(super) fn of_posting(tuple: &[u8]) -> Result<Tids, Fault> {
        let wrong = |value: u64| Fault::PageValue { what: "posting list's offset", value };
        if !is_posting(tuple)? {
            return Err(Fault::PageValue { what: "t_tid of a posting list tuple", value: block(tuple)?.into() });
        }
        let from = block(tuple)? as usize;
        let count = usize::from(u16_at(tuple, 4)? & OFFSET_MASK);
        // The offset is at most 2^32, the count less than 2^12: no overflow.
        match from >= HEADER && from + count * TID <= tuple.len() {
            true => Ok(Tids { from, count }),
            false => Err(wrong(from as u64)),
        }
    }

    pub(super) fn bytes<'t>(&self, tuple: &'t [u8]) -> &'t [u8] {
        &tuple[self.from..self.from + self.count * TID]
    }

    pub(super) fn last(&self, tuple: &[u8]) -> Result<[u8; TID], Fault> {
        self.bytes(tuple).last_chunk().copied().ok_or(Fault::PageValue { what: "number of TIDs", value: 0 })
    }

    /// Bytes of the tuple without its posting list.
    pub(super) fn key_size(&self, tuple: &[u8]) -> usize {
        if self.from == 0 { tuple.len() } else { self.from }
    }
}

/// `_bt_swap_posting`: puts a new TID at its place in a posting list, where those behind it move one further; the last one of them falls
/// out, and is the new tuple's from then on.
pub(super) fn swap_posting(tuple: &mut [u8], position: usize, new: [u8; TID]) -> Result<[u8; TID], Fault> {
    let tids = Tids::of_posting(tuple)?;
    if position == 0 || position >= tids.count {
        return Err(Fault::Value { what: "place in the posting list", value: position as u64 });
    }
    let last = tids.last(tuple)?;
    let (at, end) = (tids.from + position * TID, tids.from + tids.count * TID);
    tuple.copy_within(at..end - TID, at + TID);
    tuple[at..at + TID].copy_from_slice(&new);
    Ok(last)
}

/// Bytes of a tuple with this key and so many TIDs.
pub(super) fn size_with(key_size: usize, count: usize) -> usize {
    if count > 1 { max_align(key_size + count * TID) } else { key_size }
}

/// Turns a tuple's key, copied to the start of `tuple`, into a whole tuple of `tuple.len()` bytes with these TIDs (`_bt_form_posting`).
pub(super) fn finish(
    tuple: &mut [u8],
    key_size: usize,
    count: usize,
    tids: impl Iterator<Item = [u8; TID]>,
) -> Result<(), Fault> {
    let size = tuple.len();
    let base_info = info(tuple)? & !SIZE_MASK;
    if count == 0 || count > usize::from(OFFSET_MASK) || size > usize::from(SIZE_MASK) || key_size < HEADER {
        return Err(Fault::Value { what: "number of TIDs", value: count as u64 });
    }
    let (at, info) = if count > 1 {
        tuple[key_size..].fill(0);
        set_block(tuple, key_size as u32)?;
        tuple[4..6].copy_from_slice(&(count as u16 | IS_POSTING).to_le_bytes());
        (key_size, base_info | ALT_TID)
    } else {
        (0, base_info & !ALT_TID)
    };
    tuple[INFO..HEADER].copy_from_slice(&(info | size as u16).to_le_bytes());
    let places = tuple[at..].as_chunks_mut::<TID>().0;
    for (place, tid) in places.iter_mut().zip(tids).take(count) {
        *place = tid;
    }
    Ok(())
}

/// TIDs one after the other.
pub(super) fn tids(bytes: &[u8]) -> impl Iterator<Item = [u8; TID]> {
    bytes.as_chunks().0.iter().copied()
}

fn info(tuple: &[u8]) -> Result<u16, Fault> {
    u16_at(tuple, INFO)
}

fn u16_at(tuple: &[u8], at: usize) -> Result<u16, Fault> {
    match tuple.get(at..at + 2) {
        Some(bytes) => Ok(u16::from_le_bytes([bytes[0], bytes[1]])),
        None => Err(Fault::PageValue { what: "index tuple's size", value: tuple.len() as u64 }),
    }
}
