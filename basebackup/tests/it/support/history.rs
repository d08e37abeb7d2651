//! The history of a running server in a repository, as the source of backups at any LSN.

#[path = "../../../../integration_tests/tests/fed/mod.rs"]
mod fed;
#[path = "../../../../pageserver/src/timeline_at.rs"]
mod timeline_at;

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use basebackup::{DataSource, SourceError};
use fed::StockEngine;
use integration_tests::{Cluster, RunAs};
use pgdata::{ClusterState, Lsn, Object, Page, PageKey};
use repository::Timeline;

pub use timeline_at::TimelineAt;

/// A timeline whose WAL is not to be had.
pub struct WithoutWal(pub TimelineAt);

impl DataSource for WithoutWal {
    fn lsn(&self) -> Lsn {
        self.0.lsn()
    }

    fn cluster(&self) -> Result<ClusterState, SourceError> {
        self.0.cluster()
    }

    fn objects(&self) -> Result<Vec<(Object, u32)>, SourceError> {
        self.0.objects()
    }

    fn page(&self, key: PageKey, page: &mut Page) -> Result<(), SourceError> {
        self.0.page(key, page)
    }

    fn blobs(&self) -> Result<Vec<String>, SourceError> {
        self.0.blobs()
    }

    fn blob(&self, name: &str) -> Result<Vec<u8>, SourceError> {
        self.0.blob(name)
    }

    fn last_record_start(&self) -> Result<Option<Lsn>, SourceError> {
        Ok(None)
    }

    fn wal(&self, _: Lsn, _: &mut [u8]) -> Result<bool, SourceError> {
        Ok(false)
    }
}

/// Takes a base backup of a running cluster; `work` goes on with it and returns the LSN where the history ends. Then the backup and the
/// WAL become a timeline in a repository under `dir`.
pub fn follow(cluster: &Cluster, dir: &Path, work: impl FnOnce() -> Result<Lsn>) -> Result<Arc<Timeline>> {
    RunAs::server_user().make_dir(dir)?;
    fed::take_backup(cluster, &dir.join("backup"))?;
    let backup_end = cluster.current_lsn()?;
    let end = work()?;
    let engine = StockEngine::of(cluster)?;
    let timeline = fed::attach(&dir.join("repository"), engine, &dir.join("backup"), backup_end)?;
    fed::ingest(&timeline, &cluster.data().join("pg_wal"), end)?;
    Ok(timeline)
}
