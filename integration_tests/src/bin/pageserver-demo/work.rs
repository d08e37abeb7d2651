//! The workload, and what is noted while it runs.

use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use integration_tests::program::Interrupt;
use integration_tests::{Cluster, Process, StreamSource, current_lsn};
use page_service::{Client as PageClient, ReadLsn};
use pgdata::{Lsn, RelTag};
use postgres::Client;

use crate::account::{self, Place};

/// How often the lag is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// A moment in the life of the primary that is read about later.
#[derive(Clone, Debug)]
pub struct Moment {
    /// When that was, in words.
    pub name: &'static str,
    /// The end of the last record before it.
    pub lsn: Lsn,
    /// What the watched account had.
    pub balance: i32,
    /// Where its row was.
    pub place: Place,
    /// How long it took from then until a page could be read as of that LSN.
    pub readable_after: Duration,
}

/// Notes a moment: writes a balance of its own, so that there is something to recognise it by. The checkpoint before the LSN is
/// for the proof: a standby that stops there writes all its pages to its files only if it has replayed one.
pub fn note(
    name: &'static str,
    balance: i32,
    sql: &mut Client,
    table: RelTag,
    pages: &mut StreamSource,
) -> Result<Moment> {
    sql.batch_execute("CHECKPOINT").context("taking a checkpoint")?;
    let place = account::set_balance(sql, balance)?;
    let lsn = current_lsn(sql)?;
    let start = Instant::now();
    pages.stream().page_at(table, place.block, ReadLsn::at(lsn))?;
    Ok(Moment { name, lsn, balance, place, readable_after: start.elapsed() })
}

/// `pgbench` at work.
#[derive(Debug)]
pub struct Bench {
    process: Process,
    seconds: u64,
}

impl Bench {
    /// Starts it for some seconds, with two sessions that do not pause.
    pub fn start(primary: &Cluster, database: &str, seconds: u64, log: &Path) -> Result<Bench> {
        let mut command = primary.client("pgbench");
        command.args(["-n", "-c", "2", "-T", &seconds.to_string(), database]);
        Ok(Bench { process: Process::start("pgbench", &mut command, log)?, seconds })
    }

    /// Waits until it is done. Returns how many transactions it did.
    pub fn finish(mut self, lag: &mut Lag, interrupt: &Interrupt) -> Result<u64> {
        let limit = Instant::now() + Duration::from_secs(self.seconds + 60);
        let status = loop {
            if let Some(status) = self.process.ended()? {
                break status;
            }
            ensure!(Instant::now() < limit, "pgbench does not end");
            interrupt.check()?;
            lag.look()?;
            sleep(LOOK);
        };
        let text = self.process.log_text()?;
        ensure!(status.success(), "pgbench failed ({status}):\n{text}");
        let done = text.split("transactions actually processed: ").nth(1).and_then(|rest| rest.lines().next());
        let done = done.and_then(|count| count.split('/').next()?.trim().parse().ok());
        done.with_context(|| format!("pgbench does not say how many transactions it did:\n{text}"))
    }
}

/// How far the pageserver is behind the primary, as `pageserver status` has it.
pub struct Lag {
    client: PageClient,
    /// The largest seen so far, in bytes of WAL.
    pub largest: i64,
}

impl Lag {
    /// Looks through its own connection.
    pub fn new(client: PageClient) -> Lag {
        Lag { client, largest: 0 }
    }

    /// The lag now, in bytes of WAL.
    pub fn look(&mut self) -> Result<i64> {
        let status = self.client.query_all("status")?;
        let column =
            status.columns.iter().position(|column| column.name == "lag_bytes").context("no column lag_bytes")?;
        let lag = status.rows.first().context("status shows no timeline")?.int8(column).unwrap_or(0);
        self.largest = self.largest.max(lag);
        Ok(lag)
    }

    /// Looks again and again for some time.
    pub fn watch(&mut self, time: Duration, interrupt: &Interrupt) -> Result<()> {
        let start = Instant::now();
        while start.elapsed() < time {
            interrupt.check()?;
            self.look()?;
            sleep(LOOK);
        }
        Ok(())
    }
}
