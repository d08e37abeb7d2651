//! The header of a heap tuple (`access/htup_details.h`).

use crate::native::fault::Fault;
use crate::native::page::PageView;

/// `SizeofHeapTupleHeader`.
pub(super) const TUPLE_HEADER: usize = 23;

const XMIN: usize = 0;
const XMAX: usize = 4;
/// `t_cid` or `t_xvac`.
const FIELD3: usize = 8;
const CTID: usize = 12;
const INFOMASK2: usize = 18;
const INFOMASK: usize = 20;
const HOFF: usize = 22;

// t_infomask
const COMBOCID: u16 = 0x0020;
const XMAX_KEYSHR_LOCK: u16 = 0x0010;
const XMAX_EXCL_LOCK: u16 = 0x0040;
const XMAX_LOCK_ONLY: u16 = 0x0080;
const XMAX_COMMITTED: u16 = 0x0400;
const XMAX_INVALID: u16 = 0x0800;
const XMAX_IS_MULTI: u16 = 0x1000;
const MOVED: u16 = 0xC000;
const LOCK_MASK: u16 = XMAX_KEYSHR_LOCK | XMAX_EXCL_LOCK;
const XMAX_BITS: u16 = XMAX_COMMITTED | XMAX_INVALID | XMAX_IS_MULTI | LOCK_MASK | XMAX_LOCK_ONLY;
// t_infomask2
const KEYS_UPDATED: u16 = 0x2000;
const HOT_UPDATED: u16 = 0x4000;

// infobits_set of a record
const INFOBIT_IS_MULTI: u8 = 0x01;
const INFOBIT_LOCK_ONLY: u8 = 0x02;
const INFOBIT_EXCL_LOCK: u8 = 0x04;
const INFOBIT_KEYSHR_LOCK: u8 = 0x08;
const INFOBIT_KEYS_UPDATED: u8 = 0x10;

/// The block and offset that say that a tuple went to another partition (`ItemPointerSetMovedPartitions`).
const MOVED_PARTITIONS: (u32, u16) = (u32::MAX, 0xFFFD);

/// A tuple on a page: its item, cut behind the fixed header.
pub(super) struct Tuple<'p> {
    header: &'p mut [u8; TUPLE_HEADER],
    rest: &'p mut [u8],
}

/// What a record keeps of a new tuple's header (`xl_heap_header`).
#[derive(Clone, Copy)]
pub(super) struct StoredHeader {
    pub infomask2: u16,
    pub infomask: u16,
    pub hoff: u8,
}

impl<'p> Tuple<'p> {
    /// The tuple that a normal line pointer leads to.
    pub(super) fn at(page: &'p mut PageView<'_>, number: u16) -> Result<Tuple<'p>, Fault> {
        let item = page.normal_item_mut(number)?;
        let length = item.len();
        match item.split_first_chunk_mut() {
            Some((header, rest)) => Ok(Tuple { header, rest }),
            None => Err(Fault::PageValue { what: "tuple length", value: length as u64 }),
        }
    }

    /// Writes a new tuple's whole header.
    pub(super) fn write_header(
        header: &mut [u8; TUPLE_HEADER],
        stored: StoredHeader,
        xmin: u32,
        xmax: u32,
        ctid: (u32, u16),
    ) {
        let mut tuple = Tuple { header, rest: &mut [] };
        tuple.put_u32(XMIN, xmin);
        tuple.set_xmax(xmax);
        tuple.put_u32(FIELD3, 0);
        tuple.set_ctid(ctid);
        tuple.put_u16(INFOMASK2, stored.infomask2);
        // HeapTupleHeaderSetCmin: the command id is the first, no combination.
        tuple.put_u16(INFOMASK, stored.infomask & !COMBOCID);
        tuple.header[HOFF] = stored.hoff;
    }

    pub(super) fn hoff(&self) -> usize {
        usize::from(self.header[HOFF])
    }

    /// The user data: what lies behind the header and the bitmap of nulls.
    pub(super) fn data_mut(&mut self) -> Result<&mut [u8], Fault> {
        let hoff = self.hoff();
        let data = hoff.checked_sub(TUPLE_HEADER).and_then(|from| self.rest.get_mut(from..));
        data.ok_or(Fault::PageValue { what: "tuple's t_hoff", value: hoff as u64 })
    }

    pub(super) fn set_xmin(&mut self, xid: u32) {
        self.put_u32(XMIN, xid);
    }

    pub(super) fn set_xmax(&mut self, xid: u32) {
        self.put_u32(XMAX, xid);
    }

    pub(super) fn set_xvac(&mut self, xid: u32) {
        self.put_u32(FIELD3, xid);
    }

    /// `HeapTupleHeaderSetCmax` of the first command id.
    pub(super) fn set_first_command(&mut self) {
        self.put_u32(FIELD3, 0);
        self.put_u16(INFOMASK, self.u16(INFOMASK) & !COMBOCID);
    }

    pub(super) fn set_ctid(&mut self, (block, offset): (u32, u16)) {
        self.put_u16(CTID, (block >> 16) as u16);
        self.put_u16(CTID + 2, block as u16);
        self.put_u16(CTID + 4, offset);
    }

    pub(super) fn set_moved_partitions(&mut self) {
        self.set_ctid(MOVED_PARTITIONS);
    }

    pub(super) fn set_infomasks(&mut self, infomask: u16, infomask2: u16) {
        self.put_u16(INFOMASK, infomask);
        self.put_u16(INFOMASK2, infomask2);
    }

    pub(super) fn set_hot_updated(&mut self, updated: bool) {
        let mask = self.u16(INFOMASK2);
        self.put_u16(INFOMASK2, if updated { mask | HOT_UPDATED } else { mask & !HOT_UPDATED });
    }

    /// Forgets all about xmax, then sets what the record's `infobits_set` says (`fix_infomask_from_infobits`).
    pub(super) fn set_infobits(&mut self, infobits: u8) {
        let mut mask = self.u16(INFOMASK) & !(XMAX_BITS | MOVED);
        let mut mask2 = self.u16(INFOMASK2) & !KEYS_UPDATED;
        for (infobit, bit) in [
            (INFOBIT_IS_MULTI, XMAX_IS_MULTI),
            (INFOBIT_LOCK_ONLY, XMAX_LOCK_ONLY),
            (INFOBIT_EXCL_LOCK, XMAX_EXCL_LOCK),
            (INFOBIT_KEYSHR_LOCK, XMAX_KEYSHR_LOCK),
        ] {
            if infobits & infobit != 0 {
                mask |= bit;
            }
        }
        if infobits & INFOBIT_KEYS_UPDATED != 0 {
            mask2 |= KEYS_UPDATED;
        }
        self.set_infomasks(mask, mask2);
    }

    /// `HEAP_XMAX_IS_LOCKED_ONLY`.
    pub(super) fn is_only_locked(&self) -> bool {
        let mask = self.u16(INFOMASK);
        mask & XMAX_LOCK_ONLY != 0 || mask & (XMAX_IS_MULTI | LOCK_MASK) == XMAX_EXCL_LOCK
    }

    fn u16(&self, at: usize) -> u16 {
        u16::from_le_bytes([self.header[at], self.header[at + 1]])
    }

    fn put_u16(&mut self, at: usize, value: u16) {
        self.header[at..at + 2].copy_from_slice(&value.to_le_bytes());
    }

    fn put_u32(&mut self, at: usize, value: u32) {
        self.header[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }
}

/// `PageSetPrunable`: the oldest transaction whose end may let something be pruned.
pub(super) fn set_prunable(page: &mut PageView<'_>, xid: u32) {
    let old = page.prune_xid();
    if old == 0 || precedes(xid, old) {
        page.set_prune_xid(xid);
    }
}

/// `TransactionIdPrecedes`: in the circle of ids, but the three permanent ones come before all others.
fn precedes(a: u32, b: u32) -> bool {
    const FIRST_NORMAL: u32 = 3;
    if a < FIRST_NORMAL || b < FIRST_NORMAL { a < b } else { (a.wrapping_sub(b) as i32) < 0 }
}

#[cfg(test)]
mod tests {
    use super::precedes;

    #[test]
    fn transaction_ids_are_on_a_circle() {
        assert!(precedes(5, 6) && !precedes(6, 5) && !precedes(5, 5));
        assert!(precedes(u32::MAX, 3));
        assert!(precedes(2, u32::MAX) && !precedes(u32::MAX, 2));
    }
}
