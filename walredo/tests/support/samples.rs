//! A few records of each type with their pages: seeds for fuzzing, and material to damage.

use std::collections::{BTreeMap, HashMap};
use std::fs;

use super::recording::Recording;
use pgdata::{
    Change, ClusterState, ControlFile, Fork, Lsn, Object, PAGE_SIZE, Page, PageKey, PgVersion, SlruKind, page_lsn,
};
use wal_decoder::rmgr::rmgr_name;
use wal_decoder::{Interpreter, Record};
use walredo::{NativeRedo, PostgresRedo, Redo, RedoRecord, RedoRequest, record_type};

/// Samples of a type of record and a part in it.
const EACH: usize = 4;
/// How often each sample is damaged.
const MUTATIONS: u64 = 300;

/// What makes a kind of sample: the resource manager, the operation, the page's part in the record.
type Kind = (u8, &'static str, Part);

/// What a page is to a record.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    /// The block with this id.
    Block(u8),
    /// A page of a visibility map that the record does not refer to.
    Map,
    Slru(SlruKind),
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Part::Block(id) => write!(f, "block {id}"),
            Part::Map => f.write_str("visibility map"),
            Part::Slru(kind) => write!(f, "{kind:?}"),
        }
    }
}

pub struct Samples {
    version: PgVersion,
    kinds: BTreeMap<Kind, Vec<Sample>>,
}

pub struct Sample {
    pub key: PageKey,
    /// Which of the [`pages`] of its record it is.
    index: usize,
    pub base: Option<Box<Page>>,
    pub bytes: Vec<u8>,
}

impl Sample {
    /// An LSN at which the record is applied.
    pub fn lsn(&self) -> Lsn {
        lsn_after(self.base.as_deref())
    }
}

fn lsn_after(base: Option<&Page>) -> Lsn {
    Lsn(base.map_or(0, |page| page_lsn(page).0).saturating_add(8))
}

impl Samples {
    /// Samples of all kinds that a recording has, of those records that the native engine can apply.
    pub fn of(recording: &Recording) -> Samples {
        let mut samples = Samples { version: recording.version, kinds: BTreeMap::new() };
        let mut made = HashMap::new();
        let engine = NativeRedo::new(false, None::<PostgresRedo>);
        let mut interpreter = interpreter(recording.version);
        recording.replay(|record, raw| {
            for (index, key) in pages(record, &mut interpreter).into_iter().enumerate() {
                let base = made.remove(&key).or_else(|| first_page(key));
                samples.take(record, index, key, base.as_deref(), &raw);
                let request = RedoRequest { version: record.version, key, has_base: base.is_some(), records: &[raw] };
                let mut page = base.unwrap_or_else(|| Box::new([0; PAGE_SIZE]));
                if engine.redo(&request, &mut page).is_ok() {
                    made.insert(key, page);
                }
            }
        });
        samples
    }

    /// Keeps the record if there are few of its kind. Images are left out: they make pages without redo.
    fn take(&mut self, record: &Record<'_>, index: usize, key: PageKey, base: Option<&Page>, raw: &RedoRecord<'_>) {
        let part = match (record.blocks.get(index), key.object) {
            (Some(block), _) if block.image.is_some_and(|image| image.apply) => return,
            (Some(block), _) => Part::Block(block.id),
            (None, Object::Relation(_)) => Part::Map,
            (None, Object::Slru(segment)) => Part::Slru(segment.kind),
        };
        let kind = (record.rmid, record_type(record.version, record.rmid, record.info), part);
        let samples = self.kinds.entry(kind).or_default();
        if samples.len() < EACH {
            let base = base.map(|page| Box::new(*page));
            samples.push(Sample { key, index, base, bytes: without_images(record, raw) });
        }
    }

    /// One sample of each kind, with the names of the resource manager, the operation and the part.
    pub fn firsts(&self) -> impl Iterator<Item = ([String; 3], &Sample)> {
        self.kinds.iter().filter_map(|((rmid, name, part), samples)| {
            Some(([rmgr_name(*rmid).into_owned(), (*name).to_owned(), part.to_string()], samples.first()?))
        })
    }

    /// Writes inputs for `fuzz/fuzz_targets/native.rs` into the directory `$WALREDO_SEEDS`, if it is set.
    pub fn write_seeds(&self) {
        let Some(dir) = std::env::var_os("WALREDO_SEEDS") else { return };
        fs::create_dir_all(&dir).unwrap();
        for ((rmid, name, part), samples) in &self.kinds {
            for (number, sample) in samples.iter().enumerate() {
                let base = sample.base.as_deref().map_or(&[][..], |page| page);
                let has_base = if base.is_empty() { 0 } else { 4 };
                let flags = (self.version.major() as u8 - 15) | has_base;
                let seed = [&[flags, sample.index as u8], base, &sample.bytes].concat();
                let file = format!("{}-{}-{name}-{part}-{number}", self.version, rmgr_name(*rmid)).replace(' ', "-");
                fs::write(std::path::Path::new(&dir).join(file), seed).unwrap();
            }
        }
    }

    /// Damages records and pages in every way that chance finds: there must be a page or an error, never a panic, and twice the same.
    pub fn mutate(&self) {
        let mut random = Random(0x9E37_79B9_7F4A_7C15);
        for sample in self.kinds.values().flatten() {
            for _ in 0..MUTATIONS {
                self.mutate_once(sample, &mut random);
            }
        }
    }

    fn mutate_once(&self, sample: &Sample, random: &mut Random) {
        let mut bytes = sample.bytes.clone();
        let mut base = sample.base.clone();
        if random.below(4) != 0 {
            random.damage(&mut bytes[24..]);
        }
        if let Some(page) = base.as_deref_mut().filter(|_| random.below(4) != 0) {
            // Mostly what says where things are.
            let end = if random.below(2) == 0 { 256 } else { PAGE_SIZE };
            random.damage(&mut page[8..end]);
        }
        let lsn = lsn_after(base.as_deref());
        let records = [RedoRecord { lsn, bytes: &bytes }];
        let request =
            RedoRequest { version: self.version, key: sample.key, has_base: base.is_some(), records: &records };
        let engine = NativeRedo::new(false, None::<PostgresRedo>);
        let make = |filler| {
            let mut page = base.clone().unwrap_or_else(|| Box::new([filler; PAGE_SIZE]));
            engine.redo(&request, &mut page).map(|()| page).map_err(|error| error.to_string())
        };
        assert_eq!(make(0), make(0xFF), "{}", sample.key);
    }
}

/// What tells the pages of records that do not refer to them, while commit timestamps are kept.
fn interpreter(version: PgVersion) -> Interpreter {
    let control = ControlFile { track_commit_timestamp: true, ..ControlFile::initial(version, 42) };
    Interpreter::new(version, ClusterState::new(control))
}

/// The pages of a record: those that it refers to, in its order, then those that it changes besides. `fuzz/fuzz_targets/native.rs` counts them
/// alike.
fn pages(record: &Record<'_>, interpreter: &mut Interpreter) -> Vec<PageKey> {
    let mut keys: Vec<_> = record.blocks.iter().map(|block| PageKey::relation(block.rel, block.block)).collect();
    let mut changes = Vec::new();
    interpreter.changes(record, &mut changes).unwrap();
    for change in changes {
        match change {
            Change::Page { key, .. } if !keys.contains(&key) => keys.push(key),
            _ => {}
        }
    }
    keys
}

/// Pages of SLRUs and visibility maps are there before anything is on them.
fn first_page(key: PageKey) -> Option<Box<Page>> {
    let is_there = match key.object {
        Object::Slru(_) => true,
        Object::Relation(rel) => rel.fork == Fork::Vm,
    };
    is_there.then(|| Box::new([0; PAGE_SIZE]))
}

/// The record as it would be without the images that are there for comparing, to leave more to damage.
fn without_images(record: &Record<'_>, raw: &RedoRecord<'_>) -> Vec<u8> {
    let mut body = Vec::new();
    for block in &record.blocks {
        let will_init = if block.will_init { 0x40 } else { 0 };
        let has_data = if block.data.is_empty() { 0 } else { 0x20 };
        body.extend([block.id, block.rel.fork.number() | will_init | has_data]);
        body.extend((block.data.len() as u16).to_le_bytes());
        for number in [block.rel.spc, block.rel.db, block.rel.rel, block.block] {
            body.extend(number.to_le_bytes());
        }
    }
    if !record.main_data.is_empty() {
        body.push(254);
        body.extend((record.main_data.len() as u32).to_le_bytes());
    }
    record.blocks.iter().for_each(|block| body.extend(block.data));
    body.extend(record.main_data);
    let mut bytes = (24 + body.len() as u32).to_le_bytes().to_vec();
    bytes.extend(&raw.bytes[4..24]);
    bytes.extend(body);
    bytes
}

/// A small generator of numbers, the same ones each time (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// Changes one to four bytes.
    fn damage(&mut self, bytes: &mut [u8]) {
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len() as u64) as usize;
            bytes[at] = match self.below(4) {
                0 => bytes[at] ^ 1 << self.below(8),
                1 => bytes[at].wrapping_add(1),
                2 => 0xFF,
                _ => self.next() as u8,
            };
        }
    }
}
