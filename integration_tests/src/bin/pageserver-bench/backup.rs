//! Base backups in turn with those of `pg_basebackup`.

use std::io::Read;
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use integration_tests::program::{Interrupt, say};
use integration_tests::run;
use serde_json::Value;

use crate::stage::{Stage, TIMELINE};
use crate::table;

pub fn measure(stage: &Stage, rounds: usize, interrupt: &Interrupt) -> Result<()> {
    let first = stage.pageserver.timeline(TIMELINE)?.readable_from.to_string();
    let moments =
        [("of now, out of the base image and the WAL since", None), ("of the base image alone", Some(&*first))];
    for (moment, lsn) in moments {
        let arguments = [&["bench", "basebackup", TIMELINE, "--rounds", "1", "--json"], &at(lsn)[..]].concat();
        say(&format!("\nA base backup {moment}.\n$ pageserver {}\n", arguments.join(" ")));
        let mut turns = Turns::default();
        for round in 0..rounds {
            turns.take(stage, &arguments, round == 0)?;
            interrupt.check()?;
        }
        say(&format!("{rounds} turns of each, alternating; medians."));
        say(
            "pg_basebackup: from the primary as it is now, without WAL, fast checkpoint, its tar read from a pipe and thrown away.\n",
        );
        table::print("MB/s", &turns.ours, &[("pg_basebackup", &turns.theirs), ("loopback", &turns.floor)]);
    }
    Ok(())
}

fn at(lsn: Option<&str>) -> Vec<&str> {
    lsn.map_or(Vec::new(), |lsn| vec!["--at", lsn])
}

/// Millions of bytes a second in each turn.
#[derive(Default)]
struct Turns {
    ours: Vec<f64>,
    floor: Vec<f64>,
    theirs: Vec<f64>,
}

impl Turns {
    /// Makes a turn of each; says what is measured, if it is to be said.
    fn take(&mut self, stage: &Stage, arguments: &[&str], say_method: bool) -> Result<()> {
        let output = run(&mut stage.pageserver.cli_command(arguments)?)?;
        let report: Value = serde_json::from_slice(&output.stdout).context("what bench basebackup printed")?;
        if say_method {
            say(report["method"][0].as_str().unwrap_or_default());
        }
        let figure = |field: &str| report["figures"][0][field].as_f64().context("bench basebackup printed no figure");
        self.ours.push(figure("ours")?);
        self.floor.push(figure("floor")?);
        self.theirs.push(pg_basebackup(stage)?);
        Ok(())
    }
}

/// Millions of bytes a second.
fn pg_basebackup(stage: &Stage) -> Result<f64> {
    let mut command = stage.primary.client("pg_basebackup");
    command.args(["--format=tar", "--wal-method=none", "--checkpoint=fast", "--no-manifest", "--pgdata=-"]);
    let start = Instant::now();
    let mut process = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let mut pipe = process.stdout.take().context("a pipe")?;
    let (mut buffer, mut bytes) = (vec![0; 1 << 16], 0);
    loop {
        match pipe.read(&mut buffer)? {
            0 => break,
            count => bytes += count,
        }
    }
    let status = process.wait()?;
    ensure!(status.success(), "pg_basebackup failed ({status})");
    Ok(bytes as f64 / 1e6 / start.elapsed().as_secs_f64())
}
