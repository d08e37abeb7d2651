//! How the visibility map and the free space map of a relation are laid out over its blocks
//! (`access/heap/visibilitymap.c`, `storage/freespace/freespace.c`; the same in PostgreSQL 15 to 18).

use crate::PAGE_SIZE;

/// Bytes of a page header without line pointers (`MAXALIGN(SizeOfPageHeaderData)`): where a page's contents begin.
pub const PAGE_HEADER_SIZE: usize = 24;
/// In a visibility map: every tuple on the block is visible to all (`VISIBILITYMAP_ALL_VISIBLE`).
pub const VM_ALL_VISIBLE: u8 = 1;
/// In a visibility map: every tuple on the block is frozen (`VISIBILITYMAP_ALL_FROZEN`).
pub const VM_ALL_FROZEN: u8 = 2;
/// Both bits of a block (`VISIBILITYMAP_VALID_BITS`).
pub const VM_VALID_BITS: u8 = VM_ALL_VISIBLE | VM_ALL_FROZEN;
/// Blocks whose bits are on one page of a visibility map: four to a byte (`HEAPBLOCKS_PER_PAGE`).
pub const HEAP_BLOCKS_PER_VM_PAGE: u32 = (PAGE_SIZE - PAGE_HEADER_SIZE) as u32 * 4;

/// Blocks whose free space is on one leaf page of a free space map (`SlotsPerFSMPage`): the nodes of a page's tree, less the inner ones.
const FSM_SLOTS_PER_PAGE: u32 = (PAGE_SIZE - PAGE_HEADER_SIZE - 4 - (PAGE_SIZE / 2 - 1)) as u32;
/// Levels of pages in a free space map (`FSM_TREE_DEPTH`).
const FSM_DEPTH: u32 = 3;

/// Where the two bits of a block are in the visibility map.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VmPosition {
    /// Block of the visibility map fork.
    pub page: u32,
    /// Byte on that page, counted from the page's start.
    pub byte: usize,
    /// The lower of the two bits in the byte: 0, 2, 4 or 6.
    pub shift: u32,
}

/// Where the bits of `heap_block` are.
#[must_use]
pub const fn vm_position(heap_block: u32) -> VmPosition {
    let index = heap_block % HEAP_BLOCKS_PER_VM_PAGE;
    VmPosition {
        page: heap_block / HEAP_BLOCKS_PER_VM_PAGE,
        byte: PAGE_HEADER_SIZE + (index / 4) as usize,
        shift: index % 4 * 2,
    }
}

/// How many blocks of the visibility map may stay when a relation is cut down to `heap_blocks` (`visibilitymap_prepare_truncate`).
#[must_use]
pub const fn vm_blocks_for(heap_blocks: u32) -> u32 {
    heap_blocks.div_ceil(HEAP_BLOCKS_PER_VM_PAGE)
}

/// How many blocks of the free space map may stay when a relation is cut down to `heap_blocks` (`FreeSpaceMapPrepareTruncateRel`).
#[must_use]
pub const fn fsm_blocks_for(heap_blocks: u32) -> u32 {
    let leaf = heap_blocks / FSM_SLOTS_PER_PAGE;
    let partly = !heap_blocks.is_multiple_of(FSM_SLOTS_PER_PAGE);
    fsm_leaf_block(leaf) + partly as u32
}

/// The block of a leaf page (`fsm_logical_to_physical`): the pages above it that come before it are counted in.
const fn fsm_leaf_block(leaf: u32) -> u32 {
    let mut pages = 0;
    let mut below = leaf;
    let mut level = 0;
    while level < FSM_DEPTH {
        pages += below + 1;
        below /= FSM_SLOTS_PER_PAGE;
        level += 1;
    }
    pages - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_visibility_map_has_four_blocks_in_a_byte() {
        assert_eq!(HEAP_BLOCKS_PER_VM_PAGE, 32_672);
        assert_eq!(vm_position(0), VmPosition { page: 0, byte: 24, shift: 0 });
        assert_eq!(vm_position(7), VmPosition { page: 0, byte: 25, shift: 6 });
        assert_eq!(vm_position(32_671), VmPosition { page: 0, byte: 8191, shift: 6 });
        assert_eq!(vm_position(32_672), VmPosition { page: 1, byte: 24, shift: 0 });
    }

    #[test]
    fn the_visibility_map_keeps_pages_that_are_needed_in_part() {
        assert_eq!(vm_blocks_for(0), 0);
        assert_eq!(vm_blocks_for(1), 1);
        assert_eq!(vm_blocks_for(32_672), 1);
        assert_eq!(vm_blocks_for(32_673), 2);
    }

    #[test]
    fn the_free_space_map_keeps_its_upper_pages() {
        assert_eq!(FSM_SLOTS_PER_PAGE, 4069);
        // An empty relation keeps root and middle page; the first leaf is block 2.
        assert_eq!(fsm_blocks_for(0), 2);
        assert_eq!(fsm_blocks_for(1), 3);
        assert_eq!(fsm_blocks_for(4069), 3);
        assert_eq!(fsm_blocks_for(4070), 4);
        // The second middle page comes in front of leaf 4069.
        assert_eq!(fsm_blocks_for(4069 * 4069), 1 + 1 + 4069 + 1);
        // The largest relation there can be.
        assert!(fsm_blocks_for(u32::MAX) > u32::MAX / 4069);
    }
}
