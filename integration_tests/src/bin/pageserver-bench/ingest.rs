//! Ingest in turn with PostgreSQL's own ways through the same WAL.

use std::fs;

use anyhow::{Context, Result};
use integration_tests::program::{Interrupt, say};
use integration_tests::run;
use pgdata::Lsn;
use pgdata::wal::{SegmentSize, WAL_PAGE_SIZE};
use serde_json::Value;

use crate::replay::{Settings, Speed};
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
        quiet_disk();
        let output = run(&mut stage.command(&arguments))?;
        let report: Value = serde_json::from_slice(&output.stdout).context("what bench ingest printed")?;
        if round == 0 {
            for sentence in report["method"].as_array().into_iter().flatten() {
                say(sentence.as_str().unwrap_or_default());
            }
        }
        turns.take(&report)?;
        quiet_disk();
        turns.stock.push(replay::standby(stage, round, Settings::Default)?);
        quiet_disk();
        turns.favoured.push(replay::standby(stage, round, Settings::Favourable)?);
        turns.waldump.push(replay::waldump(stage, start, end)?);
        interrupt.check()?;
    }
    say(&format!(
        "{rounds} turns of each, alternating with a stock replay and pg_waldump; before each, what was written before is on the disk. Medians."
    ));
    say(
        "Stock replay: PostgreSQL restored from the same backup, redo alone by its own log, WAL in its pg_wal; with default settings, and with 256 MB \
         of buffers, no fsync and no checkpoints.\n",
    );
    table::print(
        "MB/s",
        &turns.ours,
        &[
            ("stock replay", &Turns::wall(&turns.stock)),
            ("stock replay, favoured", &Turns::wall(&turns.favoured)),
            ("pg_waldump --quiet", &turns.waldump),
            ("read + write + fsync", &turns.kept),
            ("read + check records", &turns.records),
            ("read + CRC of all bytes", &turns.floor),
        ],
    );
    say(
        "\nBy processor time, which neither a slow disk nor other work on the machine makes longer (ours: of all threads):",
    );
    table::print(
        "MB/s",
        &turns.ours_processor,
        &[
            ("stock replay", &Turns::processor(&turns.stock)),
            ("stock replay, favoured", &Turns::processor(&turns.favoured)),
        ],
    );
    Ok(())
}

/// Waits until what the turn before has written is on the disk, so that this one has the disk for itself.
fn quiet_disk() {
    rustix::fs::sync();
}

/// Millions of bytes a second in each turn.
#[derive(Default)]
struct Turns {
    ours: Vec<f64>,
    ours_processor: Vec<f64>,
    floor: Vec<f64>,
    records: Vec<f64>,
    kept: Vec<f64>,
    stock: Vec<Speed>,
    favoured: Vec<Speed>,
    waldump: Vec<f64>,
}

impl Turns {
    fn wall(speeds: &[Speed]) -> Vec<f64> {
        speeds.iter().map(|speed| speed.wall).collect()
    }

    fn processor(speeds: &[Speed]) -> Vec<f64> {
        speeds.iter().map(|speed| speed.processor).collect()
    }

    /// The figures in the order in which `bench ingest` has them.
    fn take(&mut self, report: &Value) -> Result<()> {
        let figure = |index: usize, field: &str| {
            report["figures"][index][field]
                .as_f64()
                .with_context(|| format!("bench ingest printed no figure: {report}"))
        };
        self.ours.push(figure(0, "ours")?);
        self.floor.push(figure(0, "floor")?);
        self.ours_processor.push(figure(1, "ours")?);
        self.records.push(figure(2, "floor")?);
        self.kept.push(figure(4, "floor")?);
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
    let end = control.check_point;
    // pg_waldump would read the header alone of the page that the record is the first of, and take what it has in its buffer for the record.
    let header = SegmentSize::new(control.wal_segment_size)?.page_header_len(end) as u64;
    let in_page = end.0 % WAL_PAGE_SIZE as u64;
    Ok((start, if in_page == header { Lsn(end.0 - header) } else { end }))
}
