//! `bench getpage`: single pages from a running server.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use page_service::{Answer, Client, Operation, PageStream, QueryResult, ReadLsn, Version};
use pgdata::{Fork, Lsn, RelTag};
use repository::DEFAULT_TENANT;

use super::cold;
use super::echo::{Echo, EchoTarget};
use super::load::{self, Seen, Target};
use super::report::{Figure, Report};
use crate::remote;

#[derive(Args, Debug)]
pub struct GetpageArgs {
    /// The timeline's name or id.
    pub timeline: String,
    /// Pages of this relation only [default: of all relations].
    #[arg(long, value_name = "SPC/DB/REL")]
    pub relation: Option<RelTag>,
    /// As of this LSN [default: the latest].
    #[arg(long, value_name = "LSN")]
    pub at: Option<Lsn>,
    /// Pages that so many records have to be applied for; each number is a measurement.
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "0,10")]
    pub records: Vec<u32>,
    /// Different pages to be read, in turn.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub pages: u32,
    /// Clients at once; each number is a measurement.
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "1,4")]
    pub clients: Vec<usize>,
    /// Requests that a pipelining client has in flight.
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub depth: usize,
    /// Turns of each measurement.
    #[arg(long, value_name = "N", default_value_t = 9)]
    pub rounds: usize,
    /// How long a turn takes, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 250)]
    pub turn_ms: u64,
    /// The server's data directory, if it is on this machine: then cold reads are measured too. They are cold only if the server keeps no
    /// pages itself (page_cache_mib = 0).
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// The pages to read, and as of when.
#[derive(Debug)]
pub struct Sample {
    pub lsn: Lsn,
    pub pages: Vec<(RelTag, u32)>,
}

/// Measures a running server.
pub fn run(server: &str, args: &GetpageArgs) -> Result<()> {
    let timeline = &args.timeline;
    check(args)?;
    let echo = Echo::start()?;
    let mut report = Report { method: method(args), figures: Vec::new() };
    for &records in &args.records {
        let sample = Arc::new(sample(server, timeline, args, records)?);
        let of = format!("{records} records");
        report.method.push(format!("{of}: {} different pages as of {}.", sample.pages.len(), sample.lsn));
        let mut most = Vec::new();
        let mut echoes = Vec::new();
        for &clients in &args.clients {
            while most.len() < clients {
                most.push(PageTarget::connect(server, timeline, Arc::clone(&sample), most.len())?);
                echoes.push(echo.connect()?);
            }
            let (ours, floors) = (&mut most[..clients], &mut echoes[..clients]);
            measure(args, &format!("{of}, {clients} clients"), ours, floors, &mut report.figures)?;
        }
        if let Some(data) = &args.data
            && records == 0
        {
            let target = most.first_mut().context("no client")?;
            report.figures.push(cold::measure(data, target, sample.pages.len(), args.rounds)?);
        }
    }
    if args.data.is_none() {
        report.method.push("Cold reads are not measured: that takes --data.".to_owned());
    }
    report.print(args.json)
}

fn check(args: &GetpageArgs) -> Result<()> {
    let positive = [args.rounds, args.depth, args.pages as usize].iter().chain(&args.clients).all(|number| *number > 0);
    ensure!(positive && args.turn_ms > 0, "--rounds, --depth, --pages, --clients and --turn-ms must be at least 1");
    ensure!(args.depth <= PageStream::MAX_IN_FLIGHT, "--depth is at most {}", PageStream::MAX_IN_FLIGHT);
    Ok(())
}

fn method(args: &GetpageArgs) -> Vec<String> {
    vec![
        format!(
            "Turns of {} ms, ours and the floor alternating, {} of each; medians over the turns.",
            args.turn_ms, args.rounds
        ),
        "Floor: another process that answers every request over loopback TCP with 8 KiB of nothing.".to_owned(),
        format!(
            "One at a time: a client waits for each answer. Pipelined: it has up to {} requests in flight.",
            args.depth
        ),
        "All pages were read once before, so that they are in the operating system's memory.".to_owned(),
    ]
}

fn measure(
    args: &GetpageArgs,
    of: &str,
    ours: &mut [PageTarget],
    floors: &mut [EchoTarget],
    figures: &mut Vec<Figure>,
) -> Result<()> {
    let time = Duration::from_millis(args.turn_ms);
    let mut turns = |depth| -> Result<(Vec<Seen>, Vec<Seen>)> {
        // The first turn of each is to warm up.
        load::run(ours, depth, time)?;
        load::run(floors, depth, time)?;
        let pairs: Result<Vec<_>> =
            (0..args.rounds).map(|_| Ok((load::run(ours, depth, time)?, load::run(floors, depth, time)?))).collect();
        Ok(pairs?.into_iter().unzip())
    };
    let (seen, floor) = turns(1)?;
    for percentile in [50.0, 99.0] {
        let of = format!("{of}, one at a time, p{percentile}");
        figures.push(figure(of, "µs", &seen, &floor, |seen| seen.percentile_us(percentile)));
    }
    figures.push(figure(format!("{of}, one at a time"), "pages/s", &seen, &floor, Seen::per_second));
    let (seen, floor) = turns(args.depth)?;
    figures.push(figure(format!("{of}, pipelined"), "pages/s", &seen, &floor, Seen::per_second));
    Ok(())
}

fn figure(of: String, unit: &'static str, ours: &[Seen], floor: &[Seen], take: impl Fn(&Seen) -> f64) -> Figure {
    let all = |seen: &[Seen]| seen.iter().map(&take).collect::<Vec<_>>();
    Figure::paired(of, unit, "echo", &all(ours), &all(floor))
}

/// Asks the server for pages to read.
fn sample(server: &str, timeline: &str, args: &GetpageArgs, records: u32) -> Result<Sample> {
    let mut query = format!("pages {} --records {records} --limit {}", remote::quote(timeline)?, args.pages);
    if let Some(relation) = args.relation {
        query += &format!(" --relation {relation}");
    }
    if let Some(at) = args.at {
        query += &format!(" --at {at}");
    }
    let answer = remote::connect(server)?.query_all(&query)?;
    let pages: Vec<_> = (0..answer.rows.len()).filter_map(|row| page_of(&answer, row)).collect();
    ensure!(
        !pages.is_empty(),
        "no page needs exactly {records} records: choose other numbers with --records (pageserver pages {timeline} shows some)"
    );
    let lsn = answer.rows[0].text(0).and_then(|lsn| lsn.parse().ok()).context("the server names no LSN")?;
    Ok(Sample { lsn, pages })
}

fn page_of(answer: &QueryResult, row: usize) -> Option<(RelTag, u32)> {
    let row = &answer.rows[row];
    let (rel, fork): (RelTag, Fork) = (row.text(1)?.parse().ok()?, row.text(2)?.parse().ok()?);
    Some((rel.with_fork(fork), u32::try_from(row.int8(3)?).ok()?))
}

/// A page stream that reads the pages of a sample, over and over.
pub struct PageTarget {
    stream: PageStream,
    sample: Arc<Sample>,
    next: usize,
}

impl PageTarget {
    /// Connects, and reads every page once. Each client begins at another place.
    fn connect(server: &str, timeline: &str, sample: Arc<Sample>, number: usize) -> Result<PageTarget> {
        let client: Client = remote::connect(server)?;
        let stream = client.page_stream(DEFAULT_TENANT, timeline, Version::V3)?;
        let next = number * 7919;
        let mut target = PageTarget { stream, sample, next };
        for _ in 0..target.sample.pages.len() {
            target.ask()?;
            target.answer()?;
        }
        Ok(target)
    }
}

impl Target for PageTarget {
    fn ask(&mut self) -> Result<()> {
        let (rel, block) = self.sample.pages[self.next % self.sample.pages.len()];
        self.next += 1;
        let request = self.stream.request(Operation::Page { rel, block }, ReadLsn::at(self.sample.lsn));
        Ok(self.stream.send(&request)?)
    }

    fn answer(&mut self) -> Result<()> {
        match self.stream.recv()?.answer {
            Answer::Page(_) => Ok(()),
            other => anyhow::bail!("a page was asked for, and the answer is {other:?}"),
        }
    }
}
