//! Whether a cluster is whole, as PostgreSQL's own programs see it.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use pgdata::{ControlFile, Lsn};

use crate::pg_install::run;
use crate::process::POLL;
use crate::{Cluster, current_lsn};

/// How long a standby may take to catch up, or to become a primary.
const STANDBY: Duration = Duration::from_secs(120);

impl Cluster {
    /// Checks every heap and every index of every database, and that each heap tuple is in the index. With `exclusively`, each index
    /// tuple is looked for from the root, too; that waits for transactions which write to the table, prepared ones included, and a
    /// standby cannot do it. A standby needs the extension from its primary.
    ///
    /// # Errors
    /// If something is not whole.
    pub fn amcheck(&self, exclusively: bool) -> Result<()> {
        let mut command = self.client("pg_amcheck");
        command.args(["--all", "--heapallindexed", "--no-strict-names"]);
        if self.psql("postgres", "SELECT pg_is_in_recovery()")?.trim_end() == "f" {
            command.arg("--install-missing");
        }
        if exclusively {
            command.arg("--rootdescend");
        }
        run(&mut command).map(drop)
    }

    /// Has `pg_checksums` verify all pages of the stopped cluster. `false` if the cluster has no checksums.
    ///
    /// # Errors
    /// If a page is damaged.
    pub fn verify_checksums(&self) -> Result<bool> {
        let control = ControlFile::parse(&fs::read(self.data().join("global/pg_control"))?)?;
        if !control.data_checksums() {
            return Ok(false);
        }
        run(self.install().command("pg_checksums").arg("--check").arg("-D").arg(self.data()))?;
        Ok(true)
    }

    /// Rolls back all prepared transactions.
    ///
    /// # Errors
    /// If one cannot be.
    pub fn roll_back_prepared(&self) -> Result<()> {
        let prepared = "SELECT format(E'\\\\c %I\\nROLLBACK PREPARED %L;', database, gid) FROM pg_prepared_xacts";
        let script = self.psql("postgres", prepared)?;
        self.psql("postgres", &script).map(drop)
    }

    /// Answers whether a query has this answer.
    ///
    /// # Errors
    /// If it has another one.
    pub fn expect(&self, database: &str, query: &str, answer: &str) -> Result<()> {
        let found = self.psql(database, query)?;
        ensure!(found.trim_end() == answer, "{query} gives {}, expected {answer}", found.trim_end());
        Ok(())
    }

    /// Waits until this standby has replayed everything that `primary` has written so far.
    ///
    /// # Errors
    /// If it does not come that far.
    pub fn wait_for_replay(&self, primary: &Cluster) -> Result<Lsn> {
        let wanted = current_lsn(&mut primary.connect("postgres")?)?;
        let start = Instant::now();
        loop {
            let replayed = self.psql("postgres", "SELECT pg_last_wal_replay_lsn()")?;
            if replayed.trim_end().parse::<Lsn>().is_ok_and(|lsn| lsn >= wanted) {
                return Ok(wanted);
            }
            ensure!(start.elapsed() < STANDBY, "the standby is at {replayed}, not at {wanted}: {}", self.log_text()?);
            std::thread::sleep(POLL);
        }
    }

    /// Makes this standby a primary.
    ///
    /// # Errors
    /// If it does not become one.
    pub fn promote(&self) -> Result<()> {
        let wait = STANDBY.as_secs();
        let answer = self.psql("postgres", &format!("SELECT pg_promote(true, {wait})"))?;
        ensure!(answer.trim_end() == "t", "the standby was not promoted: {}", self.log_text()?);
        Ok(())
    }
}
