//! Redo engines for the repository's timelines, as configured: native, PostgreSQL's own, or both compared.

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pgdata::{ControlFile, PgVersion};
use repository::Engines;
use walredo::{
    NativeRedo, OnDemand, PostgresRedo, PostgresRedoConfig, Redo, RedoStats, Routed, VerifyRedo, VerifyStats,
};

use crate::config::{EngineChoice, RedoConfig};
use crate::metrics::{Measured, Metrics};
use crate::users;

/// What decides whether two timelines can share a pool of redo processes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
struct Kind {
    major: u32,
    checksums: bool,
    hint_bits_logged: bool,
}

/// Starts the configured engines, one for each kind of cluster.
#[derive(Clone)]
pub struct ConfiguredEngines {
    config: RedoConfig,
    /// Where differences between engines are written to.
    reports: PathBuf,
    metrics: Arc<Metrics>,
    pools: Arc<Mutex<HashMap<Kind, Arc<PostgresRedo>>>>,
    started: Arc<Mutex<Started>>,
}

/// What there is, for whoever asks what it has done. The pools' own lock is held while one is being started.
#[derive(Default)]
struct Started {
    pools: Vec<Arc<PostgresRedo>>,
    verifiers: Vec<Arc<VerifyRedo>>,
}

impl ConfiguredEngines {
    /// `metrics` knows the server's data directory.
    pub fn new(config: RedoConfig, metrics: Arc<Metrics>) -> Self {
        let reports = metrics.data.join("redo-differences");
        ConfiguredEngines { config, reports, metrics, pools: Arc::default(), started: Arc::default() }
    }

    fn started(&self) -> MutexGuard<'_, Started> {
        self.started.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the redo processes of each version of PostgreSQL have done.
    pub fn processes(&self) -> Vec<(PgVersion, RedoStats)> {
        let mut sums = BTreeMap::<PgVersion, RedoStats>::new();
        for pool in &self.started().pools {
            *sums.entry(pool.version()).or_default() += pool.stats();
        }
        sums.into_iter().collect()
    }

    /// What comparing the engines has shown; nothing if they are not compared.
    pub fn verified(&self) -> Option<VerifyStats> {
        self.started().verifiers.iter().map(|verifier| verifier.stats()).reduce(|sum, stats| sum + stats)
    }

    fn pool_config(&self, version: PgVersion, control_file: &[u8]) -> Result<PostgresRedoConfig, String> {
        let mut config = PostgresRedoConfig::new(control_file);
        config.bin_dir = self.config.bin_dir(version);
        if self.config.processes > 0 {
            config.max_children = self.config.processes;
        }
        if let Some(user) = &self.config.user
            && rustix::process::geteuid().is_root()
        {
            config.run_as = Some(users::ids(user)?);
        }
        Ok(config)
    }
}

impl ConfiguredEngines {
    /// The pool of redo processes for a kind of cluster, started if it is the first to be asked for.
    fn pool(
        &self,
        kind: Kind,
        version: PgVersion,
        control_file: &[u8],
    ) -> Result<Arc<PostgresRedo>, Box<dyn Error + Send + Sync>> {
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pool) = pools.get(&kind) {
            return Ok(Arc::clone(pool));
        }
        let pool = Arc::new(PostgresRedo::start(self.pool_config(version, control_file)?)?);
        pools.insert(kind, Arc::clone(&pool));
        self.started().pools.push(Arc::clone(&pool));
        Ok(pool)
    }
}

impl Engines for ConfiguredEngines {
    fn engine(&self, version: PgVersion, control_file: &[u8]) -> Result<Arc<dyn Redo>, Box<dyn Error + Send + Sync>> {
        let control = ControlFile::parse(control_file)?;
        let kind = Kind {
            major: version.major(),
            checksums: control.data_checksums(),
            hint_bits_logged: control.wal_log_hints,
        };
        // XLogHintBitIsNeeded
        let hint_bits_logged = kind.checksums || kind.hint_bits_logged;
        Ok(match self.config.engine {
            EngineChoice::Postgres => {
                let engine = Routed::new(self.pool(kind, version, control_file)?);
                Arc::new(Measured::new(engine, self.metrics.redo.engine("postgres")))
            }
            EngineChoice::Native => {
                let (engines, control_file) = (self.clone(), control_file.to_vec());
                let behind = OnDemand::new(move || engines.pool(kind, version, &control_file));
                let engine = NativeRedo::new(hint_bits_logged, behind);
                Arc::new(Measured::new(engine, self.metrics.redo.engine("native")))
            }
            EngineChoice::Verify => {
                let pool = self.pool(kind, version, control_file)?;
                let verifier = Arc::new(VerifyRedo::new(hint_bits_logged, pool, self.reports.clone()));
                self.started().verifiers.push(Arc::clone(&verifier));
                Arc::new(Measured::new(verifier, self.metrics.redo.engine("verify")))
            }
        })
    }
}
