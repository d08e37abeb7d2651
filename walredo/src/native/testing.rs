//! Raw records made by hand, and an engine that tells what it was asked.

use std::sync::Mutex;

use pgdata::{Fork, Lsn, Page, PageKey, PgVersion, RelTag};

use crate::{Redo, RedoError, RedoRecord, RedoRequest, Routed};

pub(crate) const REL: RelTag = RelTag { spc: 1663, db: 5, rel: 16384, fork: Fork::Main };
pub(crate) const VM: RelTag = RelTag { fork: Fork::Vm, ..REL };

/// A record being written: header fields, block headers, block contents, main data.
#[derive(Clone, Default)]
pub(crate) struct Raw {
    pub rmid: u8,
    pub info: u8,
    pub xid: u32,
    pub origin: Option<u16>,
    pub main_data: Vec<u8>,
    headers: Vec<u8>,
    contents: Vec<u8>,
}

impl Raw {
    pub(crate) fn new(rmid: u8, info: u8, main_data: Vec<u8>) -> Raw {
        Raw { rmid, info, main_data, ..Raw::default() }
    }

    /// A block with a full image, to apply or to compare with, or with none.
    pub(crate) fn block(mut self, id: u8, rel: RelTag, block: u32, image: Option<(&Page, bool)>) -> Raw {
        let flags = rel.fork.number() | if image.is_some() { 0x10 } else { 0 };
        self.headers.extend([id, flags, 0, 0]);
        if let Some((page, apply)) = image {
            self.headers.extend(8192_u16.to_le_bytes());
            self.headers.extend([0, 0, if apply { 0x02 } else { 0 }]);
            self.contents.extend_from_slice(page);
        }
        for number in [rel.spc, rel.db, rel.rel, block] {
            self.headers.extend(number.to_le_bytes());
        }
        self
    }

    /// A block with data, if there are any, and with or without the mark that redo initialises it.
    pub(crate) fn block_data(mut self, id: u8, block: u32, will_init: bool, data: &[u8]) -> Raw {
        let flags = [(!data.is_empty(), 0x20), (will_init, 0x40)];
        self.headers.extend([id, flags.iter().map(|&(on, flag)| if on { flag } else { 0 }).sum()]);
        self.headers.extend((data.len() as u16).to_le_bytes());
        for number in [REL.spc, REL.db, REL.rel, block] {
            self.headers.extend(number.to_le_bytes());
        }
        self.contents.extend_from_slice(data);
        self
    }

    /// A block with data of its own, to be initialised or not.
    pub(crate) fn block_with(mut self, id: u8, rel: RelTag, block: u32, will_init: bool, data: &[u8]) -> Raw {
        let init = if will_init { 0x40 } else { 0 };
        let has_data = if data.is_empty() { 0 } else { 0x20 };
        self.headers.extend([id, rel.fork.number() | init | has_data]);
        self.headers.extend((data.len() as u16).to_le_bytes());
        for number in [rel.spc, rel.db, rel.rel, block] {
            self.headers.extend(number.to_le_bytes());
        }
        self.contents.extend_from_slice(data);
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut body = self.headers.clone();
        if let Some(origin) = self.origin {
            body.push(253);
            body.extend(origin.to_le_bytes());
        }
        if !self.main_data.is_empty() {
            body.push(254);
            body.extend((self.main_data.len() as u32).to_le_bytes());
        }
        body.extend_from_slice(&self.contents);
        body.extend_from_slice(&self.main_data);
        let mut record = ((24 + body.len()) as u32).to_le_bytes().to_vec();
        record.extend(self.xid.to_le_bytes());
        record.extend(0_u64.to_le_bytes());
        record.extend([self.info, self.rmid, 0, 0, 0, 0, 0, 0]);
        record.extend(body);
        record
    }
}

/// 32-bit numbers, little-endian.
pub(crate) fn words(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// Applies records with LSNs 0x100, 0x200 … to a page, with no engine behind.
pub(crate) fn apply(
    version: PgVersion,
    key: PageKey,
    base: Option<&Page>,
    records: &[Raw],
) -> Result<Box<Page>, RedoError> {
    apply_with(&Routed::new(None::<Recorder>), version, key, base, records)
}

pub(crate) fn apply_with(
    engine: &impl Redo,
    version: PgVersion,
    key: PageKey,
    base: Option<&Page>,
    records: &[Raw],
) -> Result<Box<Page>, RedoError> {
    let bytes: Vec<Vec<u8>> = records.iter().map(Raw::bytes).collect();
    let chain: Vec<RedoRecord<'_>> =
        (1_u64..).zip(&bytes).map(|(number, bytes)| RedoRecord { lsn: Lsn(number * 0x100), bytes }).collect();
    let mut page = Box::new(*base.unwrap_or(&[0xAA; 8192]));
    let request = RedoRequest { version, key, has_base: base.is_some(), records: &chain };
    engine.redo(&request, &mut page).map(|()| page)
}

/// Answers every request without touching the page, and keeps whether there was a base and which records came.
#[derive(Default)]
pub(crate) struct Recorder(pub Mutex<Vec<(bool, Vec<Lsn>)>>);

impl Redo for Recorder {
    fn redo(&self, request: &RedoRequest<'_>, _page: &mut Page) -> Result<(), RedoError> {
        let lsns = request.records.iter().map(|record| record.lsn).collect();
        self.0.lock().unwrap().push((request.has_base, lsns));
        Ok(())
    }
}
