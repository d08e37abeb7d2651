//! Ingest in turn with PostgreSQL's own ways through the same WAL.

use std::fs;

use anyhow::{Context, Result};
use integration_tests::program::{Interrupt, say};
use integration_tests::run;
use pgdata::Lsn;
use serde_json::Value;

use crate::stage::Stage;
use crate::{replay, table};

pub fn measure(stage: &Stage, rounds: usize, interrupt: &Interrupt) -> Result<()> {
    let (backup, wal) = (stage.backup().display().to_string(), stage.wal().display().to_string());
    let scratch = stage.dir.display().to_string();
    let arguments =
        ["bench", "ingest", "--backup", &backup, "--wal", &wal, "--scratch", &scratch, "--rounds", "1", "--json"];
    let (start, end) = range(stage)?;
    say(&format!("\n$ pageserver {}\n", arguments.join(" ")));
    let mut turns = Turns::default();
    for round in 0..rounds {
        let output = run(&mut stage.command(&arguments))?;
        let report: Value = serde_json::from_slice(&output.stdout).context("what bench ingest printed")?;
        if round == 0 {
            for sentence in report["method"].as_array().into_iter().flatten() {
                say(sentence.as_str().unwrap_or_default());
            }
        }
        turns.take(&report)?;
        turns.standby.push(replay::standby(stage, round)?);
        turns.waldump.push(replay::waldump(stage, start, end)?);
        interrupt.check()?;
    }
    say(&format!("{rounds} turns of each, alternating with a stock replay and pg_waldump; medians."));
    say(
        "Stock replay: PostgreSQL restored from the same backup, redo alone by its own log, WAL in its pg_wal, 256 MB of buffers, no fsync.\n",
    );
    table::print(
        "MB/s",
        &turns.ours,
        &[
            ("stock replay", &turns.standby),
            ("pg_waldump --quiet", &turns.waldump),
            ("read + check records", &turns.records),
            ("read + CRC of all bytes", &turns.floor),
        ],
    );
    Ok(())
}

/// Millions of bytes a second in each turn.
#[derive(Default)]
struct Turns {
    ours: Vec<f64>,
    floor: Vec<f64>,
    records: Vec<f64>,
    standby: Vec<f64>,
    waldump: Vec<f64>,
}

impl Turns {
    fn take(&mut self, report: &Value) -> Result<()> {
        let figure = |index: usize, field: &str| {
            report["figures"][index][field]
                .as_f64()
                .with_context(|| format!("bench ingest printed no figure: {report}"))
        };
        self.ours.push(figure(0, "ours")?);
        self.floor.push(figure(0, "floor")?);
        self.records.push(figure(1, "floor")?);
        Ok(())
    }
}

/// From where the backup begins to the last record.
fn range(stage: &Stage) -> Result<(Lsn, Lsn)> {
    let manifest: Value = serde_json::from_slice(&fs::read(stage.backup().join("backup_manifest"))?)?;
    let start = manifest["WAL-Ranges"][0]["Start-LSN"].as_str().context("the backup's manifest names no WAL")?;
    let start: Lsn = start.parse()?;
    let control = pgdata::ControlFile::parse(&fs::read(stage.primary.data().join("global/pg_control"))?)?;
    // The shutdown's checkpoint is the last record.
    Ok((start, control.check_point))
}
