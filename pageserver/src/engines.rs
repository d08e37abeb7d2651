//! Redo engines for the repository's timelines, as configured: native, PostgreSQL's own, or both compared.

use std::collections::HashMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use pgdata::{ControlFile, PgVersion};
use repository::Engines;
use walredo::{NativeRedo, OnDemand, PostgresRedo, PostgresRedoConfig, Redo, Routed, VerifyRedo};

use crate::config::{EngineChoice, RedoConfig};
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
    pools: Arc<Mutex<HashMap<Kind, Arc<PostgresRedo>>>>,
}

impl ConfiguredEngines {
    /// `data` is the server's data directory.
    pub fn new(config: RedoConfig, data: &Path) -> Self {
        ConfiguredEngines { config, reports: data.join("redo-differences"), pools: Arc::default() }
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
            EngineChoice::Postgres => Arc::new(Routed::new(self.pool(kind, version, control_file)?)),
            EngineChoice::Native => {
                let (engines, control_file) = (self.clone(), control_file.to_vec());
                let behind = OnDemand::new(move || engines.pool(kind, version, &control_file));
                Arc::new(NativeRedo::new(hint_bits_logged, behind))
            }
            EngineChoice::Verify => {
                let pool = self.pool(kind, version, control_file)?;
                Arc::new(VerifyRedo::new(hint_bits_logged, pool, self.reports.clone()))
            }
        })
    }
}
