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
    let arguments = ["bench", "basebackup", TIMELINE, "--rounds", "1", "--json"];
    say(&format!("\n$ pageserver {}\n", arguments.join(" ")));
    let (mut ours, mut floor, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        let output = run(&mut stage.pageserver.cli_command(&arguments)?)?;
        let report: Value = serde_json::from_slice(&output.stdout).context("what bench basebackup printed")?;
        if round == 0 {
            say(report["method"][0].as_str().unwrap_or_default());
        }
        let figure = |field: &str| report["figures"][0][field].as_f64().context("bench basebackup printed no figure");
        ours.push(figure("ours")?);
        floor.push(figure("floor")?);
        theirs.push(pg_basebackup(stage)?);
        interrupt.check()?;
    }
    say(&format!("{rounds} turns of each, alternating; medians."));
    say(
        "pg_basebackup: from the primary with the same data, without WAL, fast checkpoint, its tar read from a pipe and thrown away.\n",
    );
    table::print("MB/s", &ours, &[("pg_basebackup", &theirs), ("loopback", &floor)]);
    Ok(())
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
