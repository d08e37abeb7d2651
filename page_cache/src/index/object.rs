//! The life of one object: its sizes, and what cut its pages off from their past.

use pgdata::{DbTag, Lsn};

/// How a cut object goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Origin {
    /// With nothing: blocks that come into being later start as zeros.
    Nothing,
    /// As a copy of the same object of another database, which had so many blocks at that LSN.
    Copy { from: DbTag, blocks: u32 },
}

/// A moment at which the blocks from `floor` on lost what they had: a truncation, an end, a copy over everything.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    pub lsn: Lsn,
    pub floor: u32,
    pub origin: Origin,
}

/// The size from an LSN on, in 12 bytes.
#[derive(Clone, Copy, Debug)]
struct SizeAt {
    lsn: [u32; 2],
    /// Blocks; `NO_OBJECT` if it does not exist.
    blocks: u32,
}

/// Stands for "does not exist". Objects are kept shorter than this: see `max_blocks`.
const NO_OBJECT: u32 = u32::MAX;

impl SizeAt {
    fn lsn(&self) -> u64 {
        u64::from(self.lsn[0]) << 32 | u64::from(self.lsn[1])
    }
}

/// What is known of one object over time.
#[derive(Debug)]
pub(crate) struct ObjectHistory {
    /// The number of its database; SLRU segments have none.
    pub database: Option<u32>,
    /// How many of its database's events are part of this history already.
    pub seen: usize,
    /// How many events there were of all databases together when it was last looked for new ones.
    pub events_then: usize,
    /// Its size in the base image, if it is there.
    pub base: Option<u32>,
    sizes: Vec<SizeAt>,
    cuts: Vec<Cut>,
}

impl ObjectHistory {
    pub fn new(database: Option<u32>, base: Option<u32>) -> Self {
        ObjectHistory { database, seen: 0, events_then: 0, base, sizes: Vec::new(), cuts: Vec::new() }
    }

    /// The size at an LSN, by its own history alone; `None` if it does not exist then.
    pub fn size(&self, lsn: Lsn) -> Option<u32> {
        match self.sizes[..self.sizes.partition_point(|size| size.lsn() <= lsn.0)].last() {
            Some(size) => Some(size.blocks).filter(|blocks| *blocks != NO_OBJECT),
            None => self.base,
        }
    }

    /// The size after everything that was ingested.
    pub fn newest_size(&self) -> Option<u32> {
        match self.sizes.last() {
            Some(size) => Some(size.blocks).filter(|blocks| *blocks != NO_OBJECT),
            None => self.base,
        }
    }

    fn set_size(&mut self, lsn: Lsn, size: Option<u32>) {
        let at = SizeAt { lsn: [(lsn.0 >> 32) as u32, lsn.0 as u32], blocks: size.unwrap_or(NO_OBJECT) };
        match self.sizes.last_mut() {
            Some(last) if last.lsn() == lsn.0 => *last = at,
            _ => self.sizes.push(at),
        }
    }

    /// It exists from here on and has at least so many blocks.
    pub fn grow(&mut self, lsn: Lsn, blocks: u32) {
        if self.newest_size().is_none_or(|size| size < blocks) {
            self.set_size(lsn, Some(blocks));
        }
    }

    /// It has at most so many blocks from here on, if it exists.
    pub fn truncate(&mut self, lsn: Lsn, blocks: u32) {
        if self.newest_size().is_some_and(|size| size > blocks) {
            self.cuts.push(Cut { lsn, floor: blocks, origin: Origin::Nothing });
            self.set_size(lsn, Some(blocks));
        }
    }

    /// It does not exist from here on.
    pub fn end(&mut self, lsn: Lsn) {
        if self.newest_size().is_some() {
            self.cuts.push(Cut { lsn, floor: 0, origin: Origin::Nothing });
            self.set_size(lsn, None);
        }
    }

    /// It is a copy of the one in another database from here on.
    pub fn become_copy(&mut self, lsn: Lsn, from: DbTag, blocks: u32) {
        self.cuts.push(Cut { lsn, floor: 0, origin: Origin::Copy { from, blocks } });
        self.set_size(lsn, Some(blocks));
    }

    /// The generation that a version gets now.
    pub fn generation(&self) -> u32 {
        // Four billion truncations of one object take that many WAL records of 48 bytes and more.
        u32::try_from(self.cuts.len()).unwrap_or(u32::MAX)
    }

    /// The last cut up to `lsn` that reaches `block`, and the generation of the versions after it.
    pub fn birth(&self, block: u32, lsn: Lsn) -> (Option<Cut>, u32) {
        let up_to = self.cuts.partition_point(|cut| cut.lsn <= lsn);
        match self.cuts[..up_to].iter().rposition(|cut| cut.floor <= block) {
            Some(at) => (Some(self.cuts[at]), at as u32 + 1),
            None => (None, 0),
        }
    }

    /// How many bytes it takes.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.sizes.capacity() * size_of::<SizeAt>() + self.cuts.capacity() * size_of::<Cut>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_follow_growth_truncation_and_end() {
        let mut history = ObjectHistory::new(None, Some(10));
        history.grow(Lsn(8), 5);
        history.grow(Lsn(16), 12);
        history.truncate(Lsn(24), 3);
        history.truncate(Lsn(32), 4);
        history.grow(Lsn(40), 7);
        history.end(Lsn(48));
        history.grow(Lsn(56), 0);
        let sizes: Vec<_> = (0..8).map(|i| history.size(Lsn(i * 8))).collect();
        assert_eq!(sizes, [Some(10), Some(10), Some(12), Some(3), Some(3), Some(7), None, Some(0)]);
    }

    #[test]
    fn a_block_is_born_at_the_last_cut_that_reaches_it() {
        let mut history = ObjectHistory::new(None, Some(10));
        history.truncate(Lsn(8), 6);
        history.grow(Lsn(16), 10);
        history.truncate(Lsn(24), 8);
        let birth = |block, lsn| history.birth(block, Lsn(lsn)).0.map(|cut| cut.lsn.0);
        assert_eq!([birth(5, 30), birth(6, 30), birth(7, 30), birth(8, 30)], [None, Some(8), Some(8), Some(24)]);
        assert_eq!([birth(8, 23), birth(8, 7)], [Some(8), None]);
    }
}
