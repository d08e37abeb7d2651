//! Which records belong to which page.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use pgdata::{Lsn, PageEffect};

/// Lengths of records need 30 bits (`pgdata::wal::max_record_len`); the two above them hold the effect.
const LEN_BITS: u32 = 30;
const LEN_MASK: u32 = (1 << LEN_BITS) - 1;
/// Pages are spread over so many maps, so that a map that grows moves only its part of them while readers wait.
const SHARDS: usize = 256;

/// One record in the history of one page: 28 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Version {
    // 64-bit numbers in halves: as such they would be padded.
    lsn: [u32; 2],
    position: [u32; 2],
    span: u32,
    len_and_effect: u32,
    /// How many cuts the object had before: those that follow cut this version off if they reach its block.
    pub generation: u32,
}

/// Where a record is: in the WAL from `start` to `lsn`, and in the window at `position`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct RecordPlace {
    pub start: Lsn,
    pub lsn: Lsn,
    pub len: u32,
    pub position: u64,
}

const fn halves(value: u64) -> [u32; 2] {
    [(value >> 32) as u32, value as u32]
}

const fn whole([high, low]: [u32; 2]) -> u64 {
    (high as u64) << 32 | low as u64
}

impl Version {
    /// `None` if the record is longer, or covers more of the WAL, than a record can.
    pub fn new(place: RecordPlace, effect: PageEffect, generation: u32) -> Option<Version> {
        let span = u32::try_from(place.lsn.0.checked_sub(place.start.0)?).ok()?;
        let effect: u32 = match effect {
            PageEffect::Replace => 0,
            PageEffect::Modify => 1,
            PageEffect::ModifyOrExtend => 2,
            PageEffect::ModifyIfPresent => 3,
        };
        (place.len <= LEN_MASK).then_some(Version {
            lsn: halves(place.lsn.0),
            position: halves(place.position),
            span,
            len_and_effect: place.len | effect << LEN_BITS,
            generation,
        })
    }

    pub fn lsn(&self) -> Lsn {
        Lsn(whole(self.lsn))
    }

    pub fn effect(&self) -> PageEffect {
        match self.len_and_effect >> LEN_BITS {
            0 => PageEffect::Replace,
            1 => PageEffect::Modify,
            2 => PageEffect::ModifyOrExtend,
            _ => PageEffect::ModifyIfPresent,
        }
    }

    pub fn place(&self) -> RecordPlace {
        let lsn = self.lsn();
        let start = Lsn(lsn.0 - u64::from(self.span));
        RecordPlace { start, lsn, len: self.len_and_effect & LEN_MASK, position: whole(self.position) }
    }
}

/// A page: the number of its object, and its block.
pub(crate) type PageId = (u32, u32);

/// The versions of every page, oldest first.
#[derive(Debug)]
pub(crate) struct VersionMap {
    shards: Vec<HashMap<u64, Vec<Version>, RandomState>>,
    versions: usize,
    version_bytes: usize,
}

impl VersionMap {
    pub fn new() -> Self {
        let hasher = RandomState::default();
        let shards = (0..SHARDS).map(|_| HashMap::with_hasher(hasher.clone())).collect();
        VersionMap { shards, versions: 0, version_bytes: 0 }
    }

    fn key((object, block): PageId) -> (u64, usize) {
        let key = u64::from(object) << 32 | u64::from(block);
        (key, (key.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as usize)
    }

    pub fn get(&self, page: PageId) -> &[Version] {
        let (key, shard) = Self::key(page);
        self.shards[shard].get(&key).map_or(&[], Vec::as_slice)
    }

    /// Adds the newest version of a page. A record that names a page twice is one version of it: redo applies it once.
    pub fn push(&mut self, page: PageId, version: Version) {
        let (key, shard) = Self::key(page);
        let versions = self.shards[shard].entry(key).or_default();
        if let Some(last) = versions.last_mut()
            && last.lsn == version.lsn
            && last.generation == version.generation
        {
            if version.effect() == PageEffect::Replace {
                *last = version;
            }
            return;
        }
        let before = versions.capacity();
        if before == versions.len() {
            // Most pages have few versions: four to begin with, as `Vec` has it, would be too many for them.
            versions.reserve_exact((before / 2).max(1));
        }
        versions.push(version);
        self.version_bytes += (versions.capacity() - before) * size_of::<Version>();
        self.versions += 1;
    }

    /// How many pages have versions.
    pub fn pages(&self) -> usize {
        self.shards.iter().map(HashMap::len).sum()
    }

    /// How many versions there are.
    pub fn versions(&self) -> usize {
        self.versions
    }

    /// About how many bytes all of it takes.
    pub fn bytes(&self) -> usize {
        let entry = size_of::<(u64, Vec<Version>)>() + 1;
        self.version_bytes + self.shards.iter().map(|shard| shard.capacity() * 8 / 7 * entry).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_small_and_keeps_everything() {
        assert_eq!(size_of::<Version>(), 28);
        let place = RecordPlace {
            start: Lsn(0xFFFF_FFFF_0000_0028),
            lsn: Lsn(0xFFFF_FFFF_4000_0000),
            len: LEN_MASK,
            position: u64::MAX - 5,
        };
        use PageEffect::{Modify, ModifyIfPresent, ModifyOrExtend, Replace};
        for effect in [Replace, Modify, ModifyOrExtend, ModifyIfPresent] {
            let version = Version::new(place, effect, 7).unwrap();
            assert_eq!((version.place(), version.effect(), version.generation), (place, effect, 7));
        }
    }

    #[test]
    fn records_that_cannot_be_are_refused() {
        let place = RecordPlace { start: Lsn(40), lsn: Lsn(80), len: 24, position: 0 };
        let refused = |place| Version::new(place, PageEffect::Modify, 0).is_none();
        assert!(!refused(place));
        assert!(refused(RecordPlace { len: LEN_MASK + 1, ..place }));
        assert!(refused(RecordPlace { start: Lsn(81), ..place }));
        assert!(refused(RecordPlace { lsn: Lsn(1 << 33), ..place }));
    }
}
