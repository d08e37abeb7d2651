//! Leaves of posting trees: segments, each a compressed posting list, up to `pd_lower`. A record names the segments that change, and how.

use pgdata::Page;

use super::SPECIAL;
use super::data::DATA_START;
use super::opaque::{COMPRESSED, DATA, LEAF, Opaque};
use super::posting::{PostingList, TID, Tid, merge, pack};
use crate::native::cursor::Cursor;
use crate::native::fault::Fault;
use crate::native::page::PageView;

const DELETE: u8 = 1;
const INSERT: u8 = 2;
const REPLACE: u8 = 3;
const ADD_ITEMS: u8 = 4;

/// What happens to a segment.
enum Action<'a> {
    /// It goes.
    Delete,
    /// A new one comes before it.
    Insert(PostingList<'a>),
    /// Another one takes its place.
    Replace(PostingList<'a>),
    /// It is packed anew, with more heap tuples.
    AddItems(&'a [[u8; TID]]),
}

impl<'a> Action<'a> {
    fn read(record: &mut Cursor<'a>) -> Result<Action<'a>, Fault> {
        Ok(match record.u8()? {
            DELETE => Action::Delete,
            INSERT => Action::Insert(PostingList::read(record)?),
            REPLACE => Action::Replace(PostingList::read(record)?),
            ADD_ITEMS => {
                let count = usize::from(record.u16()?);
                Action::AddItems(record.bytes(count * TID)?.as_chunks().0)
            }
            other => return Err(Fault::Value { what: "action on a segment", value: other.into() }),
        })
    }
}

/// `ginRedoRecompress`. The record's `ginxlogRecompressDataLeaf` is the number of actions, and for each a segment's number and the action;
/// the numbers are of the segments before any action, and rise.
pub(super) fn recompress(page: &mut PageView<'_>, mut record: Cursor<'_>, scratch: &mut Page) -> Result<(), Fault> {
    let opaque = Opaque::of(page)?.expect(DATA | LEAF, DATA | LEAF)?;
    if opaque.flags & COMPRESSED == 0 {
        compress(page, opaque, scratch)?;
    }
    let end = page.lower();
    if !(DATA_START..=SPECIAL).contains(&end) {
        return Err(Fault::PageValue { what: "end of the posting lists", value: end as u64 });
    }
    let count = record.u16()?;
    // PostgreSQL writes records with something to do, and redo of one without would empty the page.
    if count == 0 {
        return Err(Fault::Value { what: "number of actions", value: 0 });
    }
    let [first] = record.ahead()?;
    let mut rewrite = Rewrite::from_segment(page.bytes_mut(), end, first, scratch)?;
    for _ in 0..count {
        let segment = record.u8()?;
        rewrite.keep_up_to(segment)?;
        rewrite.apply(Action::read(&mut record)?)?;
    }
    record.end()?;
    let end = rewrite.finish()?;
    page.set_lower(end);
    Ok(())
}

/// A leaf from before 9.4, of an index that `pg_upgrade` has brought here: its heap tuples are an array, and become one segment.
fn compress(page: &mut PageView<'_>, opaque: Opaque, scratch: &mut Page) -> Result<(), Fault> {
    let length = TID * usize::from(opaque.count);
    let Some(array) = page.bytes()[DATA_START..SPECIAL].get(..length) else {
        return Err(Fault::PageValue { what: "number of heap tuples", value: opaque.count.into() });
    };
    let copy = &mut scratch[..length];
    copy.copy_from_slice(array);
    let tids = copy.as_chunks().0.iter().map(Tid::read);
    let size = if length == 0 { 0 } else { pack(tids, &mut page.bytes_mut()[DATA_START..SPECIAL])? };
    page.set_lower(DATA_START + size);
    Opaque { count: 0, flags: opaque.flags | COMPRESSED, ..opaque }.put(page)
}

/// A leaf being written anew from a segment on.
struct Rewrite<'p> {
    page: &'p mut Page,
    /// Where the next segment goes.
    write: usize,
    /// A copy of the old segments that are still to come.
    old: &'p [u8],
    /// The number of the first of these.
    segment: u16,
}

impl<'p> Rewrite<'p> {
    /// Leaves the segments before number `first` as they are.
    fn from_segment(page: &'p mut Page, end: usize, first: u8, copy: &'p mut Page) -> Result<Rewrite<'p>, Fault> {
        let mut rest = &page[DATA_START..end];
        for number in 0..first {
            (_, rest) = split_segment(rest, number.into())?;
        }
        let write = end - rest.len();
        copy[write..end].copy_from_slice(rest);
        Ok(Rewrite { page, write, old: &copy[write..end], segment: first.into() })
    }

    fn keep_up_to(&mut self, number: u8) -> Result<(), Fault> {
        let number = u16::from(number);
        if number < self.segment {
            return Err(Fault::Value { what: "segment number, which should rise,", value: number.into() });
        }
        while self.segment < number {
            let segment = self.next()?;
            self.put(segment.bytes())?;
        }
        Ok(())
    }

    fn apply(&mut self, action: Action<'_>) -> Result<(), Fault> {
        match action {
            Action::Delete => self.next().map(|_| ()),
            Action::Insert(new) => self.put(new.bytes()),
            Action::Replace(new) => {
                self.next()?;
                self.put(new.bytes())
            }
            Action::AddItems(items) => {
                let old = self.next()?;
                let all = merge(items.iter().map(Tid::read), old.tids());
                self.write += pack(all, &mut self.page[self.write..SPECIAL])?;
                Ok(())
            }
        }
    }

    /// The next old segment.
    fn next(&mut self) -> Result<PostingList<'p>, Fault> {
        let (segment, rest) = split_segment(self.old, self.segment)?;
        self.old = rest;
        self.segment += 1;
        Ok(segment)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let Some(room) = self.page[self.write..SPECIAL].get_mut(..bytes.len()) else {
            return Err(Fault::NoRoom { needed: bytes.len(), lower: self.write, upper: SPECIAL });
        };
        room.copy_from_slice(bytes);
        self.write += bytes.len();
        Ok(())
    }

    /// Keeps the old segments behind the last action; answers with the end of all.
    fn finish(mut self) -> Result<usize, Fault> {
        self.put(self.old)?;
        Ok(self.write)
    }
}

fn split_segment(bytes: &[u8], number: u16) -> Result<(PostingList<'_>, &[u8]), Fault> {
    PostingList::split_from(bytes).ok_or(Fault::NoSegment(number))
}
