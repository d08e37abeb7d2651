//! Which records belong to which page.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use pgdata::wal::SegmentSize;
use pgdata::{Lsn, PageEffect};

/// Lengths of records need 30 bits (`pgdata::wal::max_record_len`); the two above them hold the effect.
const LEN_BITS: u32 = 30;
const LEN_MASK: u32 = (1 << LEN_BITS) - 1;
/// Pages are spread over so many maps, so that a map that grows moves only its part of them while readers wait. A power of two.
const SHARDS: usize = 64;

/// One record in the history of one page: 16 bytes. Where the record starts follows from its LSN and length.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Version {
    lsn: Lsn,
    len_and_effect: u32,
    /// How many cuts the object had before: those that follow cut this version off if they reach its block.
    pub generation: u32,
}

/// Where a record is in the WAL: its `len` bytes, and page headers between them, from `start` on; `lsn` is its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct RecordPlace {
    pub start: Lsn,
    pub lsn: Lsn,
    pub len: u32,
}

impl Version {
    /// `None` if the record is longer than a record can be. That it starts where it must was checked before.
    pub fn new(place: RecordPlace, effect: PageEffect, generation: u32) -> Option<Version> {
        let effect: u32 = match effect {
            PageEffect::Replace => 0,
            PageEffect::Modify => 1,
            PageEffect::ModifyOrExtend => 2,
            PageEffect::ModifyIfPresent => 3,
        };
        let len_and_effect = place.len | effect << LEN_BITS;
        (place.len <= LEN_MASK).then_some(Version { lsn: place.lsn, len_and_effect, generation })
    }

    pub fn lsn(&self) -> Lsn {
        self.lsn
    }

    pub fn effect(&self) -> PageEffect {
        match self.len_and_effect >> LEN_BITS {
            0 => PageEffect::Replace,
            1 => PageEffect::Modify,
            2 => PageEffect::ModifyOrExtend,
            _ => PageEffect::ModifyIfPresent,
        }
    }

    /// The record, in WAL of that segment size.
    pub fn place(&self, size: SegmentSize) -> RecordPlace {
        let (lsn, len) = (self.lsn, self.len_and_effect & LEN_MASK);
        // `PageCache::check_batch` has seen that the record's LSN is where one ends that starts and is as long as this one.
        let start = size.record_start(lsn, len).expect("a version is of a record that is where one can be");
        RecordPlace { start, lsn, len }
    }
}

/// A page: the number of its object, and its block.
pub(crate) type PageId = (u32, u32);

/// The versions of one page, oldest first.
#[derive(Debug, Default)]
struct PageVersions {
    /// The LSN of the last one, here so that adding another reads no other memory.
    last: Lsn,
    versions: Vec<Version>,
}

/// Neighbouring pages of an object: so many of them have their versions together.
const NEIGHBOURS: u32 = u64::BITS;

/// The pages of one neighbourhood that have versions. A map of pages one by one would be as much as the processor's caches hold many times
/// over, and each new version would wait for memory three times: for the map's control bytes, the map's entry, and the newest version.
/// This one waits for the entry alone.
#[derive(Debug, Default)]
struct Neighbourhood {
    /// A bit for each page that is in `pages`.
    present: u64,
    /// In the order of blocks.
    pages: Vec<PageVersions>,
}

impl Neighbourhood {
    /// Where a page is, or would be, in `pages`, and its bit.
    fn place(&self, block: u32) -> (usize, u64) {
        let bit = 1 << (block % NEIGHBOURS);
        ((self.present & (bit - 1)).count_ones() as usize, bit)
    }

    fn get(&self, block: u32) -> Option<&PageVersions> {
        let (at, bit) = self.place(block);
        (self.present & bit != 0).then(|| &self.pages[at])
    }
}

/// The versions of every page, oldest first.
#[derive(Debug)]
pub(crate) struct VersionMap {
    shards: Vec<HashMap<u64, Neighbourhood, RandomState>>,
    pages: usize,
    versions: usize,
    /// What the vectors take, without the maps themselves.
    vector_bytes: usize,
}

impl VersionMap {
    pub fn new() -> Self {
        let hasher = RandomState::default();
        let shards = (0..SHARDS).map(|_| HashMap::with_hasher(hasher.clone())).collect();
        VersionMap { shards, pages: 0, versions: 0, vector_bytes: 0 }
    }

    fn key((object, block): PageId) -> (u64, usize) {
        let key = u64::from(object) << 32 | u64::from(block / NEIGHBOURS);
        (key, (key.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (u64::BITS - SHARDS.ilog2())) as usize)
    }

    pub fn get(&self, page: PageId) -> &[Version] {
        let (key, shard) = Self::key(page);
        let page = self.shards[shard].get(&key).and_then(|neighbourhood| neighbourhood.get(page.1));
        page.map_or(&[], |page| &page.versions)
    }

    /// Adds the newest version of a page. A record that names a page twice is one version of it: redo applies it once.
    pub fn push(&mut self, page: PageId, version: Version) {
        let (key, shard) = Self::key(page);
        let neighbourhood = self.shards[shard].entry(key).or_default();
        let (at, bit) = neighbourhood.place(page.1);
        if neighbourhood.present & bit == 0 {
            let before = neighbourhood.pages.capacity();
            neighbourhood.pages.insert(at, PageVersions::default());
            neighbourhood.present |= bit;
            self.vector_bytes += (neighbourhood.pages.capacity() - before) * size_of::<PageVersions>();
            self.pages += 1;
        }
        let PageVersions { last, versions } = &mut neighbourhood.pages[at];
        if *last == version.lsn()
            && let Some(newest) = versions.last_mut()
            && newest.generation == version.generation
        {
            if version.effect() == PageEffect::Replace {
                *newest = version;
            }
            return;
        }
        let before = versions.capacity();
        if before == versions.len() {
            // Most pages have few versions: four to begin with, as `Vec` has it, would be too many for them.
            versions.reserve_exact((before / 2).max(1));
            self.vector_bytes += (versions.capacity() - before) * size_of::<Version>();
        }
        versions.push(version);
        *last = version.lsn();
        self.versions += 1;
    }

    /// How many pages have versions.
    pub fn pages(&self) -> usize {
        self.pages
    }

    /// How many versions there are.
    pub fn versions(&self) -> usize {
        self.versions
    }

    /// About how many bytes all of it takes.
    pub fn bytes(&self) -> usize {
        let entry = size_of::<(u64, Neighbourhood)>() + 1;
        self.vector_bytes + self.shards.iter().map(|shard| shard.capacity() * 8 / 7 * entry).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_small_and_keeps_everything() {
        assert_eq!(size_of::<Version>(), 16);
        let size = SegmentSize::DEFAULT;
        use PageEffect::{Modify, ModifyIfPresent, ModifyOrExtend, Replace};
        for effect in [Replace, Modify, ModifyOrExtend, ModifyIfPresent] {
            for len in [24, 8168, 100_000, LEN_MASK] {
                let start = Lsn(0x7FFF_FFFF_0000_0028);
                let place = RecordPlace { start, lsn: size.record_end(start, len).unwrap().align_up(), len };
                let version = Version::new(place, effect, 7).unwrap();
                assert_eq!((version.place(size), version.effect(), version.generation), (place, effect, 7));
            }
        }
    }

    #[test]
    fn records_that_cannot_be_are_refused() {
        let place = RecordPlace { start: Lsn(40), lsn: Lsn(80), len: LEN_MASK + 1 };
        assert!(Version::new(place, PageEffect::Modify, 0).is_none());
    }

    #[test]
    fn pages_keep_their_own_versions_in_any_order_of_coming() {
        let version = |lsn: u64| {
            let place = RecordPlace { start: Lsn(lsn - 8), lsn: Lsn(lsn), len: 8 };
            Version::new(place, PageEffect::Modify, 0).unwrap()
        };
        let mut map = VersionMap::new();
        // Neighbours from the last to the first, pages far apart, and the same block of another object.
        let pages: Vec<PageId> =
            (0..200).rev().map(|block| (1, block)).chain([(1, u32::MAX), (2, 63), (2, 64)]).collect();
        let mut lsn = 0;
        for _ in 0..5 {
            for page in &pages {
                lsn += 8;
                map.push(*page, version(lsn));
            }
        }
        assert_eq!((map.pages(), map.versions()), (pages.len(), pages.len() * 5));
        for (at, page) in pages.iter().enumerate() {
            let expected: Vec<Lsn> = (0..5).map(|turn| Lsn(((turn * pages.len() + at + 1) * 8) as u64)).collect();
            let found: Vec<Lsn> = map.get(*page).iter().map(Version::lsn).collect();
            assert_eq!(found, expected, "{page:?}");
        }
        assert!(map.get((1, 200)).is_empty() && map.get((3, 0)).is_empty());
    }

    #[test]
    fn a_page_named_twice_by_a_record_has_one_version_of_it() {
        let version = |effect, generation| {
            Version::new(RecordPlace { start: Lsn(8), lsn: Lsn(40), len: 32 }, effect, generation).unwrap()
        };
        let mut map = VersionMap::new();
        map.push((1, 1), version(PageEffect::Modify, 0));
        map.push((1, 1), version(PageEffect::Replace, 0));
        map.push((1, 1), version(PageEffect::Modify, 0));
        assert_eq!(map.get((1, 1)), [version(PageEffect::Replace, 0)]);
        // Unless the page was cut off in between.
        map.push((1, 1), version(PageEffect::Modify, 1));
        assert_eq!((map.get((1, 1)).len(), map.versions()), (2, 2));
    }
}
