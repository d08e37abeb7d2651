//! Questions about one object, page or small file at an LSN.

use std::sync::Arc;

use pgdata::{ClusterState, DbTag, Lsn, Object, PageEffect, PageKey, RelTag};

use super::blob::{BlobAt, database_of, name_in};
use super::object::{Cut, ObjectHistory, Origin};
use super::version::{RecordPlace, Version};
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
    /// Another page at an earlier LSN.
    Other(PageKey, Lsn),
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
    pub fn trail(&self, mut key: PageKey, mut lsn: Lsn) -> Result<Trail, TrailError> {
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
            let trail = self.own_trail(key, lsn, number, history)?;
            match trail.base {
                // Nothing happened to the copy: the page is the template's.
                PlanBase::Other(source, at) if trail.records.is_empty() => (key, lsn) = (source, at),
                _ => return Ok(trail),
            }
        }
    }

    fn own_trail(&self, key: PageKey, lsn: Lsn, number: u32, history: &ObjectHistory) -> Result<Trail, TrailError> {
        let (cut, oldest_generation) = history.birth(key.block, lsn);
        let all = self.versions.get((number, key.block));
        let versions = &all[..all.partition_point(|version| version.lsn() <= lsn)];
        let alive = versions.iter().rev().take_while(|version| version.generation >= oldest_generation);
        let mut records: Vec<&Version> = Vec::new();
        for version in alive {
            records.push(version);
            if version.effect() == PageEffect::Replace {
                return Ok(trail(key, PlanBase::Replaced, &records));
            }
        }
        let base = base_of(key, cut, history);
        if base == PlanBase::Zero {
            self.check_zero_base(key, lsn, &mut records)?;
        }
        Ok(trail(key, base, &records))
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

fn trail(key: PageKey, base: PlanBase, newest_first: &[&Version]) -> Trail {
    Trail { key, base, records: newest_first.iter().rev().map(|version| version.place()).collect() }
}
