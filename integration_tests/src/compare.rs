//! Comparing every page of a stopped PostgreSQL with what another source says, byte for byte. Nothing is masked.

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};

use anyhow::{Context, Result, bail, ensure};
use pgdata::{Fork, Lsn, Object, Page, PageKey, RelTag, SlruSegment, page_lsn};

use crate::{DataFiles, WalDump};

/// Blocks that are asked for at a time.
const BATCH: u32 = 256;
/// Differences that are told in full; the others are counted.
const TOLD: usize = 10;

/// Something that knows the pages of a cluster at an LSN.
pub trait PageSource {
    /// The number of blocks in a fork of a relation; nothing if there is no such fork.
    ///
    /// # Errors
    /// The source's.
    fn relation_blocks(&mut self, rel: RelTag, lsn: Lsn) -> Result<Option<u32>>;

    /// `count` blocks of a fork of a relation from `first` on.
    ///
    /// # Errors
    /// The source's.
    fn relation_pages(&mut self, rel: RelTag, first: u32, count: u32, lsn: Lsn) -> Result<Vec<Page>>;

    /// All pages of an SLRU segment; nothing if there is no such segment.
    ///
    /// # Errors
    /// The source's.
    fn slru_pages(&mut self, segment: SlruSegment, lsn: Lsn) -> Result<Option<Vec<Page>>>;
}

/// The files of a stopped server know one LSN: the one that they are at.
impl PageSource for DataFiles {
    fn relation_blocks(&mut self, rel: RelTag, _: Lsn) -> Result<Option<u32>> {
        Ok(self.size(rel.into()))
    }

    fn relation_pages(&mut self, rel: RelTag, first: u32, count: u32, _: Lsn) -> Result<Vec<Page>> {
        self.read(rel.into(), first, count)
    }

    fn slru_pages(&mut self, segment: SlruSegment, _: Lsn) -> Result<Option<Vec<Page>>> {
        let Some(blocks) = self.size(segment.into()) else { return Ok(None) };
        self.read(segment.into(), 0, blocks).map(Some)
    }
}

/// What a comparison has looked at.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Report {
    /// Relation forks compared: main, visibility map and init.
    pub forks: u64,
    /// Their blocks.
    pub blocks: u64,
    /// SLRU segments compared.
    pub slru_segments: u64,
    /// Their pages.
    pub slru_pages: u64,
    /// Free space maps, which are not compared: their contents are not WAL-logged.
    pub fsm_forks: u64,
    /// Their blocks.
    pub fsm_blocks: u64,
    /// Objects that once were and must not be at this LSN.
    pub absent: u64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { forks, blocks, slru_segments, slru_pages, fsm_forks, fsm_blocks, absent } = self;
        write!(
            f,
            "{forks} relation forks with {blocks} blocks and {slru_segments} SLRU segments with {slru_pages} pages are equal, "
        )?;
        write!(f, "{absent} dropped ones are gone ({fsm_forks} free space maps with {fsm_blocks} blocks not compared)")
    }
}

/// Compares at one LSN after another and remembers the names it has met, so that what is dropped is looked for afterwards.
#[derive(Debug, Default)]
pub struct Comparison {
    met: BTreeSet<Object>,
}

impl Comparison {
    /// Compares every object in `expected` with `source` at `lsn`, and asks `source` for those that are not in `expected` any
    /// more. `wal` is asked for the history of pages that differ.
    ///
    /// # Errors
    /// If anything differs: a message that names the first differences with both pages' headers and the records that touched
    /// them; or if a side cannot be read.
    pub fn at(&mut self, lsn: Lsn, expected: &DataFiles, source: &mut dyn PageSource, wal: &WalDump) -> Result<Report> {
        let mut round = Round { lsn, expected, source, report: Report::default(), differences: Vec::new() };
        for object in expected.objects() {
            round.object(object).with_context(|| format!("comparing {object} at {lsn}"))?;
        }
        for object in self.met.iter().filter(|object| expected.size(**object).is_none()) {
            round.absent(*object).with_context(|| format!("looking for {object}, dropped before {lsn}"))?;
        }
        self.met.extend(expected.objects());
        let Round { report, differences, .. } = round;
        ensure!(report.blocks > 0 && report.slru_pages > 0, "nothing was compared at {lsn}: {report}");
        if differences.is_empty() {
            return Ok(report);
        }
        bail!(describe(lsn, &differences, wal)?)
    }
}

enum Difference {
    Size { object: Object, expected: Option<u32>, got: Option<u32> },
    Page { key: PageKey, expected: Box<Page>, got: Box<Page> },
}

struct Round<'a> {
    lsn: Lsn,
    expected: &'a DataFiles,
    source: &'a mut dyn PageSource,
    report: Report,
    differences: Vec<Difference>,
}

impl Round<'_> {
    fn object(&mut self, object: Object) -> Result<()> {
        let blocks = self.expected.size(object).context("an object without a file")?;
        match object {
            Object::Relation(rel) if rel.fork == Fork::Fsm => {
                self.report.fsm_forks += 1;
                self.report.fsm_blocks += u64::from(blocks);
                Ok(())
            }
            Object::Relation(rel) => self.relation(rel, blocks),
            Object::Slru(segment) => self.slru(segment, blocks),
        }
    }

    fn relation(&mut self, rel: RelTag, blocks: u32) -> Result<()> {
        let got = self.source.relation_blocks(rel, self.lsn)?;
        if got != Some(blocks) {
            self.differences.push(Difference::Size { object: rel.into(), expected: Some(blocks), got });
        }
        let both = blocks.min(got.unwrap_or(0));
        for first in (0..both).step_by(BATCH as usize) {
            let count = BATCH.min(both - first);
            let expected = self.expected.read(rel.into(), first, count)?;
            let got = self.source.relation_pages(rel, first, count, self.lsn)?;
            self.pages(rel.into(), first, &expected, &got)?;
        }
        self.report.forks += 1;
        self.report.blocks += u64::from(both);
        Ok(())
    }

    fn slru(&mut self, segment: SlruSegment, blocks: u32) -> Result<()> {
        let expected = self.expected.read(segment.into(), 0, blocks)?;
        let got = self.source.slru_pages(segment, self.lsn)?;
        let got_blocks = got.as_ref().map(|pages| pages.len() as u32);
        if got_blocks != Some(blocks) {
            self.differences.push(Difference::Size { object: segment.into(), expected: Some(blocks), got: got_blocks });
        }
        let got = got.unwrap_or_default();
        let both = expected.len().min(got.len());
        self.pages(segment.into(), 0, &expected[..both], &got[..both])?;
        self.report.slru_segments += 1;
        self.report.slru_pages += both as u64;
        Ok(())
    }

    fn pages(&mut self, object: Object, first: u32, expected: &[Page], got: &[Page]) -> Result<()> {
        ensure!(expected.len() == got.len(), "{} pages asked for, {} answered", expected.len(), got.len());
        for (block, (expected, got)) in (first..).zip(expected.iter().zip(got)) {
            if expected != got {
                let key = PageKey { object, block };
                let (expected, got) = (Box::new(*expected), Box::new(*got));
                self.differences.push(Difference::Page { key, expected, got });
            }
        }
        Ok(())
    }

    fn absent(&mut self, object: Object) -> Result<()> {
        let got = match object {
            Object::Relation(rel) if rel.fork == Fork::Fsm => return Ok(()),
            Object::Relation(rel) => self.source.relation_blocks(rel, self.lsn)?,
            Object::Slru(segment) => self.source.slru_pages(segment, self.lsn)?.map(|pages| pages.len() as u32),
        };
        if got.is_some() {
            self.differences.push(Difference::Size { object, expected: None, got });
        }
        self.report.absent += 1;
        Ok(())
    }
}

fn describe(lsn: Lsn, differences: &[Difference], wal: &WalDump) -> Result<String> {
    let mut text = format!("{} differences at {lsn}; the first of them:\n", differences.len());
    for difference in differences.iter().take(TOLD) {
        match difference {
            Difference::Size { object, expected, got } => {
                writeln!(text, "{object}: PostgreSQL has {}, got {}", size(*expected), size(*got))?;
            }
            Difference::Page { key, expected, got } => describe_page(&mut text, *key, expected, got, lsn, wal)?,
        }
    }
    Ok(text)
}

fn size(blocks: Option<u32>) -> String {
    blocks.map_or_else(|| "no such object".to_owned(), |blocks| format!("{blocks} blocks"))
}

fn describe_page(text: &mut String, key: PageKey, expected: &Page, got: &Page, lsn: Lsn, wal: &WalDump) -> Result<()> {
    let offsets: Vec<usize> = (0..expected.len()).filter(|&at| expected[at] != got[at]).collect();
    writeln!(text, "{key}: {} bytes differ, at offsets {:?}", offsets.len(), &offsets[..offsets.len().min(16)])?;
    for (name, page) in [("PostgreSQL", expected), ("got", got)] {
        writeln!(text, "  {name:>10}: {}", header(key, page))?;
        let at = offsets.first().copied().unwrap_or(0) / 16 * 16;
        writeln!(text, "  {:>10}  {:02x?} from offset {at}", "", &page[at..at + 16])?;
    }
    let from = wal.first_lsn()?;
    let history = wal.history(key, from, lsn)?;
    let lines: Vec<&str> = history.lines().collect();
    writeln!(text, "  {} records touch it; the last of them:", lines.len())?;
    for line in &lines[lines.len().saturating_sub(8)..] {
        writeln!(text, "    {line}")?;
    }
    Ok(())
}

/// The fields of `PageHeaderData`; SLRU pages have no header.
fn header(key: PageKey, page: &Page) -> String {
    if matches!(key.object, Object::Slru(_)) {
        return "a page without a header".to_owned();
    }
    let half = |at: usize| u16::from_le_bytes([page[at], page[at + 1]]);
    format!(
        "lsn {} checksum {:04X} flags {:04X} lower {} upper {} special {} version {:04X}",
        page_lsn(page),
        half(8),
        half(10),
        half(12),
        half(14),
        half(16),
        half(18)
    )
}
