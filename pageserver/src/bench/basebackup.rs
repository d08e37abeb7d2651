//! `bench basebackup`: a whole backup from a running server, thrown away as it comes.

use std::time::Instant;

use anyhow::{Result, ensure};
use clap::Args;
use page_service::QueryItem;
use pgdata::Lsn;
use repository::DEFAULT_TENANT;

use super::echo::Echo;
use super::report::{Figure, Report};
use crate::remote;

#[derive(Args, Debug)]
pub struct BackupArgs {
    /// The timeline's name or id.
    pub timeline: String,
    /// As of this LSN [default: the latest].
    #[arg(long, value_name = "LSN")]
    pub at: Option<Lsn>,
    /// Turns of each measurement.
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub rounds: usize,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// Measures a running server.
pub fn run(server: &str, args: &BackupArgs) -> Result<()> {
    ensure!(args.rounds > 0, "--rounds must be at least 1");
    let echo = Echo::start()?;
    let (mut ours, mut floor, mut bytes) = (Vec::new(), Vec::new(), 0);
    for _ in 0..args.rounds {
        let start = Instant::now();
        bytes = receive(server, args)?;
        ours.push(bytes as f64 / 1e6 / start.elapsed().as_secs_f64());
        let start = Instant::now();
        echo.stream(bytes)?;
        floor.push(bytes as f64 / 1e6 / start.elapsed().as_secs_f64());
    }
    let method = vec![
        format!("A backup of {:.0} MB, received and thrown away, connecting included.", bytes as f64 / 1e6),
        format!("{} turns of each, alternating; medians.", args.rounds),
        "Floor: another process that sends as many bytes of nothing over loopback TCP.".to_owned(),
    ];
    let figures = vec![Figure::paired("base backup", "MB/s", "loopback", &ours, &floor)];
    Report { method, figures }.print(args.json)
}

/// Tells how many bytes came.
fn receive(server: &str, args: &BackupArgs) -> Result<u64> {
    let at = args.at.map_or("latest".to_owned(), |lsn| lsn.to_string());
    let query = format!("basebackup {DEFAULT_TENANT} {} {at}", remote::quote(&args.timeline)?);
    let mut client = remote::connect(server)?;
    let mut bytes = 0;
    for item in client.query(&query)? {
        if let QueryItem::Copy(piece) = item? {
            bytes += piece.len() as u64;
        }
    }
    Ok(bytes)
}
