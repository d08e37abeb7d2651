//! Records about pages of `pg_xact` and `pg_commit_ts`, and what the records about all SLRUs have in common.

use pgdata::slru::{CLOG_XACTS_PER_PAGE, COMMIT_TS_XACTS_PER_PAGE, MAX_MEMBERS_PAGE, OFFSETS_PER_PAGE, xid_precedes};
use pgdata::{Change, PageEffect, PageKey, PgVersion, SlruKind};

use super::payload::{Payload, operation, unknown_operation};
use super::push_page;
use super::state::Tracker;
use crate::rmgr::{RM_CLOG_ID, RM_COMMIT_TS_ID, RM_MULTIXACT_ID};
use crate::{Record, RecordError};

/// `CLOG_ZEROPAGE`, `COMMIT_TS_ZEROPAGE`, `XLOG_MULTIXACT_ZERO_OFF_PAGE`.
pub(super) const ZERO_PAGE: u8 = 0x00;
/// `CLOG_TRUNCATE`, `COMMIT_TS_TRUNCATE`.
const TRUNCATE: u8 = 0x10;
/// `XLOG_MULTIXACT_ZERO_MEM_PAGE`.
pub(super) const ZERO_MEMBERS_PAGE: u8 = 0x10;

/// The page that a record makes anew, all zeros; `None` if the record does something else.
///
/// # Errors
/// [`RecordError`] if the record is too short or the page's number is beyond the SLRU.
pub fn slru_zero_page(record: &Record<'_>) -> Result<Option<PageKey>, RecordError> {
    let kind = match (record.rmid, operation(record)) {
        (RM_CLOG_ID, ZERO_PAGE) => SlruKind::Clog,
        (RM_COMMIT_TS_ID, ZERO_PAGE) => SlruKind::CommitTs,
        (RM_MULTIXACT_ID, ZERO_PAGE) => SlruKind::MultiXactOffsets,
        (RM_MULTIXACT_ID, ZERO_MEMBERS_PAGE) => SlruKind::MultiXactMembers,
        _ => return Ok(None),
    };
    let page = page_number(&mut Payload::new(record), record.version, kind)?;
    Ok(Some(PageKey::slru(kind, page)))
}

/// A page's number: `int` up to 16, `int64` from 17 on.
fn page_number(payload: &mut Payload<'_, '_>, version: PgVersion, kind: SlruKind) -> Result<u32, RecordError> {
    let what = "the page's number";
    let number = if version >= PgVersion::V17 { payload.i64(what)? } else { i64::from(payload.i32(what)?) };
    let page = u32::try_from(number).ok().filter(|page| *page <= last_page(kind));
    page.ok_or_else(|| payload.error(format!("{} has no page {number}", kind.directory())))
}

/// The page of the last number that there is.
fn last_page(kind: SlruKind) -> u32 {
    match kind {
        SlruKind::Clog => u32::MAX / CLOG_XACTS_PER_PAGE,
        SlruKind::CommitTs => u32::MAX / COMMIT_TS_XACTS_PER_PAGE,
        SlruKind::MultiXactOffsets => u32::MAX / OFFSETS_PER_PAGE,
        SlruKind::MultiXactMembers => MAX_MEMBERS_PAGE,
    }
}

pub(super) fn push_zero_page(record: &Record<'_>, out: &mut Vec<Change>) -> Result<(), RecordError> {
    if let Some(key) = slru_zero_page(record)? {
        push_page(out, key, PageEffect::Replace);
    }
    Ok(())
}

/// `SimpleLruTruncate` with its guard: nothing is removed if the page in use now would be, too.
pub(super) fn push_truncation(kind: SlruKind, page_in_use: u32, cutoff_page: u32, out: &mut Vec<Change>) {
    if !kind.page_precedes(page_in_use, cutoff_page) {
        out.push(Change::TruncateSlru { kind, cutoff_page });
    }
}

pub(super) fn clog_changes(
    record: &Record<'_>,
    tracker: &mut Tracker,
    out: &mut Vec<Change>,
) -> Result<(), RecordError> {
    match operation(record) {
        ZERO_PAGE => push_zero_page(record, out),
        TRUNCATE => {
            let mut payload = Payload::new(record);
            let cutoff = page_number(&mut payload, record.version, SlruKind::Clog)?;
            let (oldest, database) = (payload.u32("the oldest transaction")?, payload.u32("its database")?);
            // The primary's next step; redo waits for the next checkpoint, but what this LSN's own checkpoint would say is this.
            if xid_precedes(tracker.counters().oldest_xid, oldest) {
                tracker.edit(|state| {
                    state.counters.oldest_xid = oldest;
                    state.counters.oldest_xid_db = database;
                });
            }
            let in_use = tracker.counters().next_xid as u32 / CLOG_XACTS_PER_PAGE;
            push_truncation(SlruKind::Clog, in_use, cutoff, out);
            Ok(())
        }
        _ => unknown_operation(record),
    }
}

pub(super) fn commit_ts_changes(
    record: &Record<'_>,
    tracker: &mut Tracker,
    out: &mut Vec<Change>,
) -> Result<(), RecordError> {
    match operation(record) {
        ZERO_PAGE => push_zero_page(record, out),
        TRUNCATE => {
            let mut payload = Payload::new(record);
            let cutoff = page_number(&mut payload, record.version, SlruKind::CommitTs)?;
            let oldest = payload.u32("the oldest transaction")?;
            let known = tracker.counters().oldest_commit_ts_xid;
            if known != 0 && xid_precedes(known, oldest) {
                tracker.edit(|state| state.counters.oldest_commit_ts_xid = oldest);
            }
            // commit_ts_redo puts the cutoff itself in the place of the page in use: the guard never holds.
            push_truncation(SlruKind::CommitTs, cutoff, cutoff, out);
            Ok(())
        }
        _ => unknown_operation(record),
    }
}
