//! Work for a primary that writes WAL of every kind, in rounds after which an LSN is noted.
//!
//! The scripts use no clock and a fixed seed; what is random about a run is only how its sessions interleave.

pub mod corners;
mod sessions;

use std::path::PathBuf;

use anyhow::{Context, Result};
use pgdata::Lsn;
use postgres::Client;

use crate::{Cluster, ClusterOptions, Process, current_lsn};

const SETUP: &str = include_str!("setup.sql");
const HEAP: &str = include_str!("heap.sql");
const INDEXES: &str = include_str!("indexes.sql");
const RELATIONS: &str = include_str!("relations.sql");
const DATABASES: &str = include_str!("databases.sql");
const CATALOGS: &str = include_str!("catalogs.sql");
const DROP_DATABASES: &str = include_str!("drop_databases.sql");
const RARE: &str = include_str!("rare.sql");
const XIDS: &str = include_str!("xids.sql");
/// The database that all of it happens in, but for the databases that it makes.
const DATABASE: &str = "postgres";

/// The settings for a primary that is to be worked on: few buffers, so that pages are evicted all the time, and an
/// autovacuum that never rests.
#[must_use]
pub fn options() -> ClusterOptions {
    ClusterOptions::default()
        .with("shared_buffers", "4MB")
        .with("autovacuum_naptime", "1s")
        .with("autovacuum_vacuum_threshold", "20")
        .with("autovacuum_vacuum_scale_factor", "0.02")
        .with("autovacuum_vacuum_insert_threshold", "100")
        .with("autovacuum_vacuum_cost_delay", "0")
}

/// The work, and the LSNs noted so far.
#[derive(Debug)]
pub struct Workload<'a> {
    cluster: &'a Cluster,
    round: u32,
    noted: Vec<Lsn>,
}

impl<'a> Workload<'a> {
    /// Makes the tables that the rounds work on.
    ///
    /// # Errors
    /// The primary's.
    pub fn set_up(cluster: &'a Cluster) -> Result<Workload<'a>> {
        cluster.psql(DATABASE, SETUP)?;
        Ok(Workload { cluster, round: 0, noted: Vec::new() })
    }

    /// Goes on with the tables that were set up before, after `rounds` rounds.
    #[must_use]
    pub fn resume(cluster: &'a Cluster, rounds: u32) -> Workload<'a> {
        Workload { cluster, round: rounds, noted: Vec::new() }
    }

    /// How many rounds have been worked.
    #[must_use]
    pub fn rounds(&self) -> u32 {
        self.round
    }

    /// Works one round. Four LSNs are noted in it, each after a checkpoint and two of them while transactions are open or prepared.
    ///
    /// # Errors
    /// The primary's.
    pub fn round(&mut self) -> Result<()> {
        self.round_with(|_| Ok(()))
    }

    /// Works one round and calls `meanwhile` with 1 to 4 after each LSN noted.
    ///
    /// # Errors
    /// The primary's, or that of `meanwhile`.
    pub fn round_with(&mut self, mut meanwhile: impl FnMut(u32) -> Result<()>) -> Result<()> {
        self.round += 1;
        self.script(HEAP)?;
        sessions::lock_rows(self.cluster, self.round)?;
        let open = sessions::open_transaction(self.cluster, self.round)?;
        self.note()?;
        meanwhile(1)?;
        self.script(INDEXES)?;
        sessions::prepare(self.cluster, self.round)?;
        self.note()?;
        meanwhile(2)?;
        sessions::abandon(open)?;
        self.script(XIDS)?;
        self.script(RELATIONS)?;
        self.note()?;
        meanwhile(3)?;
        sessions::settle_prepared(self.cluster, self.round)?;
        self.script(RARE)?;
        self.script(CATALOGS)?;
        self.script(DATABASES)?;
        self.note()?;
        meanwhile(4)?;
        if self.round % 2 == 1 {
            self.script(DROP_DATABASES)?;
        }
        Ok(())
    }

    fn note(&mut self) -> Result<()> {
        self.noted.push(note(self.cluster)?);
        Ok(())
    }

    /// The LSNs noted so far, each the end of a record and in ascending order.
    #[must_use]
    pub fn noted(&self) -> &[Lsn] {
        &self.noted
    }

    /// Runs a script with the round's number, and a directory for a tablespace, in its variables.
    fn script(&self, script: &str) -> Result<()> {
        let location: PathBuf = self.cluster.tablespace_location(&format!("located_{}", self.round))?;
        let head = format!("\\set round {}\n\\set location '{}'\n", self.round, location.display());
        self.cluster.psql(DATABASE, &(head + script)).map(drop)
    }
}

/// Takes a checkpoint, works a little so that the LSN does not lie at it, and returns the end of a record. A second checkpoint
/// opens a stretch in which an LSN can be chosen at random.
fn note(cluster: &Cluster) -> Result<Lsn> {
    let mut client = cluster.connect(DATABASE)?;
    client.batch_execute("CHECKPOINT")?;
    client.batch_execute("INSERT INTO heap_sub VALUES (0, 'after the checkpoint')")?;
    client.batch_execute("UPDATE locked SET n = n + 1 WHERE id % 100 = 0")?;
    let lsn = current_lsn(&mut client)?;
    client.batch_execute("CHECKPOINT")?;
    Ok(lsn)
}

/// Starts `pgbench` with some sessions that work until it is ended, in a database of their own.
///
/// # Errors
/// If it cannot be set up or started.
pub fn start_pgbench(cluster: &Cluster, sessions: u32) -> Result<Process> {
    cluster.psql(DATABASE, "CREATE DATABASE bench")?;
    crate::run(cluster.client("pgbench").args(["-i", "-q", "-s", "1", "bench"]))?;
    let mut command = cluster.client("pgbench");
    command.args(["-n", "-T", "3600", "-R", "300", "-c"]).arg(sessions.to_string()).arg("bench");
    let log = cluster.data().with_file_name("pgbench.log");
    Process::start("pgbench", &mut command, &log).context("starting pgbench")
}

/// One statement at a time, in autocommit.
fn execute_all(client: &mut Client, statements: &[&str]) -> Result<()> {
    for statement in statements {
        client.batch_execute(statement).with_context(|| (*statement).to_owned())?;
    }
    Ok(())
}
