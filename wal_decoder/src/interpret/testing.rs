//! Records and states made by hand.

use pgdata::{Change, ClusterState, ControlFile, Fork, Lsn, PageEffect, PageKey, PgVersion, RelTag, SlruKind};

use super::Interpreter;
use crate::{BlockImage, BlockRef, Compression, Record, RecordError};

pub(super) const REL: RelTag = RelTag { spc: 1663, db: 5, rel: 16384, fork: Fork::Main };

/// Little-endian fields, one after the other.
#[derive(Default)]
pub(super) struct Bytes(pub Vec<u8>);

impl Bytes {
    pub(super) fn u8(mut self, value: u8) -> Self {
        self.0.push(value);
        self
    }

    pub(super) fn u32(mut self, value: u32) -> Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    pub(super) fn u32s(self, values: &[u32]) -> Self {
        values.iter().fold(self, |bytes, value| bytes.u32(*value))
    }

    pub(super) fn i64(mut self, value: i64) -> Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    pub(super) fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// A page number of an SLRU: 4 bytes up to 16, 8 from 17 on.
    pub(super) fn page(self, version: PgVersion, page: u32) -> Self {
        if version >= PgVersion::V17 { self.i64(i64::from(page)) } else { self.u32(page) }
    }
}

pub(super) fn record<'a>(version: PgVersion, rmid: u8, info: u8, main_data: &'a [u8]) -> Record<'a> {
    Record {
        version,
        lsn: Lsn(0x5000),
        xid: 0,
        prev: Lsn(0x4000),
        info,
        rmid,
        origin: None,
        top_xid: None,
        blocks: [].into_iter().collect(),
        main_data,
    }
}

pub(super) fn block(id: u8, rel: RelTag, block: u32) -> BlockRef<'static> {
    BlockRef { id, rel, block, will_init: false, image: None, data: &[] }
}

pub(super) fn image(apply: bool) -> BlockImage<'static> {
    BlockImage { apply, hole_offset: 0, hole_length: 0, compression: Compression::None, bytes: &[0; 8192] }
}

pub(super) fn with_blocks<'a>(mut record: Record<'a>, blocks: &[BlockRef<'a>]) -> Record<'a> {
    record.blocks = blocks.iter().copied().collect();
    record
}

pub(super) fn state(version: PgVersion) -> ClusterState {
    ClusterState::new(ControlFile::initial(version, 7)).with_next_xid(1000)
}

pub(super) fn interpreter(version: PgVersion) -> Interpreter {
    Interpreter::new(version, state(version))
}

/// What a record does to a cluster with 1000 as its next transaction id.
pub(super) fn changes_of(record: &Record<'_>) -> Result<Vec<Change>, RecordError> {
    let mut out = Vec::new();
    interpreter(record.version).changes(record, &mut out).map(|()| out)
}

pub(super) fn page(key: PageKey, effect: PageEffect) -> Change {
    Change::Page { key, effect }
}

pub(super) fn slru(kind: SlruKind, number: u32, effect: PageEffect) -> Change {
    page(PageKey::slru(kind, number), effect)
}
