//! Valid WAL of records that mean nothing, and a timeline to keep it in.

use std::path::Path;

use page_cache::{BaseWriter, Options, PageCache, TimelineInfo};
use pgdata::wal::{LongPageHeader, PageFlags, PageHeader, RecordHeader, SegmentSize, WAL_PAGE_SIZE, record_crc};
use pgdata::{Fork, Lsn, Object, PAGE_SIZE, PageKey, PgVersion, RelTag, SlruKind, SlruSegment};

use crate::disk::Disk;

pub const DIR: &str = "/data/timeline";

#[derive(Clone, Debug)]
pub struct Record {
    pub start: Lsn,
    pub lsn: Lsn,
    pub bytes: Vec<u8>,
}

/// Writes records one after the other, with page headers.
#[derive(Clone)]
pub struct Wal {
    pub start: Lsn,
    pub bytes: Vec<u8>,
}

pub fn info() -> TimelineInfo {
    let segment_size = SegmentSize::new(1 << 20).unwrap();
    let start_lsn = Lsn((3 << 20) + 40);
    TimelineInfo { version: PgVersion::V15, system_id: 77, segment_size, pg_timeline: 1, start_lsn }
}

impl Wal {
    pub fn new() -> Wal {
        Wal { start: Lsn(3 << 20), bytes: Vec::new() }
    }

    pub fn end(&self) -> Lsn {
        Lsn(self.start.0 + self.bytes.len() as u64)
    }

    fn header(&mut self, rest: u32) {
        let (info, address) = (info(), self.end());
        let long = info.segment_size.offset_of(address) == 0;
        let mut flags = if rest > 0 { PageFlags::CONTRECORD } else { 0 };
        flags |= if long { PageFlags::LONG_HEADER } else { 0 };
        let long = long.then_some(LongPageHeader { system_id: info.system_id, segment_size: info.segment_size });
        let flags = PageFlags(flags);
        PageHeader { version: info.version, flags, timeline: 1, address, rem_len: rest, long }.write(&mut self.bytes);
    }

    pub fn record(&mut self, payload: usize) -> Record {
        if self.bytes.len().is_multiple_of(WAL_PAGE_SIZE) {
            self.header(0);
        }
        let start = self.end();
        let total_len = (24 + payload) as u32;
        let header = RecordHeader { total_len, xid: 1, prev: Lsn(0), info: 0, rmid: 0, crc: 0 };
        let mut bytes = header.to_bytes().to_vec();
        bytes.extend((0..payload).map(|i| (i as u64 ^ start.0 ^ (start.0 >> 8)) as u8));
        let crc = record_crc(&bytes);
        bytes[20..24].copy_from_slice(&crc.to_le_bytes());
        let mut rest = &bytes[..];
        loop {
            let room = WAL_PAGE_SIZE - self.bytes.len() % WAL_PAGE_SIZE;
            let (now, later) = rest.split_at(rest.len().min(room));
            self.bytes.extend_from_slice(now);
            rest = later;
            if rest.is_empty() {
                break;
            }
            self.header(rest.len() as u32);
        }
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
        Record { start, lsn: self.end(), bytes }
    }
}

pub fn rel(spc: u32, db: u32, rel: u32, fork: Fork) -> Object {
    Object::Relation(RelTag { spc, db, rel, fork })
}

pub fn clog(segno: u32) -> Object {
    Object::Slru(SlruSegment { kind: SlruKind::Clog, segno })
}

/// What is in the base image: objects with their sizes.
pub fn base_objects() -> Vec<(Object, u32)> {
    vec![
        (rel(1663, 1, 100, Fork::Main), 4),
        (rel(1663, 1, 101, Fork::Main), 0),
        (rel(1663, 1, 100, Fork::Vm), 1),
        (rel(9, 1, 100, Fork::Main), 2),
        (rel(1664, 0, 7, Fork::Main), 1),
        (clog(0), 32),
        (clog(1), 2),
    ]
}

pub const BASE_BLOBS: [(&str, &[u8]); 3] =
    [("global/pg_control", b"control"), ("base/1/PG_VERSION", b"15\n"), ("pg_hba.conf", b"")];

/// A page of the base image: its content tells which one it is.
pub fn base_page(key: PageKey) -> Vec<u8> {
    let text = key.to_string();
    text.bytes().cycle().take(PAGE_SIZE).collect()
}

pub fn attach(disk: &Disk, consistent: Lsn) -> Result<(), page_cache::AttachError> {
    let mut writer = BaseWriter::create_on(disk.storage(), Path::new(DIR), info())?;
    // Last blocks first: files come in any order.
    for (object, blocks) in base_objects().into_iter().rev() {
        writer.object(object, blocks)?;
        let half = blocks / 2;
        for range in [half..blocks, 0..half] {
            let bytes: Vec<u8> = range.clone().flat_map(|block| base_page(PageKey { object, block })).collect();
            writer.pages(object, range.start, &bytes)?;
        }
    }
    for (name, content) in BASE_BLOBS {
        writer.blob(name, content)?;
    }
    writer.finish(consistent)
}

pub fn open(disk: &Disk, window_bytes: usize) -> PageCache {
    open_with(disk, Options { window_bytes, ..Options::default() })
}

pub fn open_with(disk: &Disk, options: Options) -> PageCache {
    PageCache::open_on(disk.storage(), Path::new(DIR), options).unwrap()
}

/// A timeline with nothing but its base image.
pub fn fresh(window_bytes: usize) -> (Disk, PageCache, Wal) {
    let disk = Disk::default();
    attach(&disk, info().start_lsn).unwrap();
    let cache = open(&disk, window_bytes);
    (disk, cache, Wal::new())
}

/// Appends what the log does not have yet.
pub fn append_rest(cache: &PageCache, wal: &Wal) {
    let end = cache.wal().end();
    cache.wal().append(end, &wal.bytes[end.bytes_since(wal.start) as usize..]).unwrap();
}
