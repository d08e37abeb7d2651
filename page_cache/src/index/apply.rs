//! Taking up the changes of records, in their order.

use pgdata::{Change, DbTag, Lsn, Object, PageEffect, PageKey, SlruKind, SlruSegment};

use super::blob::{database_of, name_in};
use super::read::BlobPlace;
use super::version::{RecordPlace, Version};
use super::{DatabaseEvent, Index, ObjectHistory};
use crate::layer::max_blocks;

/// A change that cannot be, given what was before. The timeline cannot go on after it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IngestFault {
    /// A record changes a page that is not there, though the database is consistent.
    #[error("the record at {lsn} changes page {key}, which is not there: {}", describe(*size))]
    MissingPage {
        /// The record's LSN.
        lsn: Lsn,
        /// The page.
        key: PageKey,
        /// The object's size; `None` if it does not exist.
        size: Option<u32>,
    },
    /// A block number that no such object can have.
    #[error("the record at {lsn} names page {key}, but no such object is that long")]
    BlockNumber {
        /// The record's LSN.
        lsn: Lsn,
        /// The page.
        key: PageKey,
    },
    /// A record's position and length that no record has.
    #[error("the record from {start} to {lsn} cannot have {len} bytes")]
    RecordLength {
        /// Where it starts.
        start: Lsn,
        /// Its LSN.
        lsn: Lsn,
        /// Its length.
        len: usize,
    },
    /// A database copied in a record that changes its template as well, or onto itself, or twice: what the copy holds would
    /// depend on an order that nothing keeps.
    #[error("the record at {lsn} copies database {from} to {to} and changes one of them in another way too")]
    AmbiguousCopy {
        /// The record's LSN.
        lsn: Lsn,
        /// The template.
        from: DbTag,
        /// The new database.
        to: DbTag,
    },
}

fn describe(size: Option<u32>) -> String {
    size.map_or("the object does not exist".to_owned(), |blocks| format!("the object has {blocks} blocks"))
}

impl Index {
    /// Takes up one record. On an error part of it may have been taken up: nothing at its LSN may be read then.
    pub fn apply(&mut self, place: RecordPlace, changes: &[Change]) -> Result<(), IngestFault> {
        check_copies(place.lsn, changes)?;
        for change in changes {
            self.apply_one(place, change)?;
        }
        Ok(())
    }

    fn apply_one(&mut self, place: RecordPlace, change: &Change) -> Result<(), IngestFault> {
        let lsn = place.lsn;
        match *change {
            Change::Page { key, effect } => self.apply_page(place, key, effect)?,
            Change::Create(object) => self.touch(object).grow(lsn, 0),
            Change::Truncate { object, blocks } => self.touch(object).truncate(lsn, blocks),
            Change::Drop(object) => self.touch(object).end(lsn),
            Change::TruncateSlru { kind, cutoff_page } => {
                self.end_slru_segments(lsn, kind, |segno| kind.segment_is_before(segno, cutoff_page));
            }
            Change::DropSlru(kind) => self.end_slru_segments(lsn, kind, |_| true),
            Change::CopyDatabase { from, to } => self.database_event(lsn, to, DatabaseEvent::CopiedFrom(from)),
            Change::DropDatabase(tag) => self.database_event(lsn, tag, DatabaseEvent::Dropped),
            Change::Blob { ref name, ref content } => self.touch_blob(name, |blob| blob.set(lsn, content)),
            Change::RemoveBlob { ref name } => self.touch_blob(name, |blob| blob.end(lsn)),
            Change::Cluster(ref state) => self.cluster.set(lsn, state.clone()),
            Change::NextXid(next_xid) => self.cluster.set_next_xid(lsn, next_xid),
            Change::NextMulti { multi, offset } => self.cluster.set_next_multi(lsn, multi, offset),
        }
        Ok(())
    }

    fn apply_page(&mut self, place: RecordPlace, key: PageKey, effect: PageEffect) -> Result<(), IngestFault> {
        let lsn = place.lsn;
        if key.block >= max_blocks(key.object) {
            return Err(IngestFault::BlockNumber { lsn, key });
        }
        let consistent = self.consistent_lsn;
        let number = self.touch_number(key.object);
        let history = &mut self.objects[number as usize].1;
        let size = history.newest_size();
        if size.is_none_or(|size| key.block >= size) {
            match effect {
                PageEffect::Replace | PageEffect::ModifyOrExtend => history.grow(lsn, key.block + 1),
                PageEffect::ModifyIfPresent => return Ok(()),
                PageEffect::Modify if lsn > consistent => return Err(IngestFault::MissingPage { lsn, key, size }),
                PageEffect::Modify => {
                    // As recovery does: the file is made if need be, and the record is passed over.
                    history.grow(lsn, 0);
                    return Ok(());
                }
            }
        }
        let generation = history.generation();
        let wrong = IngestFault::RecordLength { start: place.start, lsn, len: place.len as usize };
        let version = Version::new(place, effect, generation).ok_or(wrong)?;
        self.versions.push((number, key.block), version);
        Ok(())
    }

    /// The history of an object, after it has taken up what happened to its database.
    pub(super) fn touch(&mut self, object: Object) -> &mut ObjectHistory {
        let number = self.touch_number(object);
        &mut self.objects[number as usize].1
    }

    /// As [`Index::touch`]; answers with the object's number.
    fn touch_number(&mut self, object: Object) -> u32 {
        let interned = self.intern(object, None);
        let number = interned as usize;
        match object {
            // Nothing is newer than what was looked at when nothing had happened since: so it is nearly always, and then this is one comparison.
            Object::Relation(_) if self.objects[number].1.events_then == self.events => {}
            Object::Relation(rel) => {
                while let Some((at, event)) = self.next_event(number) {
                    let copied = match event {
                        DatabaseEvent::Dropped => None,
                        DatabaseEvent::CopiedFrom(from) => {
                            let source = Object::Relation(pgdata::RelTag { spc: from.spc, db: from.db, ..rel });
                            self.size(source, at).map(|blocks| (from, blocks))
                        }
                    };
                    let history = &mut self.objects[number].1;
                    match copied {
                        Some((from, blocks)) => history.become_copy(at, from, blocks),
                        None => history.end(at),
                    }
                    history.seen += 1;
                }
                self.objects[number].1.events_then = self.events;
            }
            // One that exists was entered when it came into being.
            Object::Slru(segment) => {
                if self.objects[number].1.newest_size().is_none() {
                    self.slru_segments.insert(segment);
                }
            }
        }
        interned
    }

    fn next_event(&self, number: usize) -> Option<(Lsn, DatabaseEvent)> {
        let history = &self.objects[number].1;
        self.databases[history.database? as usize].events.get(history.seen).copied()
    }

    fn touch_blob(&mut self, name: &str, change: impl FnOnce(&mut super::BlobHistory)) {
        self.intern_blob(name, false);
        while let Some((at, event)) = self.next_blob_event(name) {
            let source = match (event, database_of(self.version, name)) {
                (DatabaseEvent::CopiedFrom(from), Some((_, file))) => {
                    let there = !matches!(self.blob(&name_in(self.version, from, file), at), BlobPlace::None);
                    there.then_some(from)
                }
                _ => None,
            };
            let blob = self.blobs.get_mut(name).expect("it was interned above");
            match source {
                Some(from) => blob.become_copy(at, from),
                None => blob.end(at),
            }
            blob.seen += 1;
        }
        change(self.blobs.get_mut(name).expect("it was interned above"));
    }

    fn next_blob_event(&self, name: &str) -> Option<(Lsn, DatabaseEvent)> {
        let blob = &self.blobs[name];
        self.databases[blob.database? as usize].events.get(blob.seen).copied()
    }

    fn database_event(&mut self, lsn: Lsn, tag: DbTag, event: DatabaseEvent) {
        let number = self.database_number(tag);
        self.databases[number as usize].events.push((lsn, event));
        self.events += 1;
    }

    fn end_slru_segments(&mut self, lsn: Lsn, kind: SlruKind, gone: impl Fn(u32) -> bool) {
        let range = SlruSegment { kind, segno: 0 }..=SlruSegment { kind, segno: u32::MAX };
        let segments: Vec<_> = self.slru_segments.range(range).copied().filter(|s| gone(s.segno)).collect();
        for segment in segments {
            self.touch(segment.into()).end(lsn);
            self.slru_segments.remove(&segment);
        }
    }
}

/// A copy takes what its template is at the record's LSN. That has one meaning only if the record does nothing else to it.
fn check_copies(lsn: Lsn, changes: &[Change]) -> Result<(), IngestFault> {
    for (at, change) in changes.iter().enumerate() {
        let Change::CopyDatabase { from, to } = change else { continue };
        let others = changes[..at].iter().chain(&changes[at + 1..]);
        let mut touched = others.filter_map(database_touched);
        if from == to || touched.any(|(tag, whole)| tag == *from || (whole && tag == *to)) {
            return Err(IngestFault::AmbiguousCopy { lsn, from: *from, to: *to });
        }
        if changes[at + 1..].iter().any(|other| matches!(other, Change::CopyDatabase { .. })) {
            return Err(IngestFault::AmbiguousCopy { lsn, from: *from, to: *to });
        }
    }
    Ok(())
}

/// The database that a change is about, and whether it is about all of it.
fn database_touched(change: &Change) -> Option<(DbTag, bool)> {
    let of = |object: &Object| match object {
        Object::Relation(rel) => Some((rel.database(), false)),
        Object::Slru(_) => None,
    };
    match change {
        Change::Page { key, .. } => of(&key.object),
        Change::Create(object) | Change::Truncate { object, .. } | Change::Drop(object) => of(object),
        Change::DropDatabase(tag) => Some((*tag, true)),
        Change::CopyDatabase { to, .. } => Some((*to, true)),
        _ => None,
    }
}
