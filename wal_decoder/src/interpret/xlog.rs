//! Records of the WAL itself: checkpoints, settings, counters and page images (`catalog/pg_control.h`, `access/xlog_internal.h`).

use pgdata::slru::{commit_ts_position, multi_precedes, xid_precedes};
use pgdata::{Change, CheckPoint, ClusterState, PageEffect, PageKey, PgVersion, SlruKind};

use super::payload::{Payload, operation, unknown_operation};
use super::push_page;
use super::state::Tracker;
use crate::rmgr::{RM_XLOG_ID, XLOG_OVERWRITE_CONTRECORD, XLOG_SWITCH};
use crate::{Record, RecordError};

const CHECKPOINT_SHUTDOWN: u8 = 0x00;
const CHECKPOINT_ONLINE: u8 = 0x10;
const NOOP: u8 = 0x20;
const NEXTOID: u8 = 0x30;
const BACKUP_END: u8 = 0x50;
const PARAMETER_CHANGE: u8 = 0x60;
const RESTORE_POINT: u8 = 0x70;
const FPW_CHANGE: u8 = 0x80;
const END_OF_RECOVERY: u8 = 0x90;
const FPI_FOR_HINT: u8 = 0xA0;
const FPI: u8 = 0xB0;
/// From 17 on.
const CHECKPOINT_REDO: u8 = 0xE0;

/// Whether the record is nothing but images.
pub(super) fn is_image(record: &Record<'_>) -> bool {
    record.rmid == RM_XLOG_ID && matches!(operation(record), FPI | FPI_FOR_HINT)
}

/// Whether blocks of such a record may have no image, and nothing happens to them then.
pub(super) fn may_lack_image(record: &Record<'_>) -> bool {
    operation(record) == FPI_FOR_HINT
}

pub(super) fn changes(record: &Record<'_>, tracker: &mut Tracker, out: &mut Vec<Change>) -> Result<(), RecordError> {
    let mut payload = Payload::new(record);
    match operation(record) {
        CHECKPOINT_SHUTDOWN => shutdown_checkpoint(checkpoint(record, &mut payload)?, tracker),
        CHECKPOINT_ONLINE => online_checkpoint(&checkpoint(record, &mut payload)?, tracker),
        NEXTOID => {
            let next = payload.u32("the next oid")?;
            tracker.edit(|state| state.counters.next_oid = next);
        }
        PARAMETER_CHANGE => parameter_change(record.version, &mut payload, tracker, out)?,
        FPW_CHANGE => {
            let on = payload.u8("full_page_writes")? != 0;
            tracker.edit(|state| state.counters.full_page_writes = on);
        }
        END_OF_RECOVERY => {
            payload.i64("the time")?;
            let (timeline, previous) = (payload.u32("the timeline")?, payload.u32("the timeline before")?);
            tracker.edit(|state| {
                state.counters.timeline = timeline;
                state.counters.prev_timeline = previous;
            });
        }
        CHECKPOINT_REDO if record.version >= PgVersion::V17 => {}
        FPI | FPI_FOR_HINT | NOOP | XLOG_SWITCH | BACKUP_END | RESTORE_POINT | XLOG_OVERWRITE_CONTRECORD => {}
        _ => return unknown_operation(record),
    }
    Ok(())
}

fn checkpoint(record: &Record<'_>, payload: &mut Payload<'_, '_>) -> Result<CheckPoint, RecordError> {
    let bytes = payload.bytes(CheckPoint::SIZE, "a checkpoint")?;
    CheckPoint::parse(record.version, bytes).ok_or_else(|| payload.error("a checkpoint is too short"))
}

/// "In a SHUTDOWN checkpoint, believe the counters exactly"; only the oldest multixact never goes back.
fn shutdown_checkpoint(checkpoint: CheckPoint, tracker: &mut Tracker) {
    tracker.edit(|state| {
        let before = std::mem::replace(&mut state.counters, checkpoint);
        if !multi_precedes(before.oldest_multi, state.counters.oldest_multi) {
            state.counters.oldest_multi = before.oldest_multi;
            state.counters.oldest_multi_db = before.oldest_multi_db;
        }
        if !state.commit_ts_active() {
            state.counters.oldest_commit_ts_xid = 0;
            state.counters.newest_commit_ts_xid = 0;
        }
    });
}

/// An online checkpoint's counters are those of its start: each is a minimum, and the next oid is not believed at all.
fn online_checkpoint(checkpoint: &CheckPoint, tracker: &mut Tracker) {
    if tracker.counters().next_xid < checkpoint.next_xid {
        tracker.set_next_xid(checkpoint.next_xid);
    }
    tracker.advance_multi(checkpoint.next_multi, checkpoint.next_multi_offset);
    tracker.edit(|state| {
        let counters = &mut state.counters;
        if multi_precedes(counters.oldest_multi, checkpoint.oldest_multi) {
            counters.oldest_multi = checkpoint.oldest_multi;
            counters.oldest_multi_db = checkpoint.oldest_multi_db;
        }
        if xid_precedes(counters.oldest_xid, checkpoint.oldest_xid) {
            counters.oldest_xid = checkpoint.oldest_xid;
            counters.oldest_xid_db = checkpoint.oldest_xid_db;
        }
        counters.redo = checkpoint.redo;
        counters.time = checkpoint.time;
        counters.timeline = checkpoint.timeline;
        counters.prev_timeline = checkpoint.prev_timeline;
        counters.oldest_active_xid = checkpoint.oldest_active_xid;
    });
}

/// `xl_parameter_change`, and with it the beginning or end of commit timestamps.
fn parameter_change(
    version: PgVersion,
    payload: &mut Payload<'_, '_>,
    tracker: &mut Tracker,
    out: &mut Vec<Change>,
) -> Result<(), RecordError> {
    let max_connections = payload.i32("max_connections")?;
    let max_worker_processes = payload.i32("max_worker_processes")?;
    let max_wal_senders = payload.i32("max_wal_senders")?;
    let max_prepared_xacts = payload.i32("max_prepared_transactions")?;
    let max_locks_per_xact = payload.i32("max_locks_per_transaction")?;
    let wal_level = payload.i32("wal_level")?;
    let wal_log_hints = payload.u8("wal_log_hints")? != 0;
    let track = payload.u8("track_commit_timestamp")? != 0;
    tracker.edit(|state| {
        let control = &mut state.control;
        control.max_connections = max_connections;
        control.max_worker_processes = max_worker_processes;
        control.max_wal_senders = max_wal_senders;
        control.max_prepared_xacts = max_prepared_xacts;
        control.max_locks_per_xact = max_locks_per_xact;
        control.wal_level = wal_level;
        control.wal_log_hints = wal_log_hints;
        if version >= PgVersion::V17 {
            state.counters.wal_level = wal_level;
        }
        commit_ts_change(state, track, out);
    });
    Ok(())
}

/// `CommitTsParameterChange`: activation makes the current page if it is not there, deactivation removes all files.
fn commit_ts_change(state: &mut ClusterState, track: bool, out: &mut Vec<Change>) {
    let was = state.commit_ts_active();
    state.control.track_commit_timestamp = track;
    let counters = &mut state.counters;
    if track && !was {
        let next = counters.next_xid as u32;
        if counters.oldest_commit_ts_xid == 0 {
            counters.oldest_commit_ts_xid = next;
            counters.newest_commit_ts_xid = next;
        }
        push_page(out, PageKey::slru(SlruKind::CommitTs, commit_ts_position(next).0), PageEffect::ModifyOrExtend);
    } else if !track && was {
        counters.oldest_commit_ts_xid = 0;
        counters.newest_commit_ts_xid = 0;
        out.push(Change::DropSlru(SlruKind::CommitTs));
    }
}
