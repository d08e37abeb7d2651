//! Redo engines for the repository's timelines: what can be done in process is, the rest goes to PostgreSQL.

use std::collections::HashMap;
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};

use pgdata::{ControlFile, PgVersion};
use repository::Engines;
use walredo::{PostgresRedo, PostgresRedoConfig, Redo, Routed};

use crate::config::RedoConfig;
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
    pools: Arc<Mutex<HashMap<Kind, Arc<PostgresRedo>>>>,
}

impl ConfiguredEngines {
    pub fn new(config: RedoConfig) -> Self {
        ConfiguredEngines { config, pools: Arc::default() }
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

impl Engines for ConfiguredEngines {
    fn engine(&self, version: PgVersion, control_file: &[u8]) -> Result<Arc<dyn Redo>, Box<dyn Error + Send + Sync>> {
        let control = ControlFile::parse(control_file)?;
        let kind = Kind {
            major: version.major(),
            checksums: control.data_checksums(),
            hint_bits_logged: control.wal_log_hints,
        };
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        let pool = match pools.get(&kind) {
            Some(pool) => Arc::clone(pool),
            None => {
                let pool = Arc::new(PostgresRedo::start(self.pool_config(version, control_file)?)?);
                pools.insert(kind, Arc::clone(&pool));
                pool
            }
        };
        Ok(Arc::new(Routed::new(pool)))
    }
}
