//! The history of a running server in a repository, as the source of backups at any LSN.

use std::error::Error;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use basebackup::{DataSource, SourceError};
use integration_tests::{Cluster, RunAs, run};
use pgdata::wal::SegmentSize;
use pgdata::{ClusterState, ControlFile, Lsn, Object, Page, PageKey, PgVersion};
use repository::{Attach, Engines, Options, Repository, Timeline, TimelineInfo};
use walredo::{PostgresRedo, PostgresRedoConfig, Redo, Routed};

/// A timeline at one LSN, and the directory of WAL segments that it was fed with.
pub struct TimelineSource {
    pub timeline: Arc<Timeline>,
    pub lsn: Lsn,
    pub wal: Option<PathBuf>,
}

impl DataSource for TimelineSource {
    fn lsn(&self) -> Lsn {
        self.lsn
    }

    fn cluster(&self) -> Result<ClusterState, SourceError> {
        Ok(self.timeline.cluster(self.lsn)?)
    }

    fn objects(&self) -> Result<Vec<(Object, u32)>, SourceError> {
        Ok(self.timeline.objects(self.lsn)?)
    }

    fn page(&self, key: PageKey, page: &mut Page) -> Result<(), SourceError> {
        Ok(self.timeline.get_page(key, self.lsn, page)?)
    }

    fn blobs(&self) -> Result<Vec<String>, SourceError> {
        Ok(self.timeline.blobs(self.lsn)?)
    }

    fn blob(&self, name: &str) -> Result<Vec<u8>, SourceError> {
        Ok(self.timeline.blob(name, self.lsn)?.ok_or("it does not exist")?)
    }

    fn last_record_start(&self) -> Result<Option<Lsn>, SourceError> {
        Ok(None)
    }

    fn wal(&self, start: Lsn, bytes: &mut [u8]) -> Result<bool, SourceError> {
        let Some(wal) = &self.wal else { return Ok(false) };
        let info = self.timeline.info();
        let name = info.segment_size.file_name(info.pg_timeline, info.segment_size.segment_of(start));
        let file = File::open(wal.join(name))?;
        file.read_exact_at(bytes, u64::from(info.segment_size.offset_of(start)))?;
        Ok(true)
    }
}

struct StockEngine(Arc<PostgresRedo>);

impl Engines for StockEngine {
    fn engine(&self, _: PgVersion, _: &[u8]) -> Result<Arc<dyn Redo>, Box<dyn Error + Send + Sync>> {
        Ok(Arc::new(Routed::new(Arc::clone(&self.0))))
    }
}

/// Takes a base backup of a running cluster with a tablespace at `location`; `work` goes on with it and returns the LSN where the history ends. Then the backup
/// and the WAL become a timeline in a repository under `dir`.
pub fn follow(
    cluster: &Cluster,
    location: &Path,
    dir: &Path,
    work: impl FnOnce() -> Result<Lsn>,
) -> Result<Arc<Timeline>> {
    RunAs::server_user().make_dir(dir)?;
    let backup = dir.join("backup");
    let mapped = format!("{}={}", location.display(), dir.join("ts").display());
    let mut command = cluster.client("pg_basebackup");
    command.args(["--format=plain", "--wal-method=none", "--checkpoint=fast", "--no-sync"]);
    run(command.arg("--tablespace-mapping").arg(mapped).arg("--pgdata").arg(&backup))?;
    let backup_end = cluster.current_lsn()?;
    let end = work()?;

    let control_file = fs::read(backup.join("global/pg_control"))?;
    let mut config = PostgresRedoConfig::new(control_file.clone());
    config.bin_dir = Some(cluster.install().bin().to_owned());
    let engine = StockEngine(Arc::new(PostgresRedo::start(config)?));
    let repository = Repository::open(&dir.join("repository"), Box::new(engine), Options::default())?;
    let mut attach = repository.reserve("main")?.attach(info(&backup, &control_file)?)?;
    feed(&mut attach, &backup, "")?;
    let timeline = attach.finish(backup_end)?;
    ingest(&timeline, &cluster.data().join("pg_wal"), end)?;
    Ok(timeline)
}

fn info(backup: &Path, control_file: &[u8]) -> Result<TimelineInfo> {
    let control = ControlFile::parse(control_file)?;
    let label = fs::read_to_string(backup.join("backup_label"))?;
    let start = label.split_whitespace().nth(3).context("backup_label has no start")?;
    Ok(TimelineInfo {
        version: control.version,
        system_id: control.system_identifier,
        segment_size: SegmentSize::new(control.wal_segment_size)?,
        pg_timeline: 1,
        start_lsn: start.parse()?,
    })
}

fn feed(attach: &mut Attach, root: &Path, directory: &str) -> Result<()> {
    for entry in fs::read_dir(root.join(directory))? {
        let entry = entry?;
        let name = entry.file_name().to_str().context("a strange file name")?.to_owned();
        let path = if directory.is_empty() { name } else { format!("{directory}/{name}") };
        if entry.file_type()?.is_symlink() {
            let target = fs::read_link(entry.path())?;
            attach.link(&path, target.to_str().context("a strange link")?)?;
        }
        if entry.path().is_dir() {
            feed(attach, root, &path)?;
        } else {
            feed_file(attach, &entry.path(), &path)?;
        }
    }
    Ok(())
}

fn feed_file(attach: &mut Attach, file: &Path, path: &str) -> Result<()> {
    let mut file = File::open(file)?;
    attach.file_begin(path, file.metadata()?.len())?;
    let mut buffer = vec![0; 1 << 18];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(attach.file_end()?),
            got => attach.file_data(&buffer[..got])?,
        }
    }
}

fn ingest(timeline: &Timeline, wal: &Path, end: Lsn) -> Result<()> {
    let info = timeline.info();
    let mut ingest = timeline.ingest();
    let mut at = ingest.resume_lsn();
    while at < end {
        let name = info.segment_size.file_name(info.pg_timeline, info.segment_size.segment_of(at));
        let segment = fs::read(wal.join(&name)).context(name)?;
        let from = info.segment_size.offset_of(at) as usize;
        let to = segment.len().min(from + end.bytes_since(at) as usize);
        ingest.write(at, &segment[from..to])?;
        ingest.flush()?;
        at = Lsn(at.0 + (to - from) as u64);
    }
    Ok(())
}
