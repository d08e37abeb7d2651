//! The repository as a library, without any server: a base backup and WAL segments from files.

#[allow(dead_code, reason = "not every test compares engines")]
pub mod both;

use std::collections::HashMap;
use std::error::Error;
use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::path::Path;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, ensure};
use integration_tests::{Cluster, RunAs, run};
use pgdata::wal::SegmentSize;
use pgdata::{ControlFile, Lsn, Page, PageKey, PgVersion};
use repository::{Attach, DEFAULT_TENANT, Engines, Options, Repository, Timeline, TimelineInfo};
use walredo::{PostgresRedo, PostgresRedoConfig, Redo, RedoError, RedoRequest, Routed};

/// All records stay in memory: these tests read each of them many times.
const WINDOW: usize = 4 << 30;

/// The stock server as the redo engine, shared by whoever asks.
pub struct StockEngine(pub Arc<PostgresRedo>);

impl StockEngine {
    /// An engine for the WAL of a cluster.
    pub fn of(cluster: &Cluster) -> Result<StockEngine> {
        let control_file = fs::read(cluster.data().join("global/pg_control"))?;
        let mut config = PostgresRedoConfig::new(control_file);
        config.bin_dir = Some(cluster.install().bin().to_owned());
        Ok(StockEngine(Arc::new(PostgresRedo::start(config)?)))
    }
}

impl Engines for StockEngine {
    fn engine(&self, _: PgVersion, _: &[u8]) -> Result<Arc<dyn Redo>, Box<dyn Error + Send + Sync>> {
        Ok(Arc::new(Resuming::new(Routed::new(Arc::clone(&self.0)))))
    }
}

/// Goes on from the page that it made last, where a request only continues the one before: who reads a page after each of a
/// thousand records has each record applied once, not half a million applied. The page that it goes on from is always its own.
pub struct Resuming<R> {
    inner: R,
    made: Mutex<HashMap<PageKey, Made>>,
}

/// A page, and the first and the last record of the chain that made it.
struct Made {
    first: Lsn,
    last: Lsn,
    page: Box<Page>,
}

impl<R> Resuming<R> {
    pub fn new(inner: R) -> Resuming<R> {
        Resuming { inner, made: Mutex::default() }
    }

    /// Puts the page made last into `page`, if it was made by the beginning of this request; answers how many records that was.
    fn resume(&self, request: &RedoRequest<'_>, page: &mut Page) -> usize {
        let mut made = self.made.lock().expect("no panic");
        let Some(before) = made.remove(&request.key) else { return 0 };
        let same_start = request.records.first().is_some_and(|record| record.lsn == before.first);
        match request.records.binary_search_by_key(&before.last, |record| record.lsn) {
            Ok(at) if same_start => {
                *page = *before.page;
                at + 1
            }
            _ => 0,
        }
    }
}

impl<R: Redo> Redo for Resuming<R> {
    fn redo(&self, request: &RedoRequest<'_>, page: &mut Page) -> Result<(), RedoError> {
        let done = self.resume(request, page);
        let rest =
            RedoRequest { has_base: request.has_base || done > 0, records: &request.records[done..], ..*request };
        self.inner.redo(&rest, page)?;
        if let [first, .., last] | [first @ last] = request.records {
            let made = Made { first: first.lsn, last: last.lsn, page: Box::new(*page) };
            self.made.lock().expect("no panic").insert(request.key, made);
        }
        Ok(())
    }
}

/// Takes a base backup into the new directory `dir`: `base.tar`, and `OID.tar` for each tablespace.
pub fn take_backup(cluster: &Cluster, dir: &Path) -> Result<()> {
    RunAs::server_user().make_dir(dir)?;
    let mut command = cluster.client("pg_basebackup");
    command.args(["--format=tar", "--wal-method=none", "--checkpoint=fast", "--no-sync", "--pgdata"]).arg(dir);
    run(&mut command)?;
    Ok(())
}

/// Makes a timeline of a backup, consistent at `end` or before, in a new repository.
pub fn attach(dir: &Path, engines: impl Engines + 'static, backup: &Path, end: Lsn) -> Result<Arc<Timeline>> {
    let options = Options { window_bytes: WINDOW, page_bytes: 0, image_percent: 0 };
    let repository = Repository::open(dir, Box::new(engines), options)?;
    let mut attach = repository.reserve("main")?.attach(info(backup)?)?;
    for entry in fs::read_dir(backup)? {
        let path = entry?.path();
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        if stem == "base" {
            feed(&mut attach, &path, "")?;
        } else if stem.parse::<u32>().is_ok() {
            feed(&mut attach, &path, &format!("pg_tblspc/{stem}/"))?;
        }
    }
    let timeline = attach.finish(end)?;
    ensure!(
        repository.timeline(DEFAULT_TENANT, "main")?.id() == timeline.id(),
        "the timeline is not found by its name"
    );
    Ok(timeline)
}

/// What the backup is of, from its own files.
fn info(backup: &Path) -> Result<TimelineInfo> {
    let control = ControlFile::parse(&member(backup, "global/pg_control")?)?;
    let label = String::from_utf8(member(backup, "backup_label")?)?;
    let start = label.split_whitespace().nth(3).context("backup_label has no start")?;
    let timeline = label.lines().find_map(|line| line.strip_prefix("START TIMELINE: "));
    Ok(TimelineInfo {
        version: control.version,
        system_id: control.system_identifier,
        segment_size: SegmentSize::new(control.wal_segment_size)?,
        pg_timeline: timeline.context("backup_label has no timeline")?.parse()?,
        start_lsn: start.parse()?,
    })
}

fn archive(path: &Path) -> Result<tar::Archive<BufReader<File>>> {
    Ok(tar::Archive::new(BufReader::new(File::open(path)?)))
}

fn member(backup: &Path, name: &str) -> Result<Vec<u8>> {
    for entry in archive(&backup.join("base.tar"))?.entries()? {
        let mut entry = entry?;
        if entry.path()?.as_os_str() == name {
            let mut content = Vec::new();
            entry.read_to_end(&mut content)?;
            return Ok(content);
        }
    }
    anyhow::bail!("the backup has no {name}")
}

fn feed(attach: &mut Attach, tar: &Path, prefix: &str) -> Result<()> {
    let mut buffer = vec![0; 100_000];
    for entry in archive(tar)?.entries()? {
        let mut entry = entry?;
        let path = format!("{prefix}{}", entry.path()?.to_str().context("a strange path")?);
        if entry.header().entry_type().is_symlink() {
            let target = entry.link_name()?.context("a link without a target")?;
            attach.link(&path, target.to_str().context("a strange link")?)?;
        } else if entry.header().entry_type().is_file() {
            attach.file_begin(&path, entry.size())?;
            loop {
                match entry.read(&mut buffer)? {
                    0 => break,
                    got => attach.file_data(&buffer[..got])?,
                }
            }
            attach.file_end()?;
        }
    }
    Ok(())
}

/// Gives a timeline all WAL up to `end` out of a directory of segment files.
pub fn ingest(timeline: &Timeline, wal: &Path, end: Lsn) -> Result<()> {
    let info = timeline.info();
    let mut ingest = timeline.ingest();
    let mut at = ingest.resume_lsn();
    while at < end {
        let name = info.segment_size.file_name(info.pg_timeline, info.segment_size.segment_of(at));
        let segment = fs::read(wal.join(&name)).with_context(|| name.clone())?;
        let from = info.segment_size.offset_of(at) as usize;
        let to = segment.len().min(from + end.bytes_since(at) as usize);
        // In pieces, as from a socket.
        for piece in segment[from..to].chunks(3 << 20) {
            ingest.write(at, piece)?;
            ingest.flush()?;
            at = Lsn(at.0 + piece.len() as u64);
        }
    }
    Ok(())
}
