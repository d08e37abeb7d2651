//! `bench redo`: real chains of records, applied by each engine.

use std::hint::black_box;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use pgdata::{ControlFile, Fork, Object, PAGE_SIZE, Page, PageKey, PgVersion};
use repository::{Engines, Options, Repository, Timeline};
use walredo::{NativeRedo, PostgresRedo, PostgresRedoConfig, Redo, RedoError, RedoRecord, RedoRequest, Routed};

use super::backup::TarBackup;
use super::ingest::{in_scratch, take_up};
use super::report::{Figure, Report};
use super::segments::Segments;

/// Pages of each length of chain at most.
const PAGES: usize = 200;

#[derive(Args, Debug)]
pub struct RedoArgs {
    /// A base backup: the directory that pg_basebackup --format=tar has made.
    #[arg(long, value_name = "DIR")]
    pub backup: PathBuf,
    /// WAL segments from that backup on, as in a cluster's pg_wal.
    #[arg(long, value_name = "DIR")]
    pub wal: PathBuf,
    /// Pages with so many records; each number is a measurement.
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "1,10,100")]
    pub records: Vec<usize>,
    /// Directory with the program postgres of that version [default: $PG_BIN_15 and so on, else under /usr/lib/postgresql].
    #[arg(long, value_name = "DIR")]
    pub pg_bin: Option<PathBuf>,
    /// Where a timeline is made meanwhile; it is removed again [default: the system's directory for temporary files].
    #[arg(long, value_name = "DIR")]
    pub scratch: Option<PathBuf>,
    /// Turns of each measurement.
    #[arg(long, value_name = "N", default_value_t = 9)]
    pub rounds: usize,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// What was asked of an engine: a request that owns its records.
struct Chain {
    version: PgVersion,
    key: PageKey,
    has_base: bool,
    base: Box<Page>,
    records: Vec<(pgdata::Lsn, Vec<u8>)>,
}

impl Chain {
    fn of(request: &RedoRequest<'_>, page: &Page) -> Chain {
        let records = request.records.iter().map(|record| (record.lsn, record.bytes.to_vec())).collect();
        Chain { version: request.version, key: request.key, has_base: request.has_base, base: Box::new(*page), records }
    }

    fn records(&self) -> Vec<RedoRecord<'_>> {
        self.records.iter().map(|(lsn, bytes)| RedoRecord { lsn: *lsn, bytes }).collect()
    }

    fn request<'a>(&self, records: &'a [RedoRecord<'a>]) -> RedoRequest<'a> {
        RedoRequest { version: self.version, key: self.key, has_base: self.has_base, records }
    }
}

/// An engine that only writes down what it is asked.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Vec<Chain>>>);

impl Redo for Recorder {
    fn redo(&self, request: &RedoRequest<'_>, page: &mut Page) -> Result<(), RedoError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Chain::of(request, page));
        Ok(())
    }
}

impl Engines for Recorder {
    fn engine(&self, _: PgVersion, _: &[u8]) -> Result<Arc<dyn Redo>, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Arc::new(self.clone()))
    }
}

/// Measures both engines on the same chains.
pub fn run(args: &RedoArgs) -> Result<()> {
    ensure!(args.rounds > 0, "--rounds must be at least 1");
    let backup = TarBackup::open(&args.backup)?;
    let wal = Segments::open(&args.wal, backup.info)?;
    let chains = in_scratch(args.scratch.as_deref(), |dir| {
        let recorder = Recorder::default();
        let options = Options { page_bytes: 0, image_percent: 0, ..Options::default() };
        let timeline = backup.attach(&Repository::open(dir, Box::new(recorder.clone()), options)?)?;
        take_up(&timeline, &wal)?;
        args.records
            .iter()
            .map(|records| Ok((*records, chains(&timeline, &recorder, *records)?)))
            .collect::<Result<Vec<_>>>()
    })?;
    let control = ControlFile::parse(&backup.control_file)?;
    let hint_bits_logged = control.data_checksums() || control.wal_log_hints;
    let process = process(args, &backup)?;
    let native = NativeRedo::new(hint_bits_logged, Routed::new(Arc::clone(&process)));
    let mut report = Report { method: method(args, &wal), figures: Vec::new() };
    for (records, chains) in &chains {
        let of = format!("{records} records");
        report.method.push(format!("{of}: {} pages.", chains.len()));
        let (mut floor, mut times) = (Vec::new(), [Vec::new(), Vec::new(), Vec::new()]);
        for _ in 0..args.rounds {
            floor.push(per_page(chains, copy)?);
            times[0].push(per_page(chains, |chain, page| one(&native, chain, page))?);
            times[1].push(per_page(chains, |chain, page| one(&process, chain, page))?);
            times[2].push(pipelined(&process, chains)?);
        }
        for (name, times) in ["native", "process, one at a time", "process, pipelined"].into_iter().zip(&times) {
            report.figures.push(Figure::paired(format!("{of}, {name}"), "µs", "copy of 8 KiB", times, &floor));
        }
    }
    report.print(args.json)
}

fn method(args: &RedoArgs, wal: &Segments) -> Vec<String> {
    vec![
        format!("Chains of records from {:.0} MB of WAL, each with the page that they apply to.", wal.megabytes()),
        format!(
            "{} turns of each, alternating; medians of the time for a page, the copy of its base included.",
            args.rounds
        ),
        "Native: in this process. Process: PostgreSQL's own redo, in one process. Floor: the copy of the base alone."
            .to_owned(),
    ]
}

fn process(args: &RedoArgs, backup: &TarBackup) -> Result<Arc<PostgresRedo>> {
    let mut config = PostgresRedoConfig::new(backup.control_file.clone());
    let variable = format!("PG_BIN_{}", backup.info.version);
    config.bin_dir = args.pg_bin.clone().or_else(|| std::env::var_os(variable).map(PathBuf::from));
    config.max_children = 1;
    Ok(Arc::new(PostgresRedo::start(config)?))
}

/// Pages of relations that as many records or more have to be applied to, and of these the oldest: they make the page as it was earlier.
fn chains(timeline: &Timeline, recorder: &Recorder, records: usize) -> Result<Vec<Chain>> {
    let lsn = timeline.last_record_lsn();
    let mut page = Box::new([0; PAGE_SIZE]);
    let blocks = timeline.objects(lsn)?.into_iter().filter_map(|(object, size)| match object {
        Object::Relation(rel) if rel.fork == Fork::Main => Some((0..size).map(move |block| (rel, block))),
        _ => None,
    });
    let mut found = 0;
    for (rel, block) in blocks.flatten() {
        if found < PAGES && timeline.pending_records(rel, block, lsn)? >= records {
            timeline.get_page_once(PageKey::relation(rel, block), lsn, &mut page)?;
            found += 1;
        }
    }
    let mut chains = std::mem::take(&mut *recorder.0.lock().unwrap_or_else(PoisonError::into_inner));
    ensure!(!chains.is_empty(), "no page has {records} records: choose other numbers with --records");
    chains.iter_mut().for_each(|chain| chain.records.truncate(records));
    Ok(chains)
}

/// The mean time for a page, in microseconds, over all chains.
fn per_page(chains: &[Chain], mut work: impl FnMut(&Chain, &mut Page) -> Result<()>) -> Result<f64> {
    let mut page = Box::new([0; PAGE_SIZE]);
    let start = Instant::now();
    chains.iter().try_for_each(|chain| work(chain, &mut page))?;
    Ok(micros(start.elapsed(), chains.len()))
}

fn micros(time: Duration, pages: usize) -> f64 {
    time.as_secs_f64() * 1e6 / pages as f64
}

fn copy(chain: &Chain, page: &mut Page) -> Result<()> {
    page.copy_from_slice(&*chain.base);
    black_box(page);
    Ok(())
}

fn one(engine: &dyn Redo, chain: &Chain, page: &mut Page) -> Result<()> {
    page.copy_from_slice(&*chain.base);
    let records = chain.records();
    engine.redo(&chain.request(&records), page).with_context(|| format!("page {}", chain.key))?;
    black_box(page);
    Ok(())
}

fn pipelined(process: &PostgresRedo, chains: &[Chain]) -> Result<f64> {
    let start = Instant::now();
    let records: Vec<_> = chains.iter().map(Chain::records).collect();
    let requests: Vec<_> = chains.iter().zip(&records).map(|(chain, records)| chain.request(records)).collect();
    let mut pages: Vec<Page> = chains.iter().map(|chain| *chain.base).collect();
    process.redo_batch(&requests, &mut pages).into_iter().collect::<Result<Vec<_>, _>>()?;
    black_box(&pages);
    Ok(micros(start.elapsed(), chains.len()))
}
