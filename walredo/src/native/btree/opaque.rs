//! A B-tree page's special space (`BTPageOpaqueData`).

use crate::native::fault::Fault;
use crate::native::page::PageView;

// btpo_flags
pub(super) const LEAF: u16 = 1 << 0;
pub(super) const ROOT: u16 = 1 << 1;
pub(super) const DELETED: u16 = 1 << 2;
pub(super) const META: u16 = 1 << 3;
pub(super) const HALF_DEAD: u16 = 1 << 4;
pub(super) const HAS_GARBAGE: u16 = 1 << 6;
pub(super) const INCOMPLETE_SPLIT: u16 = 1 << 7;
pub(super) const HAS_FULLXID: u16 = 1 << 8;

/// Bytes of the special space.
const SIZE: usize = 16;

/// Links to siblings, 0 where there is none, and what kind of page it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Opaque {
    pub prev: u32,
    pub next: u32,
    pub level: u32,
    pub flags: u16,
    pub cycle_id: u16,
}

impl Opaque {
    pub(super) fn of(page: &PageView<'_>) -> Result<Opaque, Fault> {
        let bytes: &[u8; SIZE] = page.special()?;
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let flags = word(12);
        Ok(Opaque { prev: word(0), next: word(4), level: word(8), flags: flags as u16, cycle_id: (flags >> 16) as u16 })
    }

    pub(super) fn put(&self, page: &mut PageView<'_>) -> Result<(), Fault> {
        let bytes: &mut [u8; SIZE] = page.special_mut()?;
        let last = u32::from(self.flags) | u32::from(self.cycle_id) << 16;
        for (field, value) in bytes.as_chunks_mut::<4>().0.iter_mut().zip([self.prev, self.next, self.level, last]) {
            *field = value.to_le_bytes();
        }
        Ok(())
    }

    /// `_bt_pageinit`, with this in the special space.
    pub(super) fn init(&self, page: &mut PageView<'_>) -> Result<(), Fault> {
        page.init(SIZE);
        self.put(page)
    }

    /// `P_FIRSTDATAKEY`: the first item that is no high key.
    pub(super) fn first_data_item(&self) -> u16 {
        if self.next == 0 { 1 } else { 2 }
    }
}
