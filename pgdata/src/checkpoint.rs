//! The body of a checkpoint record, which `pg_control` keeps a copy of (`struct CheckPoint` of `catalog/pg_control.h`).

use crate::bytes::{Fields, FieldsMut};
use crate::{Lsn, PgVersion};

/// Offsets in the C structure, the same in 15 to 18: what 17 added (`wal_level`) fills what was padding before.
mod at {
    pub const REDO: usize = 0;
    pub const TIMELINE: usize = 8;
    pub const PREV_TIMELINE: usize = 12;
    pub const FULL_PAGE_WRITES: usize = 16;
    pub const WAL_LEVEL: usize = 20;
    pub const NEXT_XID: usize = 24;
    pub const NEXT_OID: usize = 32;
    pub const NEXT_MULTI: usize = 36;
    pub const NEXT_MULTI_OFFSET: usize = 40;
    pub const OLDEST_XID: usize = 44;
    pub const OLDEST_XID_DB: usize = 48;
    pub const OLDEST_MULTI: usize = 52;
    pub const OLDEST_MULTI_DB: usize = 56;
    pub const TIME: usize = 64;
    pub const OLDEST_COMMIT_TS_XID: usize = 72;
    pub const NEWEST_COMMIT_TS_XID: usize = 76;
    pub const OLDEST_ACTIVE_XID: usize = 80;
}

/// What a checkpoint knows: where redo starts from, and the counters.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CheckPoint {
    /// Where redo begins; for a shutdown checkpoint, the record itself.
    pub redo: Lsn,
    /// `ThisTimeLineID`.
    pub timeline: u32,
    /// `PrevTimeLineID`: another number than `timeline` only if this record begins the timeline.
    pub prev_timeline: u32,
    /// The setting `full_page_writes`.
    pub full_page_writes: bool,
    /// The setting `wal_level` as its number (0 minimal, 1 replica, 2 logical); recorded from 17 on, zero before.
    pub wal_level: i32,
    /// Next transaction id, its epoch in the high half.
    pub next_xid: u64,
    /// Next oid.
    pub next_oid: u32,
    /// Next multixact id.
    pub next_multi: u32,
    /// Next offset of a multixact's members.
    pub next_multi_offset: u32,
    /// The smallest `datfrozenxid` of all databases.
    pub oldest_xid: u32,
    /// The database that has it.
    pub oldest_xid_db: u32,
    /// The smallest `datminmxid` of all databases.
    pub oldest_multi: u32,
    /// The database that has it.
    pub oldest_multi_db: u32,
    /// When it was made, in seconds since 1970.
    pub time: i64,
    /// The oldest transaction with a commit timestamp, or zero.
    pub oldest_commit_ts_xid: u32,
    /// The newest transaction with a commit timestamp, or zero.
    pub newest_commit_ts_xid: u32,
    /// The oldest transaction still running, for hot standbys; zero in a shutdown checkpoint.
    pub oldest_active_xid: u32,
}

impl CheckPoint {
    /// Bytes of the C structure, with its padding at the end: the length of a checkpoint record's data.
    pub const SIZE: usize = 88;

    /// A checkpoint of a cluster that has run no transactions (`BootStrapXLOG`), at no place yet.
    #[must_use]
    pub fn initial(version: PgVersion) -> CheckPoint {
        CheckPoint {
            timeline: 1,
            prev_timeline: 1,
            full_page_writes: true,
            wal_level: i32::from(version >= PgVersion::V17),
            next_xid: 3,
            next_oid: 10_000,
            next_multi: 1,
            oldest_xid: 3,
            oldest_xid_db: 1,
            oldest_multi: 1,
            oldest_multi_db: 1,
            ..CheckPoint::default()
        }
    }

    /// Reads the structure as `version` writes it, from a checkpoint record's data or out of `pg_control`.
    /// `None` if there are fewer than [`CheckPoint::SIZE`] bytes.
    #[must_use]
    pub fn parse(version: PgVersion, bytes: &[u8]) -> Option<CheckPoint> {
        let fields = Fields::new(bytes.get(..Self::SIZE)?);
        Some(CheckPoint {
            redo: Lsn(fields.u64(at::REDO)),
            timeline: fields.u32(at::TIMELINE),
            prev_timeline: fields.u32(at::PREV_TIMELINE),
            full_page_writes: fields.bool(at::FULL_PAGE_WRITES),
            wal_level: if version >= PgVersion::V17 { fields.i32(at::WAL_LEVEL) } else { 0 },
            next_xid: fields.u64(at::NEXT_XID),
            next_oid: fields.u32(at::NEXT_OID),
            next_multi: fields.u32(at::NEXT_MULTI),
            next_multi_offset: fields.u32(at::NEXT_MULTI_OFFSET),
            oldest_xid: fields.u32(at::OLDEST_XID),
            oldest_xid_db: fields.u32(at::OLDEST_XID_DB),
            oldest_multi: fields.u32(at::OLDEST_MULTI),
            oldest_multi_db: fields.u32(at::OLDEST_MULTI_DB),
            time: fields.i64(at::TIME),
            oldest_commit_ts_xid: fields.u32(at::OLDEST_COMMIT_TS_XID),
            newest_commit_ts_xid: fields.u32(at::NEWEST_COMMIT_TS_XID),
            oldest_active_xid: fields.u32(at::OLDEST_ACTIVE_XID),
        })
    }

    /// The structure as `version` writes it, padding zero.
    #[must_use]
    pub fn to_bytes(&self, version: PgVersion) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        let mut fields = FieldsMut::new(&mut bytes);
        fields.u64(at::REDO, self.redo.0);
        fields.u32(at::TIMELINE, self.timeline);
        fields.u32(at::PREV_TIMELINE, self.prev_timeline);
        fields.bool(at::FULL_PAGE_WRITES, self.full_page_writes);
        if version >= PgVersion::V17 {
            fields.i32(at::WAL_LEVEL, self.wal_level);
        }
        fields.u64(at::NEXT_XID, self.next_xid);
        fields.u32(at::NEXT_OID, self.next_oid);
        fields.u32(at::NEXT_MULTI, self.next_multi);
        fields.u32(at::NEXT_MULTI_OFFSET, self.next_multi_offset);
        fields.u32(at::OLDEST_XID, self.oldest_xid);
        fields.u32(at::OLDEST_XID_DB, self.oldest_xid_db);
        fields.u32(at::OLDEST_MULTI, self.oldest_multi);
        fields.u32(at::OLDEST_MULTI_DB, self.oldest_multi_db);
        fields.i64(at::TIME, self.time);
        fields.u32(at::OLDEST_COMMIT_TS_XID, self.oldest_commit_ts_xid);
        fields.u32(at::NEWEST_COMMIT_TS_XID, self.newest_commit_ts_xid);
        fields.u32(at::OLDEST_ACTIVE_XID, self.oldest_active_xid);
        bytes
    }
}
