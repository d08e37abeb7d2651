//! PostgreSQL's own check of redo, applied to ours: under `wal_consistency_checking = all` every record carries each page that it
//! changes as the primary had it afterwards. Our page at the record's LSN, read through the repository as a library, must equal it
//! after the resource manager's own masking (`rm_mask`, run by the stock server itself).
//!
//! Pages are made by the native engine; the stock server makes each of them too, from the same records, and the two must be equal in
//! every byte, unmasked.
//!
//! All records and all of their images are compared; none is left out but those that PostgreSQL itself cannot compare: images
//! that are restored, since the page then *is* the image; and, counted in the output, those written while the base backup was taken,
//! where no LSN can be read.

mod fed;

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, ensure};
use fed::both::{BothEngines, Seen};
use integration_tests::workload::{self, Workload};
use integration_tests::{Cluster, in_scratch};
use pgdata::{Lsn, PAGE_SIZE, Page, PageKey, PgVersion};
use repository::Timeline;
use wal_decoder::rmgr::{RM_GIST_ID, rmgr_name};
use wal_decoder::{Record, WalStream};
use walredo::{PostgresRedo, record_type};

/// PostgreSQL's redo of a record that deletes tuples from a GiST page sets `F_TUPLES_DELETED`, which nothing reads. In minor releases before the
/// flag was given up the primary did not, and no mask hides it.
const GIST_TUPLES_DELETED: u8 = 1 << 2;
const GIST_FLAGS: usize = PAGE_SIZE - 4;
/// How many pages are compared at a time.
const THREADS: u32 = 2;

#[test]
fn every_page_after_every_record_is_the_primarys() {
    in_scratch("wal_consistency", run);
}

fn run(dir: &Path) -> Result<()> {
    let options = workload::options().with("wal_consistency_checking", "all").with("wal_compression", "lz4");
    let mut primary = Cluster::start_new(&dir.join("primary"), &options)?;
    let mut work = Workload::set_up(&primary)?;
    fed::take_backup(&primary, &dir.join("backup"))?;
    let consistent = primary.current_lsn()?;
    work.round()?;
    let end = primary.current_lsn()?;
    primary.stop()?;

    let engines = BothEngines::of(&primary)?;
    let (judge, seen) = (Arc::clone(&engines.stock), Arc::clone(&engines.seen));
    let timeline = fed::attach(&dir.join("repository"), engines, &dir.join("backup"), consistent)?;
    let wal = primary.data().join("pg_wal");
    fed::ingest(&timeline, &wal, end)?;
    ensure!(timeline.last_record_lsn() == end, "ingest came to {}, not to {end}", timeline.last_record_lsn());

    let images = images(&timeline, &wal, end)?;
    println!("{} images to compare; {:?}", images.len(), timeline.status());
    let tally = compare_all(&timeline, &judge, &images)?;
    let total: usize = tally.values().sum();
    println!("{} images compared after masking, by resource manager and operation:\n{}", total, table(&tally));
    for needed in ["Heap", "Heap2", "Btree", "Hash", "Gin", "Gist", "Sequence", "SPGist", "BRIN", "Generic"] {
        ensure!(tally.keys().any(|(name, _)| name == needed), "the workload wrote no page of {needed}");
    }
    println!("native against stock, byte for byte:\n{}", seen.verdict()?);
    negative_control(&timeline, &judge, &images)?;
    without_some_records(&timeline, &judge, &seen, &images)
}

/// A page as the primary had it after a record.
struct Image {
    key: PageKey,
    lsn: Lsn,
    version: PgVersion,
    rmid: u8,
    info: u8,
    page: Box<Page>,
}

/// Every image of the WAL that is there for comparing, at LSNs that can be read.
fn images(timeline: &Timeline, wal: &Path, end: Lsn) -> Result<Vec<Image>> {
    let info = timeline.info();
    let mut stream = WalStream::new(info.start_lsn, info.segment_size.bytes(), info.version)?;
    let (mut images, mut early) = (Vec::new(), 0);
    let (mut at, mut last) = (info.start_lsn, info.start_lsn);
    while at < end {
        let segno = info.segment_size.segment_of(at);
        let segment = fs::read(wal.join(info.segment_size.file_name(info.pg_timeline, segno)))?;
        let offset = info.segment_size.offset_of(at) as usize;
        let mut whole = stream.feed(&segment[offset..]);
        at = info.segment_size.start_of(segno + 1).context("the last segment")?;
        while last < end {
            let Some(raw) = whole.next_record()? else { break };
            last = raw.lsn;
            let record = Record::parse(info.version, raw.lsn, raw.bytes)?;
            if record.lsn >= timeline.consistent_lsn() {
                collect(&record, &mut images)?;
            } else {
                early += record.blocks.iter().filter(|block| block.image.is_some_and(|image| !image.apply)).count();
            }
        }
    }
    println!("{early} images left out: they lie before the backup's end, where nothing can be read");
    Ok(images)
}

fn collect(record: &Record<'_>, images: &mut Vec<Image>) -> Result<()> {
    for block in &record.blocks {
        let Some(image) = block.image.filter(|image| !image.apply) else { continue };
        let mut page = Box::new([0; PAGE_SIZE]);
        image.restore(&mut page)?;
        let key = PageKey::relation(block.rel, block.block);
        images.push(Image {
            key,
            lsn: record.lsn,
            version: record.version,
            rmid: record.rmid,
            info: record.info,
            page,
        });
    }
    Ok(())
}

/// How many images were compared, by resource manager and operation.
type Tally = BTreeMap<(String, &'static str), usize>;

fn compare_all(timeline: &Timeline, judge: &PostgresRedo, images: &[Image]) -> Result<Tally> {
    let tally = Mutex::new(Tally::new());
    let failures = Mutex::new(Vec::new());
    // Each page's images are compared by one thread, in the order of their LSNs: see `fed` for why that is fast.
    let work = &|thread: u32| {
        for image in images.iter().filter(|image| image.key.block % THREADS == thread) {
            match compare(timeline, judge, image) {
                Ok(()) => {
                    let kind = (rmgr_name(image.rmid).to_string(), record_type(image.version, image.rmid, image.info));
                    *tally.lock().expect("no panic").entry(kind).or_default() += 1;
                }
                Err(error) => failures.lock().expect("no panic").push(format!("{error:#}")),
            }
        }
    };
    std::thread::scope(|scope| {
        (0..THREADS).for_each(|thread| drop(scope.spawn(move || work(thread))));
    });
    let failures = failures.into_inner().expect("no panic");
    ensure!(failures.is_empty(), "{} of {} pages differ, the first: {}", failures.len(), images.len(), failures[0]);
    Ok(tally.into_inner().expect("no panic"))
}

fn compare(timeline: &Timeline, judge: &PostgresRedo, image: &Image) -> Result<()> {
    let Image { key, lsn, rmid, info, .. } = *image;
    let what = || format!("{key} after the record ending at {lsn} ({} info {info:#04X})", rmgr_name(rmid));
    let mut ours = Box::new([0; PAGE_SIZE]);
    timeline.get_page(key, lsn, &mut ours).with_context(what)?;
    differ(judge, image, &mut ours).with_context(what)
}

/// An error if our page and the primary's are not the same after masking.
fn differ(judge: &PostgresRedo, image: &Image, ours: &mut Page) -> Result<()> {
    let mut theirs = image.page.clone();
    judge.mask(image.rmid, image.key.block, ours, &mut theirs)?;
    if image.rmid == RM_GIST_ID {
        theirs[GIST_FLAGS] |= ours[GIST_FLAGS] & GIST_TUPLES_DELETED;
    }
    let first = ours.iter().zip(theirs.iter()).position(|(a, b)| a != b);
    ensure!(
        first.is_none(),
        "byte {} differs: ours {:#04X}, the primary's {:#04X}",
        first.unwrap_or(0),
        ours[first.unwrap_or(0)],
        theirs[first.unwrap_or(0)]
    );
    Ok(())
}

/// The operation's bits of `xl_info`, without a heap record's mark of a new page, which is another bit and no operation.
fn operation(image: &Image) -> u8 {
    image.info & 0xF0
}

fn table(tally: &Tally) -> String {
    let mut text = String::new();
    for ((rmgr, operation), count) in tally {
        let _ = writeln!(text, "  {rmgr:12} {operation:22} {count:8}");
    }
    text
}

/// The comparison notices a page that is one record too old: the page before each of some records is not the page after it.
fn negative_control(timeline: &Timeline, judge: &PostgresRedo, images: &[Image]) -> Result<()> {
    let heap = images.iter().filter(|image| rmgr_name(image.rmid) == "Heap" && operation(image) & 0x70 == 0);
    let (mut tried, mut noticed) = (0, 0);
    for image in heap.take(1000) {
        let before = Lsn(image.lsn.0 - 8);
        let mut ours = Box::new([0; PAGE_SIZE]);
        if before >= timeline.consistent_lsn() && timeline.get_page(image.key, before, &mut ours).is_ok() {
            tried += 1;
            noticed += usize::from(differ(judge, image, &mut ours).is_err());
        }
    }
    println!("negative control: {noticed} of {tried} pages without their last inserting record were noticed");
    ensure!(tried > 0 && noticed == tried, "a page without its last record passed for the right one");
    Ok(())
}

/// Every thousandth record is left out on a fifth of the pages: the comparison must say which pages lack one. Some changes do not show
/// on a masked page, so that not each need be noticed.
fn without_some_records(timeline: &Timeline, judge: &PostgresRedo, seen: &Seen, images: &[Image]) -> Result<()> {
    seen.drop_every(1000);
    let mut wrong = HashSet::new();
    for image in images.iter().filter(|image| image.key.block % 5 == 1) {
        if compare(timeline, judge, image).is_err() {
            wrong.insert((image.key, image.lsn));
        }
    }
    let dropped = seen.dropped();
    let noticed = dropped.iter().filter(|page| wrong.contains(page)).count();
    println!("{noticed} of {} records left out were noticed at once, {} pages were wrong", dropped.len(), wrong.len());
    ensure!(
        noticed > 0 && noticed * 10 >= dropped.len() * 9,
        "records were left out and the comparison did not notice"
    );
    Ok(())
}
