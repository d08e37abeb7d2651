//! Ends of transactions, prepared transactions, and what a standby learns about running ones (`access/xact.h`).

use std::collections::HashSet;

use pgdata::slru::{clog_position, commit_ts_position, xid_precedes};
use pgdata::{Change, FIRST_NORMAL_XID, Fork, Object, PageEffect, PageKey, PgVersion, RelTag, SlruKind, previous_xid};

use super::payload::{Payload, error, operation, unknown_operation};
use super::push_page;
use super::state::Tracker;
use crate::rmgr::RM_XACT_ID;
use crate::{Record, RecordError};

/// `XLOG_XACT_OPMASK`; the bit above it says that there is an `xinfo`.
const OPERATION_MASK: u8 = 0x70;
const HAS_INFO: u8 = 0x80;
const COMMIT: u8 = 0x00;
const PREPARE: u8 = 0x10;
const ABORT: u8 = 0x20;
const COMMIT_PREPARED: u8 = 0x30;
const ABORT_PREPARED: u8 = 0x40;
const ASSIGNMENT: u8 = 0x50;
const INVALIDATIONS: u8 = 0x60;

/// `XACT_XINFO_HAS_*`: which parts follow.
const HAS_DBINFO: u32 = 1 << 0;
const HAS_SUBXACTS: u32 = 1 << 1;
const HAS_RELATIONS: u32 = 1 << 2;
const HAS_INVALS: u32 = 1 << 3;
const HAS_TWOPHASE: u32 = 1 << 4;
const HAS_ORIGIN: u32 = 1 << 5;
const HAS_GID: u32 = 1 << 7;
const HAS_DROPPED_STATS: u32 = 1 << 8;

/// Bytes of a database and a tablespace, of a relation, of a `SharedInvalidationMessage`.
const DBINFO_SIZE: usize = 8;
const RELATION_SIZE: usize = 12;
const INVALIDATION_SIZE: usize = 16;

/// Operations of `RM_STANDBY_ID` (`storage/standbydefs.h`).
const STANDBY_LOCK: u8 = 0x00;
const RUNNING_XACTS: u8 = 0x10;
const STANDBY_INVALIDATIONS: u8 = 0x20;

/// How a transaction ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum XactStatus {
    /// `TRANSACTION_STATUS_COMMITTED`, 1 in `pg_xact`.
    Committed,
    /// `TRANSACTION_STATUS_ABORTED`, 2 in `pg_xact`.
    Aborted,
}

/// The end of a transaction: `xl_xact_commit` and `xl_xact_abort` with all that can follow.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct XactEnd {
    /// How it ended.
    pub status: XactStatus,
    /// The transaction.
    pub xid: u32,
    /// Whether it had been prepared, so that there is a state file to remove.
    pub prepared: bool,
    /// Its subtransactions, which end with it.
    pub subxids: Vec<u32>,
    /// Relations whose files cease to exist.
    pub dropped: Vec<RelTag>,
    /// When it ended, in microseconds since 2000; of a replicated transaction, when it ended at its origin.
    pub timestamp: i64,
    /// The replication origin, or 0.
    pub origin: u16,
}

impl XactEnd {
    /// Reads a record; `None` if it is another kind of record.
    ///
    /// # Errors
    /// [`RecordError`] if it is too short or the end of no transaction.
    pub fn parse(record: &Record<'_>) -> Result<Option<XactEnd>, RecordError> {
        let (status, prepared) = match record.info & OPERATION_MASK {
            _ if record.rmid != RM_XACT_ID => return Ok(None),
            COMMIT => (XactStatus::Committed, false),
            COMMIT_PREPARED => (XactStatus::Committed, true),
            ABORT => (XactStatus::Aborted, false),
            ABORT_PREPARED => (XactStatus::Aborted, true),
            _ => return Ok(None),
        };
        let end = XactEnd {
            status,
            xid: record.xid,
            prepared,
            subxids: Vec::new(),
            dropped: Vec::new(),
            timestamp: 0,
            origin: record.origin.unwrap_or(0),
        };
        end.read(record).map(Some)
    }

    fn read(mut self, record: &Record<'_>) -> Result<XactEnd, RecordError> {
        let mut payload = Payload::new(record);
        self.timestamp = payload.i64("the time")?;
        let parts = if record.info & HAS_INFO == 0 { 0 } else { payload.u32("xinfo")? };
        if parts & HAS_DBINFO != 0 {
            payload.bytes(DBINFO_SIZE, "the database")?;
        }
        if parts & HAS_SUBXACTS != 0 {
            let count = payload.count("the number of subtransactions")?;
            self.subxids = payload.u32s(count, "the subtransactions")?;
        }
        if parts & HAS_RELATIONS != 0 {
            self.dropped = relations(&mut payload)?;
        }
        if parts & HAS_DROPPED_STATS != 0 {
            let count = payload.count("the number of statistics")?;
            payload.items(count, stats_item_size(record.version), "the statistics")?;
        }
        if parts & HAS_INVALS != 0 && self.status == XactStatus::Committed {
            let count = payload.count("the number of invalidations")?;
            payload.items(count, INVALIDATION_SIZE, "the invalidations")?;
        }
        let prepared_xid = prepared_xid(&mut payload, parts)?;
        if self.prepared {
            self.xid = prepared_xid.ok_or_else(|| payload.error("the prepared transaction is not named"))?;
        }
        if parts & HAS_ORIGIN != 0 {
            payload.i64("the LSN at the origin")?;
            self.timestamp = payload.i64("the time at the origin")?;
        }
        if self.xid < FIRST_NORMAL_XID {
            return Err(payload.error(format!("{} is not a transaction", self.xid)));
        }
        Ok(self)
    }

    /// The transaction and its subtransactions.
    pub fn xids(&self) -> impl Iterator<Item = u32> + '_ {
        std::iter::once(self.xid).chain(self.subxids.iter().copied())
    }

    /// `TransactionIdLatest`.
    fn latest_xid(&self) -> u32 {
        self.xids().fold(self.xid, |latest, xid| if xid_precedes(latest, xid) { xid } else { latest })
    }
}

fn relations(payload: &mut Payload<'_, '_>) -> Result<Vec<RelTag>, RecordError> {
    let count = payload.count("the number of relations")?;
    let bytes = payload.items(count, RELATION_SIZE, "the relations")?;
    let number = |bytes: &[u8]| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    let relation = |bytes: &[u8; RELATION_SIZE]| RelTag {
        spc: number(&bytes[..4]),
        db: number(&bytes[4..8]),
        rel: number(&bytes[8..]),
        fork: Fork::Main,
    };
    Ok(bytes.as_chunks::<RELATION_SIZE>().0.iter().map(relation).collect())
}

/// The prepared transaction's id, its global id skipped.
fn prepared_xid(payload: &mut Payload<'_, '_>, parts: u32) -> Result<Option<u32>, RecordError> {
    if parts & HAS_TWOPHASE == 0 {
        return Ok(None);
    }
    let xid = payload.u32("the prepared transaction")?;
    if parts & HAS_GID != 0 {
        payload.c_string("the global transaction id")?;
    }
    Ok(Some(xid))
}

/// `xl_xact_stats_item`: 18 has object ids of 64 bits.
fn stats_item_size(version: PgVersion) -> usize {
    if version >= PgVersion::V18 { 16 } else { 12 }
}

pub(super) fn changes(record: &Record<'_>, tracker: &mut Tracker, out: &mut Vec<Change>) -> Result<(), RecordError> {
    if let Some(end) = XactEnd::parse(record)? {
        end_changes(record, &end, tracker, out);
        return Ok(());
    }
    match record.info & OPERATION_MASK {
        PREPARE => prepare_changes(record, tracker, out),
        ASSIGNMENT | INVALIDATIONS => Ok(()),
        _ => unknown_operation(record),
    }
}

/// `xact_redo_commit` and `xact_redo_abort`.
fn end_changes(record: &Record<'_>, end: &XactEnd, tracker: &mut Tracker, out: &mut Vec<Change>) {
    tracker.advance_past(end.latest_xid());
    if end.status == XactStatus::Committed && tracker.state().commit_ts_active() {
        push_pages(out, SlruKind::CommitTs, end.xids().map(|xid| commit_ts_position(xid).0));
    }
    push_pages(out, SlruKind::Clog, end.xids().map(|xid| clog_position(xid).page));
    for rel in &end.dropped {
        out.extend(Fork::ALL.map(|fork| Change::Drop(Object::Relation(rel.with_fork(fork)))));
    }
    if end.prepared {
        out.push(Change::RemoveBlob { name: state_file(record.version, tracker, end.xid) });
    }
}

/// Each page once. Subtransactions come in the order of their ids, so mostly the page is that of the one before.
fn push_pages(out: &mut Vec<Change>, kind: SlruKind, pages: impl Iterator<Item = u32>) {
    let mut last = None;
    let mut seen = HashSet::new();
    for page in pages {
        if last != Some(page) && seen.insert(page) {
            push_page(out, PageKey::slru(kind, page), PageEffect::Modify);
        }
        last = Some(page);
    }
}

/// The state file is the record's data with a CRC behind it (`RecreateTwoPhaseFile`).
fn prepare_changes(record: &Record<'_>, tracker: &mut Tracker, out: &mut Vec<Change>) -> Result<(), RecordError> {
    let mut payload = Payload::new(record);
    payload.u32("the magic number")?;
    let length = payload.u32("the length")?;
    let xid = payload.u32("the prepared transaction")?;
    if xid < FIRST_NORMAL_XID {
        return Err(error(record, format!("{xid} is not a transaction")));
    }
    if u64::from(length) != record.main_data.len() as u64 + 4 {
        let got = record.main_data.len();
        return Err(error(record, format!("a state file of {length} bytes, CRC included, out of {got} bytes of data")));
    }
    let mut content = record.main_data.to_vec();
    content.extend_from_slice(&crc32c::crc32c(record.main_data).to_le_bytes());
    out.push(Change::Blob { name: state_file(record.version, tracker, xid), content });
    Ok(())
}

/// `TwoPhaseFilePath`: named after the id with its epoch from 17 on.
fn state_file(version: PgVersion, tracker: &Tracker, xid: u32) -> String {
    if version >= PgVersion::V17 {
        format!("pg_twophase/{:016X}", tracker.full_xid(xid))
    } else {
        format!("pg_twophase/{xid:08X}")
    }
}

/// `standby_redo`: only the next transaction id of a list of running ones matters here.
pub(super) fn standby_changes(record: &Record<'_>, tracker: &mut Tracker) -> Result<(), RecordError> {
    match operation(record) {
        STANDBY_LOCK | STANDBY_INVALIDATIONS => Ok(()),
        RUNNING_XACTS => {
            let mut payload = Payload::new(record);
            payload.bytes(12, "the numbers of transactions")?;
            let next = payload.u32("the next transaction")?;
            if next < FIRST_NORMAL_XID {
                return Err(payload.error(format!("{next} cannot be the next transaction")));
            }
            tracker.advance_past(previous_xid(next));
            Ok(())
        }
        _ => unknown_operation(record),
    }
}
