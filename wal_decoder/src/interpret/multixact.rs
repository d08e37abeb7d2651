//! Multixacts (`access/multixact.h`), as the newest minor release of each version replays them.

use pgdata::slru::{
    MAX_MEMBERS_PAGE, MEMBERS_PER_PAGE, OFFSETS_PER_PAGE, member_position, offset_position, xid_precedes,
};
use pgdata::{Change, Object, PageEffect, PageKey, SlruKind, SlruSegment};

use super::payload::{Payload, operation, unknown_operation};
use super::push_page;
use super::slru::{ZERO_MEMBERS_PAGE, ZERO_PAGE, push_truncation, push_zero_page, slru_zero_page};
use super::state::Tracker;
use crate::rmgr::RM_MULTIXACT_ID;
use crate::{Record, RecordError};

const CREATE_ID: u8 = 0x20;
const TRUNCATE_ID: u8 = 0x30;

/// The first multixact id (`FirstMultiXactId`); 0 is none.
const FIRST_MULTI: u32 = 1;
/// Bytes of a member in a record: its transaction id and its status.
const MEMBER_SIZE: usize = 8;

/// A transaction in a multixact.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MultiXactMember {
    /// The transaction.
    pub xid: u32,
    /// What it does with the tuple (`MultiXactStatus`).
    pub status: u8,
}

/// A new multixact (`xl_multixact_create`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MultiXactCreate {
    /// Its id.
    pub multi: u32,
    /// The number of its first member.
    pub offset: u32,
    /// Its members.
    pub members: Vec<MultiXactMember>,
}

impl MultiXactCreate {
    /// Reads a record; `None` if it is another kind of record.
    ///
    /// # Errors
    /// [`RecordError`] if it is too short or a member's status does not exist.
    pub fn parse(record: &Record<'_>) -> Result<Option<MultiXactCreate>, RecordError> {
        if record.rmid != RM_MULTIXACT_ID || operation(record) != CREATE_ID {
            return Ok(None);
        }
        let mut payload = Payload::new(record);
        let (multi, offset) = (payload.u32("the multixact")?, payload.u32("its first member's number")?);
        let count = payload.count("the number of members")?;
        let bytes = payload.items(count, MEMBER_SIZE, "the members")?;
        let mut members = Vec::with_capacity(count);
        for member in bytes.as_chunks::<MEMBER_SIZE>().0 {
            let [a, b, c, d, status @ ..] = *member;
            let status = u32::from_le_bytes(status);
            let status = u8::try_from(status).ok().filter(|status| *status <= STATUS_UPDATE);
            let status = status.ok_or_else(|| payload.error("a member's status does not exist"))?;
            members.push(MultiXactMember { xid: u32::from_le_bytes([a, b, c, d]), status });
        }
        Ok(Some(MultiXactCreate { multi, offset, members }))
    }

    /// The multixact after this one, whose first member's number redo writes as well.
    #[must_use]
    pub fn next_multi(&self) -> u32 {
        self.multi.wrapping_add(1).max(FIRST_MULTI)
    }

    /// The number of that multixact's first member; 0 is left out.
    #[must_use]
    pub fn next_offset(&self) -> u32 {
        self.end().max(1)
    }

    fn end(&self) -> u32 {
        self.offset.wrapping_add(self.members.len() as u32)
    }

    /// The numbers of the members, each with its member.
    pub fn numbered(&self) -> impl Iterator<Item = (u32, MultiXactMember)> + '_ {
        (0_u32..).zip(&self.members).map(|(index, member)| (self.offset.wrapping_add(index), *member))
    }
}

/// `MultiXactStatusUpdate`, the last one.
const STATUS_UPDATE: u8 = 5;

/// Which pages of `pg_multixact/offsets` were made during this replay: what `last_initialized_offsets_page` and
/// `pre_initialized_offsets_page` are in PostgreSQL.
///
/// Older minor releases log a zero page only when its first multixact is made. Redo, which writes the *next* multixact's entry too,
/// then makes the page already with the last multixact of the page before, and must not make it again when the zero page comes.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct OffsetsPages {
    last: Option<u32>,
    made_early: Option<u32>,
}

impl OffsetsPages {
    /// A multixact's entry is written on `page`, the next one's on `next`.
    fn created(&mut self, page: u32, next: u32) {
        self.made_early = None;
        // Before the first zero page of this replay PostgreSQL looks whether the file has the page. That need not be known here: if
        // it has, no zero page follows for it, and if it has not, the page is made now.
        if next != page && self.last.is_none_or(|last| last == page) {
            self.made_early = Some(next);
            self.last = Some(next);
        }
    }

    /// A zero page is to be made; whether it is.
    fn zeroed(&mut self, page: u32) -> bool {
        if self.made_early.take() == Some(page) {
            return false;
        }
        self.last = Some(page);
        true
    }
}

pub(super) fn changes(
    record: &Record<'_>,
    tracker: &mut Tracker,
    offsets: &mut OffsetsPages,
    out: &mut Vec<Change>,
) -> Result<(), RecordError> {
    match operation(record) {
        ZERO_PAGE => {
            let page = slru_zero_page(record)?.map_or(0, page_of);
            if offsets.zeroed(page) { push_zero_page(record, out) } else { Ok(()) }
        }
        ZERO_MEMBERS_PAGE => push_zero_page(record, out),
        CREATE_ID => {
            if let Some(create) = MultiXactCreate::parse(record)? {
                create_changes(record.xid, &create, tracker, offsets, out);
            }
            Ok(())
        }
        TRUNCATE_ID => truncate_changes(record, tracker, out),
        _ => unknown_operation(record),
    }
}

fn page_of(key: PageKey) -> u32 {
    match key.object {
        Object::Slru(segment) => segment.segno * SlruKind::PAGES_PER_SEGMENT + key.block,
        Object::Relation(_) => key.block,
    }
}

/// `RecordNewMultiXact` and what `multixact_redo` does after it.
fn create_changes(
    xid: u32,
    create: &MultiXactCreate,
    tracker: &mut Tracker,
    offsets: &mut OffsetsPages,
    out: &mut Vec<Change>,
) {
    let (page, next_page) = (offset_position(create.multi).0, offset_position(create.next_multi()).0);
    offsets.created(page, next_page);
    push_page(out, PageKey::slru(SlruKind::MultiXactOffsets, page), PageEffect::Modify);
    if next_page != page {
        push_page(out, PageKey::slru(SlruKind::MultiXactOffsets, next_page), PageEffect::ModifyOrExtend);
    }
    let mut last = None;
    let mut newest = xid;
    for (number, member) in create.numbered() {
        let page = member_position(number).page;
        if last != Some(page) {
            push_page(out, PageKey::slru(SlruKind::MultiXactMembers, page), PageEffect::Modify);
            last = Some(page);
        }
        if xid_precedes(newest, member.xid) {
            newest = member.xid;
        }
    }
    tracker.advance_multi(create.multi.wrapping_add(1), create.end());
    tracker.advance_past(newest);
}

/// `xl_multixact_truncate`: database, offsets from and to, members from and to.
fn truncate_changes(record: &Record<'_>, tracker: &mut Tracker, out: &mut Vec<Change>) -> Result<(), RecordError> {
    let mut payload = Payload::new(record);
    let database = payload.u32("the database")?;
    let (_, oldest_multi) = (payload.u32("the first multixact")?, payload.u32("the oldest multixact")?);
    let (first_member, oldest_member) = (payload.u32("the first member")?, payload.u32("the oldest member")?);
    tracker.edit(|state| {
        state.counters.oldest_multi = oldest_multi;
        state.counters.oldest_multi_db = database;
    });
    push_dropped_members(first_member, oldest_member, out);
    let before_oldest = if oldest_multi == FIRST_MULTI { u32::MAX } else { oldest_multi.wrapping_sub(1) };
    let in_use = tracker.counters().next_multi / OFFSETS_PER_PAGE;
    push_truncation(SlruKind::MultiXactOffsets, in_use, offset_position(before_oldest).0, out);
    Ok(())
}

/// `PerformMembersTruncation`: all segments before the one that has the oldest member, around the end of the numbers.
fn push_dropped_members(first: u32, oldest: u32, out: &mut Vec<Change>) {
    const LAST_SEGMENT: u32 = MAX_MEMBERS_PAGE / SlruKind::PAGES_PER_SEGMENT;
    let segment_of = |member: u32| member / MEMBERS_PER_PAGE / SlruKind::PAGES_PER_SEGMENT;
    let (mut segno, end) = (segment_of(first), segment_of(oldest));
    while segno != end {
        out.push(Change::Drop(Object::Slru(SlruSegment { kind: SlruKind::MultiXactMembers, segno })));
        segno = if segno == LAST_SEGMENT { 0 } else { segno + 1 };
    }
}
