//! Questions about one object, page or small file at an LSN.

use std::ops::Range;
use std::sync::Arc;

use pgdata::{ClusterState, DbTag, Lsn, Object, PageEffect, PageKey, RelTag};

use super::blob::{BlobAt, database_of, name_in};
use super::object::{Cut, ObjectHistory, Origin};
use super::version::{ImageNumber, PageId, RecordPlace, Version};
use super::{DatabaseEvent, Index};

/// Where the content of a small file is.
pub(crate) enum BlobPlace {
    None,
    /// In the base image, under this name.
    Base(String),
    Is(Arc<[u8]>),
}

/// What the records of a page apply to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum PlanBase {
    /// Nothing: the first record makes the page.
    Replaced,
    /// A page of zeros.
    Zero,
    /// This page of the base image.
    Image(PageKey),
    /// This image, of the page that the records name.
    Kept(KeptImage),
    /// Another page at an earlier LSN.
    Other(PageKey, Lsn),
}

/// A page's content at an LSN, in the image log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct KeptImage {
    pub number: ImageNumber,
    pub key: PageKey,
    pub lsn: Lsn,
}

impl PlanBase {
    /// The image that it is, if it is one that was kept.
    pub fn kept(self) -> Option<KeptImage> {
        if let PlanBase::Kept(image) = self { Some(image) } else { None }
    }
}

/// The way to a page: a base and records, oldest first.
#[derive(Debug)]
pub(crate) struct Trail {
    /// The page that the records name: the one asked for, or one of the template that its database was copied from.
    pub key: PageKey,
    pub base: PlanBase,
    pub records: Vec<RecordPlace>,
}

/// Why there is no way to a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum TrailError {
    NoObject,
    Beyond {
        size: u32,
    },
    /// The record changes a page that nothing made.
    NoBase {
        key: PageKey,
        record: Lsn,
    },
}

/// One content of one page. Two trails to a page that begin at the same cut of its object's history and end with the same record make the
/// same page: between the two no record is ever added or taken away, and an image is what the records before it make.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PageVersion {
    key: PageKey,
    /// How many cuts there were until the one that the page's life began with.
    generation: u32,
    /// The last record; none if only the base counts.
    last: Lsn,
}

/// What counts of a page's history at an LSN.
struct Life<'a> {
    key: PageKey,
    lsn: Lsn,
    /// What the page's life began with; it is as old as the timeline if there is none.
    cut: Option<Cut>,
    generation: u32,
    history: &'a ObjectHistory,
    /// Since then, oldest first.
    versions: &'a [Version],
}

/// Where an object's state at an LSN is to be found.
enum Source<'a> {
    Nowhere,
    Own(u32, &'a ObjectHistory),
    /// In the same object of another database, at an earlier LSN.
    Copy(DbTag, Lsn),
}

fn in_database(object: Object, database: DbTag) -> Object {
    match object {
        Object::Relation(rel) => Object::Relation(RelTag { spc: database.spc, db: database.db, ..rel }),
        slru => slru,
    }
}

impl Index {
    fn source(&self, object: Object, lsn: Lsn) -> Source<'_> {
        let own = self.numbers.get(&object).map(|number| (*number, &self.objects[*number as usize].1));
        let seen = own.map_or(0, |(_, history)| history.seen);
        if let Object::Relation(rel) = object
            && let Some(database) = self.database(rel.database())
            && let Some((at, event)) = database.event_after(seen, lsn)
        {
            return match event {
                DatabaseEvent::Dropped => Source::Nowhere,
                DatabaseEvent::CopiedFrom(from) => Source::Copy(from, at),
            };
        }
        own.map_or(Source::Nowhere, |(number, history)| Source::Own(number, history))
    }

    /// The size of an object in blocks; `None` if it does not exist.
    pub fn size(&self, mut object: Object, mut lsn: Lsn) -> Option<u32> {
        loop {
            match self.source(object, lsn) {
                Source::Nowhere => return None,
                Source::Own(_, history) => return history.size(lsn),
                Source::Copy(from, at) => (object, lsn) = (in_database(object, from), at),
            }
        }
    }

    /// The way to a page at an LSN.
    pub fn trail(&self, key: PageKey, lsn: Lsn) -> Result<Trail, TrailError> {
        let Life { key, lsn, cut, history, versions, .. } = self.life(key, lsn)?;
        let mut records: Vec<&Version> = Vec::new();
        for version in versions.iter().rev() {
            if let Some(number) = version.image() {
                let image = KeptImage { number, key, lsn: version.lsn() };
                return Ok(self.trail_of(key, PlanBase::Kept(image), &records));
            }
            records.push(version);
            if version.effect() == PageEffect::Replace {
                return Ok(self.trail_of(key, PlanBase::Replaced, &records));
            }
        }
        let base = base_of(key, cut, history);
        if base == PlanBase::Zero {
            self.check_zero_base(key, lsn, &mut records)?;
        }
        Ok(self.trail_of(key, base, &records))
    }

    fn trail_of(&self, key: PageKey, base: PlanBase, newest_first: &[&Version]) -> Trail {
        let records = newest_first.iter().rev().map(|version| version.place(self.segment_size)).collect();
        Trail { key, base, records }
    }

    /// What a page's content at an LSN is called. `None` if that says too little: before the first consistent LSN a trail also depends
    /// on the LSN that it is asked for.
    pub fn page_version(&self, key: PageKey, lsn: Lsn) -> Result<Option<PageVersion>, TrailError> {
        let Life { key, lsn, generation, versions, .. } = self.life(key, lsn)?;
        // An image adds nothing to what the records before it make.
        let last = versions.iter().rfind(|version| version.image().is_none()).map_or(Lsn::INVALID, Version::lsn);
        Ok((lsn >= self.consistent_lsn).then_some(PageVersion { key, generation, last }))
    }

    /// Enters images of one page's content, in the order of their LSNs, to which all that was taken up since the start has come. Answers with how
    /// many are of use: not those of LSNs at which the page has no history of its own, nor those after another image of the same.
    pub fn add_images(&mut self, images: &[KeptImage]) -> usize {
        let Some(page) = images.first().and_then(|image| self.page_id(image.key)) else { return 0 };
        let of_use = |KeptImage { key, lsn, .. }: &KeptImage| {
            let own = |life: Life<'_>| life.key == *key && !life.versions.is_empty();
            *lsn >= self.consistent_lsn && self.life(*key, *lsn).is_ok_and(own)
        };
        let images: Vec<_> = images.iter().filter(|i| of_use(i)).map(|image| (image.lsn, image.number)).collect();
        self.versions.add_images(page, images)
    }

    /// Takes images out that a page has among these: it is made of what is older, as if they had never been. Answers with how many it had.
    pub fn remove_images(&mut self, key: PageKey, images: &Range<ImageNumber>) -> usize {
        self.page_id(key).map_or(0, |page| self.versions.remove_images(page, images))
    }

    /// Counts a page among those that have grown.
    pub fn look_again(&mut self, key: PageKey) {
        if let Some(page) = self.page_id(key) {
            self.versions.look_again(page);
        }
    }

    fn page_id(&self, key: PageKey) -> Option<PageId> {
        self.numbers.get(&key.object).map(|number| (*number, key.block))
    }

    /// Of these pages those that take `pending` records or more at an LSN, in the order of their keys.
    pub fn with_pending(&self, pages: &[PageId], lsn: Lsn, pending: usize) -> Vec<PageKey> {
        let keys =
            pages.iter().map(|(object, block)| PageKey { object: self.objects[*object as usize].0, block: *block });
        let mut keys: Vec<PageKey> = keys.filter(|key| self.has_pending(*key, lsn, pending)).collect();
        keys.sort_unstable();
        keys
    }

    fn has_pending(&self, key: PageKey, lsn: Lsn, pending: usize) -> bool {
        let Ok(Life { key: named, versions, .. }) = self.life(key, lsn) else { return false };
        let newest = versions.iter().rev().take(pending);
        let records = newest.take_while(|version| version.image().is_none());
        // One that makes the page out of nothing is the last that counts.
        let replaces = |version: &&Version| version.effect() == PageEffect::Replace;
        named == key && records.clone().count() == pending && !records.take(pending - 1).any(|v| replaces(&v))
    }

    /// The part of a page's history that counts at an LSN: of the page itself, or of the one that it is an unchanged copy of.
    fn life(&self, mut key: PageKey, mut lsn: Lsn) -> Result<Life<'_>, TrailError> {
        loop {
            let (number, history) = match self.source(key.object, lsn) {
                Source::Nowhere => return Err(TrailError::NoObject),
                Source::Own(number, history) => (number, history),
                Source::Copy(from, at) => {
                    (key.object, lsn) = (in_database(key.object, from), at);
                    continue;
                }
            };
            match history.size(lsn) {
                None => return Err(TrailError::NoObject),
                Some(size) if key.block >= size => return Err(TrailError::Beyond { size }),
                Some(_) => {}
            }
            let (cut, generation) = history.birth(key.block, lsn);
            let all = self.versions.get((number, key.block));
            let up_to = &all[..all.partition_point(|version| version.lsn() <= lsn)];
            let versions = &up_to[up_to.partition_point(|version| version.generation() < generation)..];
            match base_of(key, cut, history) {
                // Nothing happened to the copy: the page is the template's.
                PlanBase::Other(source, at) if versions.is_empty() => (key, lsn) = (source, at),
                _ => return Ok(Life { key, lsn, cut, generation, history, versions }),
            }
        }
    }

    /// A record that needs a page finds none where nothing made one. Before the database is consistent recovery passes over such
    /// records, and a copy of a database made then holds the page without them; after that, the page is unknown.
    fn check_zero_base(&self, key: PageKey, lsn: Lsn, records: &mut Vec<&Version>) -> Result<(), TrailError> {
        while let Some(oldest) = records.last()
            && oldest.effect() == PageEffect::Modify
        {
            if lsn >= self.consistent_lsn {
                return Err(TrailError::NoBase { key, record: oldest.lsn() });
            }
            records.pop();
        }
        Ok(())
    }

    /// Where a small file's content is.
    pub fn blob(&self, name: &str, mut lsn: Lsn) -> BlobPlace {
        let mut name = name.to_owned();
        loop {
            match self.blob_at(&name, lsn) {
                BlobAt::None => return BlobPlace::None,
                BlobAt::Base => return BlobPlace::Base(name),
                BlobAt::Is(content) => return BlobPlace::Is(content),
                BlobAt::CopyOf(from, at) => {
                    let Some((_, file)) = database_of(self.version, &name) else { return BlobPlace::None };
                    (name, lsn) = (name_in(self.version, from, file), at);
                }
            }
        }
    }

    fn blob_at(&self, name: &str, lsn: Lsn) -> BlobAt {
        let own = self.blobs.get(name);
        let seen = own.map_or(0, |blob| blob.seen);
        if let Some((tag, _)) = database_of(self.version, name)
            && let Some(database) = self.database(tag)
            && let Some((at, event)) = database.event_after(seen, lsn)
        {
            return match event {
                DatabaseEvent::Dropped => BlobAt::None,
                DatabaseEvent::CopiedFrom(from) => BlobAt::CopyOf(from, at),
            };
        }
        own.map_or(BlobAt::None, |blob| blob.at(lsn))
    }

    /// The cluster state; `None` if nobody said what it was at the start.
    pub fn cluster(&self, lsn: Lsn) -> Option<ClusterState> {
        self.cluster.at(lsn)
    }
}

/// What the oldest record of a page's life applies to, if it does not make the page.
fn base_of(key: PageKey, cut: Option<Cut>, history: &ObjectHistory) -> PlanBase {
    match cut {
        None if history.base.is_some_and(|blocks| key.block < blocks) => PlanBase::Image(key),
        Some(Cut { lsn, origin: Origin::Copy { from, blocks }, .. }) if key.block < blocks => {
            PlanBase::Other(PageKey { object: in_database(key.object, from), block: key.block }, lsn)
        }
        // The object grew past the block, and nothing was written to it: PostgreSQL has a page of zeros there.
        _ => PlanBase::Zero,
    }
}
