//! A primary, a pageserver that follows it through a relay, and the comparison of the two: what most end-to-end tests need.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use pgdata::{Lsn, PAGE_SIZE};

use crate::{
    Cluster, ClusterOptions, Comparison, DataFiles, PageSource, Pageserver, Random, Relay, Report, Standby,
    StreamSource, WalDump, choose_lsns, current_lsn, until,
};

/// The name of the timeline that a lab attaches.
pub const TIMELINE: &str = "main";

/// A primary and a pageserver, with a relay between them.
#[derive(Debug)]
pub struct Lab {
    /// The server under test.
    pub pageserver: Pageserver,
    /// What stands between the two.
    pub relay: Relay,
    /// The stock server.
    pub primary: Cluster,
    dir: PathBuf,
    segment_size: u64,
    attached: Option<Lsn>,
    kinds: BTreeMap<String, u64>,
}

impl Lab {
    /// Starts both servers, not yet attached.
    ///
    /// # Errors
    /// If one of them does not start.
    ///
    /// # Panics
    /// If PostgreSQL is not installed or the pageserver has not been built.
    pub fn start(dir: &Path, options: &ClusterOptions) -> Result<Lab> {
        let mut primary = Cluster::init(&dir.join("primary"), options)?;
        match options.counters {
            Some(counters) => primary.start_at(&counters, u64::from(options.wal_segment_mb) << 20)?,
            None => primary.start()?,
        }
        let relay = Relay::start(primary.port(), &dir.join("backups"))?;
        let pageserver = Pageserver::start_new(&dir.join("pageserver"), primary.install())?;
        let segment_size = u64::from(options.wal_segment_mb) << 20;
        Ok(Lab {
            pageserver,
            relay,
            primary,
            dir: dir.to_owned(),
            segment_size,
            attached: None,
            kinds: BTreeMap::new(),
        })
    }

    /// Starts the pageserver again with these settings.
    ///
    /// # Errors
    /// If it does not start.
    pub fn configure(&mut self, settings: &str) -> Result<()> {
        self.pageserver.sigterm()?;
        self.pageserver.configure(settings)?;
        self.pageserver.start()
    }

    /// Lets the pageserver make as many images of pages as it ever does, for what is compared later.
    ///
    /// # Errors
    /// If it does not start.
    pub fn make_many_images(&mut self) -> Result<()> {
        self.configure("image_percent = 10000")
    }

    /// Says how many images of pages there are.
    ///
    /// # Errors
    /// If there are none, so that nothing was said of them.
    pub fn ensure_images(&self) -> Result<()> {
        let bytes = self.pageserver.timeline(TIMELINE)?.image_bytes;
        println!("the pageserver has {} images of pages", bytes / PAGE_SIZE as u64);
        ensure!(bytes > 0, "no images of pages were made");
        Ok(())
    }

    /// Attaches the primary as the timeline [`TIMELINE`]; LSNs that the primary comes to from now on can be compared.
    ///
    /// # Errors
    /// If the pageserver refuses.
    pub fn attach(&mut self) -> Result<()> {
        self.pageserver.attach(TIMELINE, &self.relay.conninfo())?;
        self.attached = Some(self.primary.current_lsn()?);
        Ok(())
    }

    /// A page stream of the attached timeline.
    ///
    /// # Errors
    /// If the pageserver refuses.
    pub fn pages(&self) -> Result<StreamSource> {
        StreamSource::connect(self.pageserver.address()?, TIMELINE)
    }

    /// Waits until the pageserver says of the attached timeline what is expected: a state, and words in its detail.
    ///
    /// # Errors
    /// If it does not come to that, with what it says instead.
    pub fn await_status(&self, state: &str, words: &[&str]) -> Result<()> {
        let mut last = None;
        let awaited = until("the status is as expected", || {
            let now = self.pageserver.timeline(TIMELINE)?;
            let found = now.state == state && words.iter().all(|word| now.detail.contains(word));
            last = Some(now);
            Ok(found.then_some(()))
        });
        awaited.with_context(|| format!("expected {state} with {words:?}, the last was {last:?}"))
    }

    /// Stops the primary and compares the pageserver with PostgreSQL at the noted LSNs and at up to `extra` random ones.
    /// Returns what was compared at each.
    ///
    /// # Errors
    /// If anything differs, or the comparison cannot be made.
    pub fn compare(&mut self, noted: &[Lsn], extra: usize) -> Result<Vec<(Lsn, Report)>> {
        let attached = self.attached.ok_or_else(|| anyhow::anyhow!("nothing has been attached"))?;
        let end = current_lsn(&mut self.primary.connect("postgres")?)?;
        let mut standby = Standby::unpack(&self.relay.base_backup()?, &self.dir.join("standby"), &self.primary)?;
        self.primary.stop()?;
        let wal = WalDump::new(self.primary.install(), &self.primary.data().join("pg_wal"));
        let records = wal.records(attached, end)?;
        self.kinds.clear();
        for record in &records {
            *self.kinds.entry(record.kind()).or_default() += 1;
        }
        let lsns = choose_lsns(&records, self.segment_size, noted, extra, &mut Random::new(end.0));
        let missing: Vec<&Lsn> = noted.iter().filter(|lsn| !lsns.contains(lsn)).collect();
        ensure!(missing.is_empty(), "no checkpoint lies between {missing:?} and the LSNs noted before them");
        ensure!(!lsns.is_empty(), "there is no LSN to compare at");
        println!("comparing at {} LSNs, {} records after the attach", lsns.len(), records.len());
        let mut comparison = Comparison::default();
        let mut pages = self.pages()?;
        lsns.into_iter()
            .map(|lsn| Ok((lsn, compare_at(lsn, &mut standby, &mut comparison, &mut pages, &wal)?)))
            .collect()
    }

    /// Compares the pageserver with PostgreSQL at `lsns`, where the primary was followed by `others`, each on a timeline of its own; all are stopped.
    /// There must be a checkpoint before each of the LSNs.
    ///
    /// # Errors
    /// If anything differs, or the comparison cannot be made.
    pub fn compare_over(&mut self, lsns: &[Lsn], others: &[&Cluster]) -> Result<Vec<(Lsn, Report)>> {
        let mut standby = Standby::unpack(&self.relay.base_backup()?, &self.dir.join("standby"), &self.primary)?;
        others.iter().for_each(|other| standby.follow(other));
        let wal = WalDump::new(self.primary.install(), &self.primary.data().join("pg_wal"));
        let (mut comparison, mut pages) = (Comparison::default(), self.pages()?);
        lsns.iter().map(|&lsn| Ok((lsn, compare_at(lsn, &mut standby, &mut comparison, &mut pages, &wal)?))).collect()
    }

    /// How many records of each kind lie between the attach and the last comparison.
    #[must_use]
    pub fn kinds(&self) -> &BTreeMap<String, u64> {
        &self.kinds
    }
}

fn compare_at(
    lsn: Lsn,
    standby: &mut Standby,
    comparison: &mut Comparison,
    pages: &mut dyn PageSource,
    wal: &WalDump,
) -> Result<Report> {
    let start = Instant::now();
    standby.advance(lsn)?;
    let replayed = start.elapsed();
    let report = comparison.at(lsn, &DataFiles::scan(&standby.data())?, pages, wal)?;
    println!("{lsn}: {report} (PostgreSQL took {replayed:.1?}, the comparison {:.1?})", start.elapsed() - replayed);
    Ok(report)
}
