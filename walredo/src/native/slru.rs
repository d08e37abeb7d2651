//! Pages of SLRUs (`access/transam/{clog,commit_ts,multixact}.c`). They have no LSN: every record is applied.

use pgdata::slru::{clog_position, commit_ts_position, member_position, offset_position};
use pgdata::{Object, Page, PageKey, SlruKind};
use wal_decoder::rmgr::RM_XLOG_ID;
use wal_decoder::{MultiXactCreate, XactEnd, XactStatus, slru_zero_page};

use super::step::Step;
use crate::RedoError;

/// `XLOG_PARAMETER_CHANGE`, which makes the first page of commit timestamps if it is not there.
const PARAMETER_CHANGE: u8 = 0x60;

/// Applies one record to a page of an SLRU.
pub(crate) fn apply(step: &Step<'_, '_>, page: &mut Page) -> Result<(), RedoError> {
    let Object::Slru(segment) = step.key.object else { return Err(step.not_applicable()) };
    if slru_zero_page(step.record).map_err(|error| step.bad_record(error))? == Some(step.key) {
        page.fill(0);
        return Ok(());
    }
    let applied = match segment.kind {
        SlruKind::Clog => clog(step, page)?,
        SlruKind::CommitTs => commit_ts(step, page)?,
        SlruKind::MultiXactOffsets => offsets(step, page)?,
        SlruKind::MultiXactMembers => members(step, page)?,
    };
    if applied { Ok(()) } else { Err(step.not_applicable()) }
}

fn is_on(step: &Step<'_, '_>, kind: SlruKind, page: u32) -> bool {
    PageKey::slru(kind, page) == step.key
}

fn xact_end(step: &Step<'_, '_>) -> Result<Option<XactEnd>, RedoError> {
    XactEnd::parse(step.record).map_err(|error| step.bad_record(error))
}

fn multixact(step: &Step<'_, '_>) -> Result<Option<MultiXactCreate>, RedoError> {
    MultiXactCreate::parse(step.record).map_err(|error| step.bad_record(error))
}

/// `TransactionIdSetTreeStatus`. That subtransactions pass through "sub-committed" leaves no trace.
fn clog(step: &Step<'_, '_>, page: &mut Page) -> Result<bool, RedoError> {
    let Some(end) = xact_end(step)? else { return Ok(false) };
    step.need_base()?;
    let status: u8 = match end.status {
        XactStatus::Committed => 1,
        XactStatus::Aborted => 2,
    };
    let mut applied = false;
    for at in end.xids().map(clog_position).filter(|at| is_on(step, SlruKind::Clog, at.page)) {
        page[at.byte] = page[at.byte] & !(3 << at.shift) | status << at.shift;
        applied = true;
    }
    Ok(applied)
}

/// `TransactionTreeSetCommitTsData`: the same time and origin for the transaction and its subtransactions.
fn commit_ts(step: &Step<'_, '_>, page: &mut Page) -> Result<bool, RedoError> {
    if step.record.rmid == RM_XLOG_ID && step.record.info & 0xF0 == PARAMETER_CHANGE {
        return Ok(true);
    }
    let Some(end) = xact_end(step)? else { return Ok(false) };
    if end.status != XactStatus::Committed {
        return Ok(false);
    }
    step.need_base()?;
    let mut applied = false;
    for (number, byte) in end.xids().map(commit_ts_position) {
        if is_on(step, SlruKind::CommitTs, number) {
            page[byte..byte + 8].copy_from_slice(&end.timestamp.to_le_bytes());
            page[byte + 8..byte + 10].copy_from_slice(&end.origin.to_le_bytes());
            applied = true;
        }
    }
    Ok(applied)
}

/// `RecordNewMultiXact`: the multixact's own entry and the next one's. Only a page that is there for the next one alone may be new.
fn offsets(step: &Step<'_, '_>, page: &mut Page) -> Result<bool, RedoError> {
    let Some(create) = multixact(step)? else { return Ok(false) };
    let own = offset_position(create.multi);
    if is_on(step, SlruKind::MultiXactOffsets, own.0) {
        step.need_base()?;
    }
    let next = offset_position(create.next_multi());
    let mut applied = false;
    for ((number, byte), value) in [(own, create.offset), (next, create.next_offset())] {
        if is_on(step, SlruKind::MultiXactOffsets, number) {
            page[byte..byte + 4].copy_from_slice(&value.to_le_bytes());
            applied = true;
        }
    }
    Ok(applied)
}

fn members(step: &Step<'_, '_>, page: &mut Page) -> Result<bool, RedoError> {
    let Some(create) = multixact(step)? else { return Ok(false) };
    step.need_base()?;
    let mut applied = false;
    for (number, member) in create.numbered() {
        let at = member_position(number);
        if is_on(step, SlruKind::MultiXactMembers, at.page) {
            page[at.flags_byte] = member.status;
            page[at.xid_byte..at.xid_byte + 4].copy_from_slice(&member.xid.to_le_bytes());
            applied = true;
        }
    }
    Ok(applied)
}
