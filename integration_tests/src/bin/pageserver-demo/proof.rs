//! The proof: PostgreSQL itself, stopped at each moment, has the same bytes.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use integration_tests::program::{Interrupt, say};
use integration_tests::{Cluster, Comparison, DataFiles, Report, Standby, StreamSource, WalDump};

use crate::work::Moment;

/// What was compared, all moments together.
#[derive(Clone, Copy, Default, Debug)]
pub struct Proof {
    /// Blocks of relations, equal.
    pub blocks: u64,
    /// Pages of the transaction logs (SLRUs), equal.
    pub slru_pages: u64,
    /// Blocks of free space maps, not compared.
    pub fsm_blocks: u64,
}

/// Moves a standby, made of the base backup `backup`, from one moment to the next, and compares all its pages with the pageserver's.
pub fn prove(
    primary: &Cluster,
    backup: &Path,
    dir: &Path,
    moments: &[Moment],
    pages: &mut StreamSource,
    interrupt: &Interrupt,
) -> Result<Proof> {
    let mut standby = Standby::unpack(backup, dir, primary).context("restoring the base backup")?;
    let wal = WalDump::new(primary.install(), &primary.data().join("pg_wal"));
    let mut comparison = Comparison::default();
    let mut proof = Proof::default();
    for moment in moments {
        interrupt.check()?;
        let start = Instant::now();
        standby.advance(moment.lsn)?;
        let report = comparison.at(moment.lsn, &DataFiles::scan(&standby.data())?, pages, &wal)?;
        let Report { forks, blocks, slru_pages, fsm_blocks, .. } = report;
        say(&format!(
            "   {:<11}  equal: {blocks} blocks of {forks} files of relations, {slru_pages} pages of the transaction logs   ({:.1?})",
            moment.lsn.to_string(),
            start.elapsed()
        ));
        proof.blocks += blocks;
        proof.slru_pages += slru_pages;
        proof.fsm_blocks += fsm_blocks;
    }
    Ok(proof)
}
