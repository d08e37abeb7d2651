//! The footer of a layer file: which pages and small files it holds, and where.

use std::collections::BTreeMap;

use pgdata::{Object, PageKey, SlruKind};

use super::format::{HEADER, LayerFormatError, OBJECT, PAGE_RECORD, Pieces, object_bytes};

/// Pages with consecutive numbers that lie one after the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Run {
    pub first_block: u32,
    pub blocks: u32,
    pub offset: u64,
}

impl Run {
    /// The block after the last one.
    pub fn end(&self) -> u64 {
        u64::from(self.first_block) + u64::from(self.blocks)
    }

    fn bytes(&self) -> u64 {
        u64::from(self.blocks) * PAGE_RECORD as u64
    }
}

/// One object and where its pages are. The runs hold each of the blocks `0..blocks` once, in order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct ImageObject {
    pub blocks: u32,
    pub runs: Vec<Run>,
}

/// Where a small file is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct ImageBlob {
    pub offset: u64,
    pub bytes: u64,
    pub crc: u32,
}

/// The index of a layer file, in memory: a few dozen bytes for each file that the cluster had.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct LayerIndex {
    pub(super) objects: BTreeMap<Object, ImageObject>,
    pub(super) blobs: BTreeMap<String, ImageBlob>,
}

impl LayerIndex {
    /// Every object with its size in blocks.
    pub fn objects(&self) -> impl Iterator<Item = (Object, u32)> + '_ {
        self.objects.iter().map(|(object, image)| (*object, image.blocks))
    }

    /// The names of the small files.
    pub fn blobs(&self) -> impl Iterator<Item = &str> + '_ {
        self.blobs.keys().map(String::as_str)
    }

    /// Where in the file a page is, and how many lie side by side from it on, itself included. `None` if the layer does not have it.
    pub(super) fn page(&self, key: PageKey) -> Option<(u64, u32)> {
        let runs = &self.objects.get(&key.object)?.runs;
        let run = runs[..runs.partition_point(|run| run.first_block <= key.block)].last()?;
        let place = key.block - run.first_block;
        (place < run.blocks).then(|| (run.offset + u64::from(place) * PAGE_RECORD as u64, run.blocks - place))
    }

    /// The footer's bytes.
    ///
    /// # Errors
    /// [`LayerFormatError::Value`] with more than 2³² entries of a kind, or a name longer than 65535 bytes.
    pub fn to_bytes(&self) -> Result<Vec<u8>, LayerFormatError> {
        let mut out = Vec::new();
        put_count(&mut out, self.objects.len())?;
        for (object, image) in &self.objects {
            out.extend_from_slice(&object_bytes(*object));
            out.extend_from_slice(&image.blocks.to_le_bytes());
        }
        put_count(&mut out, self.objects.values().map(|image| image.runs.len()).sum())?;
        for (number, image) in self.objects.values().enumerate() {
            for run in &image.runs {
                out.extend_from_slice(&(number as u32).to_le_bytes());
                out.extend_from_slice(&run.first_block.to_le_bytes());
                out.extend_from_slice(&run.blocks.to_le_bytes());
                out.extend_from_slice(&run.offset.to_le_bytes());
            }
        }
        put_count(&mut out, self.blobs.len())?;
        for (name, blob) in &self.blobs {
            let wrong = |_| LayerFormatError::Value(format!("a name of {} bytes is too long", name.len()));
            out.extend_from_slice(&u16::try_from(name.len()).map_err(wrong)?.to_le_bytes());
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(&blob.offset.to_le_bytes());
            out.extend_from_slice(&blob.bytes.to_le_bytes());
            out.extend_from_slice(&blob.crc.to_le_bytes());
        }
        Ok(out)
    }

    /// Reads a footer. `data_end` is where the data of the file ends, that is the file offset of the footer.
    ///
    /// # Errors
    /// [`LayerFormatError`] for everything that no writer writes: what is accepted gives the same bytes when it is written.
    pub fn parse(footer: &[u8], data_end: u64) -> Result<LayerIndex, LayerFormatError> {
        let mut pieces = Pieces::new(footer);
        let mut objects = parse_objects(&mut pieces)?;
        parse_runs(&mut pieces, &mut objects, data_end)?;
        for (object, image) in &objects {
            let end = image.runs.last().map_or(0, Run::end);
            if end != u64::from(image.blocks) {
                return wrong(format!("{object} has {} blocks, but pages for {end}", image.blocks));
            }
        }
        let blobs = parse_blobs(&mut pieces, data_end)?;
        pieces.finish()?;
        Ok(LayerIndex { objects: objects.into_iter().collect(), blobs })
    }
}

fn wrong<T>(text: String) -> Result<T, LayerFormatError> {
    Err(LayerFormatError::Value(text))
}

fn put_count(out: &mut Vec<u8>, count: usize) -> Result<(), LayerFormatError> {
    let count = u32::try_from(count).map_err(|_| LayerFormatError::Value(format!("{count} entries are too many")))?;
    out.extend_from_slice(&count.to_le_bytes());
    Ok(())
}

/// The number of blocks that an object can have at most.
pub(crate) fn max_blocks(object: Object) -> u32 {
    match object {
        // One less than PostgreSQL's own bound (32 TiB less 8 KiB): the largest number means "no object" in the histories of sizes.
        Object::Relation(_) => u32::MAX - 1,
        Object::Slru(_) => SlruKind::PAGES_PER_SEGMENT,
    }
}

fn parse_objects(pieces: &mut Pieces<'_>) -> Result<Vec<(Object, ImageObject)>, LayerFormatError> {
    let count = pieces.count(OBJECT + 4, "the objects")?;
    let mut objects: Vec<(Object, ImageObject)> = Vec::with_capacity(count);
    for _ in 0..count {
        let (object, blocks) = (pieces.object()?, pieces.u32("a size")?);
        if objects.last().is_some_and(|(last, _)| *last >= object) {
            return wrong(format!("{object} is out of order"));
        }
        if blocks > max_blocks(object) {
            return wrong(format!("{object} has {blocks} blocks"));
        }
        objects.push((object, ImageObject { blocks, runs: Vec::new() }));
    }
    Ok(objects)
}

fn parse_runs(
    pieces: &mut Pieces<'_>,
    objects: &mut [(Object, ImageObject)],
    data_end: u64,
) -> Result<(), LayerFormatError> {
    let mut last = 0;
    for _ in 0..pieces.count(20, "the runs")? {
        let number = pieces.u32("a run")? as usize;
        let (first_block, blocks) = (pieces.u32("a run")?, pieces.u32("a run")?);
        let run = Run { first_block, blocks, offset: pieces.u64("a run")? };
        if number >= objects.len() || number < last {
            return wrong(format!("a run of object {number} of {} is out of order", objects.len()));
        }
        last = number;
        let (object, image) = &mut objects[number];
        if blocks == 0 || u64::from(first_block) != image.runs.last().map_or(0, Run::end) {
            return wrong(format!("{object}: {blocks} pages from {first_block} on do not follow those before"));
        }
        check_place(run.offset, run.bytes(), data_end)?;
        image.runs.push(run);
    }
    Ok(())
}

fn parse_blobs(pieces: &mut Pieces<'_>, data_end: u64) -> Result<BTreeMap<String, ImageBlob>, LayerFormatError> {
    let mut blobs: BTreeMap<String, ImageBlob> = BTreeMap::new();
    for _ in 0..pieces.count(22, "the small files")? {
        let len = pieces.u16("the length of a name")?;
        let name = pieces.take(usize::from(len), "a name")?;
        let Ok(name) = std::str::from_utf8(name) else {
            return wrong(format!("the name {name:02X?} is not UTF-8"));
        };
        let (offset, bytes) = (pieces.u64("a small file")?, pieces.u64("a small file")?);
        check_place(offset, bytes, data_end)?;
        if blobs.last_key_value().is_some_and(|(last, _)| last.as_str() >= name) {
            return wrong(format!("{name:?} is out of order"));
        }
        blobs.insert(name.to_owned(), ImageBlob { offset, bytes, crc: pieces.u32("a small file")? });
    }
    Ok(blobs)
}

fn check_place(offset: u64, bytes: u64, data_end: u64) -> Result<(), LayerFormatError> {
    let inside = offset >= HEADER as u64 && offset.checked_add(bytes).is_some_and(|end| end <= data_end);
    if inside { Ok(()) } else { wrong(format!("{bytes} bytes at {offset} are not within {HEADER} to {data_end}")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pgdata::{Fork, RelTag, SlruSegment};
    use proptest::prelude::*;

    fn sample() -> LayerIndex {
        let rel = RelTag { spc: 1663, db: 5, rel: 16384, fork: Fork::Main };
        let run = |first_block, blocks, offset| Run { first_block, blocks, offset };
        let image = |blocks, runs| ImageObject { blocks, runs };
        let slru = SlruSegment { kind: SlruKind::CommitTs, segno: 70000 };
        LayerIndex {
            objects: BTreeMap::from([
                (rel.into(), image(5, vec![run(0, 2, 64), run(2, 3, 90000)])),
                (rel.with_fork(Fork::Vm).into(), image(0, vec![])),
                (slru.into(), image(1, vec![run(0, 1, 30000)])),
            ]),
            blobs: BTreeMap::from([("global/pg_control".to_owned(), ImageBlob { offset: 50000, bytes: 8192, crc: 9 })]),
        }
    }

    #[test]
    fn round_trips_and_finds_pages() {
        let index = sample();
        let bytes = index.to_bytes().unwrap();
        assert_eq!(LayerIndex::parse(&bytes, 200_000).unwrap(), index);
        let rel = RelTag { spc: 1663, db: 5, rel: 16384, fork: Fork::Main };
        let at = |block| index.page(PageKey::relation(rel, block));
        assert_eq!([at(0), at(1), at(2)], [Some((64, 2)), Some((64 + 8196, 1)), Some((90000, 3))]);
        assert_eq!([at(4), at(5)], [Some((106_392, 1)), None]);
        assert_eq!(index.page(PageKey::relation(rel.with_fork(Fork::Vm), 0)), None);
    }

    #[test]
    fn what_lies_outside_the_data_is_refused() {
        let bytes = sample().to_bytes().unwrap();
        let end = 90_000 + 3 * 8196;
        assert!(LayerIndex::parse(&bytes, end).is_ok());
        assert!(matches!(LayerIndex::parse(&bytes, end - 1), Err(LayerFormatError::Value(_))));
    }

    proptest! {
        #[test]
        fn damaged_footers_are_refused_or_mean_what_they_say(at in 0usize..200, value: u8, cut in 0usize..250) {
            let mut bytes = sample().to_bytes().unwrap();
            let len = bytes.len();
            bytes[at % len] = value;
            bytes.truncate(len.min(cut));
            if let Ok(index) = LayerIndex::parse(&bytes, 200_000) {
                prop_assert_eq!(index.to_bytes().unwrap(), bytes);
            }
        }
    }
}
