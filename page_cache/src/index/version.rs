//! Which records belong to which page.

use std::collections::HashMap;
use std::ops::Range;

use foldhash::fast::RandomState;
use pgdata::wal::SegmentSize;
use pgdata::{Lsn, PageEffect};

/// Lengths of records need 30 bits (`pgdata::wal::max_record_len`); the two above them hold the effect.
const LEN_BITS: u32 = 30;
const LEN_MASK: u32 = (1 << LEN_BITS) - 1;
/// Pages are spread over so many maps, so that a map that grows moves only its part of them while readers wait. A power of two.
const SHARDS: usize = 64;

/// Set in the generation of what is no record but a kept image.
const IMAGE: u32 = 1 << 31;
/// A page that has got so many more versions is looked at again: whether an image of it should be kept.
const LOOK_AGAIN: usize = 8;

/// One record in the history of one page, or an image of what the records before it make of the page: 16 bytes. Where a record starts follows
/// from its LSN and length.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Version {
    lsn: Lsn,
    /// Of an image its number.
    len_and_effect: u32,
    generation: u32,
}

/// Where a record is in the WAL: its `len` bytes, and page headers between them, from `start` on; `lsn` is its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct RecordPlace {
    pub start: Lsn,
    pub lsn: Lsn,
    pub len: u32,
}

impl Version {
    /// `None` if the record is longer than a record can be, or the generation more than fits. That it starts where it must was checked before.
    pub fn new(place: RecordPlace, effect: PageEffect, generation: u32) -> Option<Version> {
        let effect: u32 = match effect {
            PageEffect::Replace => 0,
            PageEffect::Modify => 1,
            PageEffect::ModifyOrExtend => 2,
            PageEffect::ModifyIfPresent => 3,
        };
        let len_and_effect = place.len | effect << LEN_BITS;
        let fits = place.len <= LEN_MASK && generation & IMAGE == 0;
        fits.then_some(Version { lsn: place.lsn, len_and_effect, generation })
    }

    /// What the versions up to `lsn` make, kept as an image. The generation is that of the last of them.
    fn of_image(lsn: Lsn, image: ImageNumber, generation: u32) -> Version {
        Version { lsn, len_and_effect: image.0, generation: generation | IMAGE }
    }

    /// How many cuts the object had before: those that follow cut this version off if they reach its block.
    pub fn generation(&self) -> u32 {
        self.generation & !IMAGE
    }

    /// The image that this is, if it is no record.
    pub fn image(&self) -> Option<ImageNumber> {
        (self.generation & IMAGE != 0).then_some(ImageNumber(self.len_and_effect))
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

/// The number of an image in the image log.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct ImageNumber(pub u32);

impl ImageNumber {
    /// Numbers are smaller than this.
    pub const LIMIT: u32 = u32::MAX;
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
    images: usize,
    /// What the vectors take, without the maps themselves.
    vector_bytes: usize,
    /// Pages that have got some versions since they were looked at, perhaps several times each; `None` if nobody is going to look.
    grown: Option<Vec<PageId>>,
}

impl VersionMap {
    /// `watched` if [`VersionMap::take_grown`] is going to be called.
    pub fn new(watched: bool) -> Self {
        let hasher = RandomState::default();
        let shards = (0..SHARDS).map(|_| HashMap::with_hasher(hasher.clone())).collect();
        VersionMap { shards, pages: 0, versions: 0, images: 0, vector_bytes: 0, grown: watched.then(Vec::new) }
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
        self.vector_bytes += make_room(versions, 1);
        versions.push(version);
        *last = version.lsn();
        self.versions += 1;
        if versions.len().is_multiple_of(LOOK_AGAIN) {
            self.look_again(page);
        }
    }

    fn page_mut(&mut self, page: PageId) -> Option<&mut Vec<Version>> {
        let (key, shard) = Self::key(page);
        let neighbourhood = self.shards[shard].get_mut(&key)?;
        let (at, bit) = neighbourhood.place(page.1);
        (neighbourhood.present & bit != 0).then(|| &mut neighbourhood.pages[at].versions)
    }

    /// Enters images, in the order of their LSNs, each of what the versions of a page up to there make of it. Answers with how many: not those
    /// before which there is no version, or one that is the same.
    ///
    /// Versions behind an image are moved once, however many images there are: a page can have millions of versions.
    pub fn add_images(&mut self, page: PageId, images: impl IntoIterator<Item = (Lsn, ImageNumber)>) -> usize {
        let Some(versions) = self.page_mut(page) else { return 0 };
        let mut new: Vec<(usize, Version)> = Vec::new();
        for (lsn, image) in images {
            let at = versions.partition_point(|version| version.lsn() <= lsn);
            let Some(before) = at.checked_sub(1).map(|before| versions[before]) else { continue };
            debug_assert!(new.last().is_none_or(|(last, _)| *last <= at), "the images are in order");
            if before.image().is_none() && new.last().is_none_or(|(last, _)| *last < at) {
                new.push((at, Version::of_image(lsn, image, before.generation())));
            }
        }
        let Some((_, filler)) = new.first().copied() else { return 0 };
        let mut end = versions.len();
        let added = make_room(versions, new.len());
        versions.resize(end + new.len(), filler);
        for (images_before, (at, image)) in new.iter().enumerate().rev() {
            versions.copy_within(*at..end, at + images_before + 1);
            versions[at + images_before] = *image;
            end = *at;
        }
        self.vector_bytes += added;
        self.images += new.len();
        new.len()
    }

    /// Takes images out that a page has among these; answers with how many it had.
    pub fn remove_images(&mut self, page: PageId, images: &Range<ImageNumber>) -> usize {
        let Some(versions) = self.page_mut(page) else { return 0 };
        let before = versions.len();
        versions.retain(|version| version.image().is_none_or(|image| !images.contains(&image)));
        let removed = before - versions.len();
        self.images -= removed;
        removed
    }

    /// Counts a page among those that have grown, whether it has or not.
    pub fn look_again(&mut self, page: PageId) {
        if let Some(grown) = &mut self.grown {
            grown.push(page);
        }
    }

    /// The pages that have got versions since the last call, many enough to look at them; perhaps several times each, in no order.
    pub fn take_grown(&mut self) -> Vec<PageId> {
        self.grown.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Notes no more such pages: nobody is going to look at them.
    pub fn watch_no_more(&mut self) {
        self.grown = None;
    }

    /// Whether there are any such pages.
    pub fn has_grown(&self) -> bool {
        self.grown.as_ref().is_some_and(|grown| !grown.is_empty())
    }

    /// How many images there are.
    pub fn images(&self) -> usize {
        self.images
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

/// Makes room for so many more versions; answers with how many bytes that takes.
fn make_room(versions: &mut Vec<Version>, more: usize) -> usize {
    let before = versions.capacity();
    if before - versions.len() < more {
        // Most pages have few versions: four to begin with, as `Vec` has it, would be too many for them.
        versions.reserve_exact((before / 2).max(more));
    }
    (versions.capacity() - before) * size_of::<Version>()
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
                assert_eq!((version.place(size), version.effect(), version.generation()), (place, effect, 7));
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
        let mut map = VersionMap::new(false);
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

    fn version_at(lsn: u64, generation: u32) -> Version {
        Version::new(RecordPlace { start: Lsn(lsn - 8), lsn: Lsn(lsn), len: 8 }, PageEffect::Modify, generation)
            .unwrap()
    }

    #[test]
    fn an_image_stands_behind_the_versions_that_it_is_made_of() {
        let mut map = VersionMap::new(false);
        let add = |map: &mut VersionMap, lsn, image| map.add_images((1, 1), [(Lsn(lsn), ImageNumber(image))]) == 1;
        assert!(!add(&mut map, 100, 0), "there is nothing to make it of");
        for lsn in [16, 32, 48, 64] {
            map.push((1, 1), version_at(lsn, u32::from(lsn > 32)));
        }
        assert!(!add(&mut map, 8, 0));
        assert!(add(&mut map, 40, 7));
        assert!(add(&mut map, 64, LEN_MASK));
        assert!(!add(&mut map, 72, 8), "it would be the same");
        let images: Vec<_> = map.get((1, 1)).iter().map(|version| version.image().map(|image| image.0)).collect();
        assert_eq!(images, [None, None, Some(7), None, None, Some(LEN_MASK)]);
        let generations: Vec<_> = map.get((1, 1)).iter().map(Version::generation).collect();
        assert_eq!(generations, [0, 0, 0, 1, 1, 1]);
        assert_eq!((map.versions(), map.images()), (4, 2));
        // The next record goes behind it, also one with an older image's bits.
        map.push((1, 1), version_at(80, 1));
        assert_eq!(map.get((1, 1)).last().map(Version::lsn), Some(Lsn(80)));
        map.remove_images((1, 1), &(ImageNumber(7)..ImageNumber(8)));
        map.remove_images((1, 1), &(ImageNumber(9)..ImageNumber(10)));
        map.remove_images((2, 1), &(ImageNumber(7)..ImageNumber(8)));
        assert_eq!((map.get((1, 1)).len(), map.images()), (6, 1));
    }

    #[test]
    fn images_added_at_once_stand_where_each_would_alone() {
        for density in 1..40 {
            let (mut at_once, mut alone) = (VersionMap::new(false), VersionMap::new(false));
            for lsn in (16..400).step_by(16) {
                at_once.push((1, 1), version_at(lsn, (lsn / 100) as u32));
                alone.push((1, 1), version_at(lsn, (lsn / 100) as u32));
            }
            // Some have an LSN before all versions, some are of the same versions as the one before.
            let images: Vec<_> = (0..420 / density).map(|at| (Lsn(8 + at * density), ImageNumber(at as u32))).collect();
            let (some, others): (Vec<_>, Vec<_>) = images.into_iter().partition(|(_, image)| image.0 % 3 == 0);
            for images in [some, others] {
                let added: usize = images.iter().map(|image| alone.add_images((1, 1), [*image])).sum();
                assert_eq!(at_once.add_images((1, 1), images), added);
                assert_eq!(at_once.get((1, 1)), alone.get((1, 1)));
                assert_eq!(at_once.images(), alone.images());
            }
            assert!(at_once.images() > 4 && at_once.get((1, 1)).is_sorted_by_key(Version::lsn));
        }
    }

    #[test]
    fn pages_with_many_new_versions_are_known() {
        let mut map = VersionMap::new(true);
        for lsn in 1..=20 {
            map.push((1, 7), version_at(lsn * 8, 0));
            if lsn < 8 {
                map.push((1, 8), version_at(lsn * 8, 0));
            }
        }
        assert!(map.has_grown());
        assert_eq!(map.take_grown(), [(1, 7); 2]);
        assert!(!map.has_grown() && map.take_grown().is_empty());
        map.watch_no_more();
        (21..=40).for_each(|lsn| map.push((1, 7), version_at(lsn * 8, 0)));
        assert!(!map.has_grown());
        assert!(!VersionMap::new(false).has_grown());
    }

    #[test]
    fn a_page_named_twice_by_a_record_has_one_version_of_it() {
        let version = |effect, generation| {
            Version::new(RecordPlace { start: Lsn(8), lsn: Lsn(40), len: 32 }, effect, generation).unwrap()
        };
        let mut map = VersionMap::new(false);
        map.push((1, 1), version(PageEffect::Modify, 0));
        map.push((1, 1), version(PageEffect::Replace, 0));
        map.push((1, 1), version(PageEffect::Modify, 0));
        assert_eq!(map.get((1, 1)), [version(PageEffect::Replace, 0)]);
        // Unless the page was cut off in between.
        map.push((1, 1), version(PageEffect::Modify, 1));
        assert_eq!((map.get((1, 1)).len(), map.versions()), (2, 2));
    }
}
