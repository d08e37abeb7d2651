//! The demo from its first step to its last.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use integration_tests::program::{Interrupt, WorkDir, find_install, reachable, say};
use integration_tests::{Cluster, ClusterOptions, PageSource, Pageserver, PgInstall, Relay, RunAs, StreamSource, run};
use page_service::{Client as PageClient, ClientConfig};
use pgdata::{Lsn, PAGE_SIZE, RelTag, page_lsn};

use crate::proof::{self, Proof};
use crate::timing::{self, Timing};
use crate::work::{Bench, Lag, Moment, note};
use crate::{Args, account};

/// The name of the timeline.
const TIMELINE: &str = "main";
/// pgbench's database, and how many times 100,000 accounts are in it.
const DATABASE: &str = "bank";
const SCALE: &str = "2";
/// How long pgbench works, and when moments are noted meanwhile.
const WORK_SECONDS: u64 = 7;
const PAUSE: Duration = Duration::from_millis(1800);

/// What the steps work with. The fields are dropped, and so the servers end, in this order.
struct Stage {
    pageserver: Pageserver,
    relay: Relay,
    primary: Cluster,
    dir: PathBuf,
}

/// Runs everything; the servers have ended when this returns. The directory is handed out as soon as there is one.
pub fn tell(args: &Args, interrupt: &Interrupt, scratch: &mut Option<WorkDir>) -> Result<()> {
    let start = Instant::now();
    let install = find_install(args.pg_bin.as_deref())?;
    let user = RunAs::find()?;
    ensure!(args.pageserver.is_file(), "there is no program {}", args.pageserver.display());
    let dir = scratch.insert(WorkDir::new("pageserver-demo", user)?).path().to_owned();
    let binary = reachable(&args.pageserver, &dir, user)?;

    let primary = make_primary(install, &dir)?;
    interrupt.check()?;
    let relay = Relay::start(primary.port(), &dir.join("backups"))?;
    let mut stage = start_pageserver(binary, primary, relay, dir)?;
    attach(&stage)?;
    interrupt.check()?;

    let mut sql = stage.primary.connect(DATABASE)?;
    let table = account::table(&mut sql)?;
    let mut pages = StreamSource::connect(stage.pageserver.address()?, TIMELINE)?;
    let moments = work(&stage, sql, table, &mut pages, interrupt)?;
    read_the_past(&stage, table, &moments, &mut pages)?;
    let timing = time_reads(table, &moments, &mut pages)?;
    interrupt.check()?;
    let proof = prove(&mut stage, &moments, &mut pages, interrupt)?;
    drop(pages);
    end(stage, &moments, proof, timing, start)
}

fn step(number: u32, title: &str) {
    say(&format!("\n{number}. {title}"));
}

fn make_primary(install: PgInstall, dir: &Path) -> Result<Cluster> {
    step(1, &format!("A stock PostgreSQL {} is made and started", install.version()));
    say(&format!("   programs: {}", install.bin().display()));
    say(&format!("   everything is in {}", dir.display()));
    if rustix::process::geteuid().is_root() {
        say("   the servers run as the user postgres, because PostgreSQL refuses to run as root");
    }
    let start = Instant::now();
    let mut primary = Cluster::init_on(install, &dir.join("primary"), &ClusterOptions::default())?;
    primary.start()?;
    primary.connect("postgres")?.batch_execute(&format!("CREATE DATABASE {DATABASE}"))?;
    run(primary.client("pgbench").args(["-i", "-q", "-s", SCALE, DATABASE]))?;
    let mut sql = primary.connect(DATABASE)?;
    account::open(&mut sql)?;
    let row = sql.query_one("SELECT count(*), pg_database_size(current_database()) FROM pgbench_accounts", &[])?;
    say(&format!(
        "   pgbench has filled a database {DATABASE:?}: {} accounts, {}   ({:.1?})",
        row.get::<_, i64>(0),
        bytes(row.get::<_, i64>(1)),
        start.elapsed()
    ));
    Ok(primary)
}

fn start_pageserver(binary: PathBuf, primary: Cluster, relay: Relay, dir: PathBuf) -> Result<Stage> {
    step(2, "A pageserver is started");
    let mut pageserver = Pageserver::with_binary(binary, &dir.join("pageserver"), primary.install())?;
    pageserver.start()?;
    say(&format!("   $ pageserver serve -D {}", dir.join("pageserver").display()));
    say(&format!("   it listens on {}", pageserver.address()?));
    Ok(Stage { pageserver, relay, primary, dir })
}

fn attach(stage: &Stage) -> Result<()> {
    step(3, "It is attached to the running PostgreSQL");
    say(
        "   It takes a base backup, and from then on receives all WAL (PostgreSQL's log of every change), as a standby would.",
    );
    say("   PostgreSQL has no extension for it and is not restarted.");
    let conninfo = stage.relay.conninfo();
    say(&format!("   $ pageserver attach {TIMELINE} --primary \"{conninfo}\""));
    let start = Instant::now();
    let mut command = stage.pageserver.cli_command(&["attach", TIMELINE, "--primary", &conninfo])?;
    let status = command.status().with_context(|| format!("running {command:?}"))?;
    ensure!(status.success(), "the attach failed ({status})");
    say(&format!("   attached after {:.1?}", start.elapsed()));
    say("   (Between the two sits a relay that keeps a copy of the base backup, for the proof in step 7.)");
    Ok(())
}

/// pgbench works; moments are noted before, meanwhile and after.
fn work(
    stage: &Stage,
    mut sql: postgres::Client,
    table: RelTag,
    pages: &mut StreamSource,
    interrupt: &Interrupt,
) -> Result<Vec<Moment>> {
    step(4, &format!("PostgreSQL works: pgbench with two sessions, {WORK_SECONDS} seconds, as fast as it can"));
    say("   At four moments account 0, which pgbench leaves alone, gets a balance of its own, and the LSN is noted:");
    say("   the position in the WAL, PostgreSQL's clock.");
    let client = PageClient::connect(stage.pageserver.address()?, &ClientConfig::default())?;
    let mut lag = Lag::new(client);
    let mut moments = Vec::new();
    let mut moment = |name, balance, lag: &mut Lag| -> Result<()> {
        let moment = note(name, balance, &mut sql, table, pages)?;
        say(&format!(
            "   {:<11}  {name:<16}  balance {balance}   readable {} later, {} behind",
            moment.lsn.to_string(),
            milliseconds(moment.readable_after),
            bytes(lag.look()?)
        ));
        moments.push(moment);
        Ok(())
    };
    moment("before the work", 100, &mut lag)?;
    let started = Instant::now();
    let bench = Bench::start(&stage.primary, DATABASE, WORK_SECONDS, &stage.dir.join("pgbench.log"))?;
    lag.watch(PAUSE, interrupt)?;
    moment("during the work", 200, &mut lag)?;
    lag.watch(PAUSE, interrupt)?;
    moment("during the work", 300, &mut lag)?;
    let done = bench.finish(&mut lag, interrupt)?;
    let took = started.elapsed();
    moment("after the work", 400, &mut lag)?;
    let wal = moments[3].lsn.bytes_since(moments[0].lsn);
    say(&format!("   {done} transactions in {took:.1?} wrote {} of WAL.", bytes(wal as i64)));
    say(&format!("   The pageserver was never more than {} behind what PostgreSQL had sent.", bytes(lag.largest)));
    Ok(moments)
}

/// One row at each moment, out of the bytes of its page.
fn read_the_past(stage: &Stage, table: RelTag, moments: &[Moment], pages: &mut StreamSource) -> Result<()> {
    step(5, "Pages of the past are read");
    say(
        "   For each moment the page with the row of account 0, as it was then. The balance is taken from the page's bytes.",
    );
    say("   pd_lsn is the page's own note of the last change to it before that moment.");
    say("   LSN          page          pd_lsn       balance");
    for moment in moments {
        let page = pages.stream().page(table, moment.place.block, moment.lsn)?;
        let balance = account::balance_in(&page, moment.place.item)
            .with_context(|| format!("{table} block {} at {}", moment.place.block, moment.lsn))?;
        ensure!(
            balance == moment.balance,
            "at {} the account had {}, and the page says {balance}",
            moment.lsn,
            moment.balance
        );
        say(&format!(
            "   {:<11}  block {:<6}  {:<11}  {balance}   ({})",
            moment.lsn.to_string(),
            moment.place.block,
            page_lsn(&page).to_string(),
            moment.name
        ));
    }
    let Some(first) = moments.first() else { return Ok(()) };
    say("   From the command line, with the page header in its first lines (pd_lsn in the first eight bytes):");
    let (relation, block, lsn) = (table.to_string(), first.place.block.to_string(), first.lsn.to_string());
    let arguments = ["page", TIMELINE, &relation, "main", &block, "--at", &lsn];
    say(&format!("   $ pageserver {}", arguments.join(" ")));
    let dump = stage.pageserver.cli(&arguments)?;
    for line in String::from_utf8_lossy(&dump).lines().take(2) {
        say(&format!("   {line}"));
    }
    say("   ...");
    Ok(())
}

fn time_reads(table: RelTag, moments: &[Moment], pages: &mut StreamSource) -> Result<Timing> {
    step(6, "Reads are timed");
    let first = moments.first().context("no moment was noted")?;
    let blocks = pages.relation_blocks(table, first.lsn)?.context("the table of accounts does not exist")?;
    let lsns: Vec<Lsn> = moments.iter().map(|moment| moment.lsn).collect();
    let timing = timing::measure(pages, table, blocks, &lsns)?;
    say(&format!(
        "   {} reads of one page, random blocks at random ones of these LSNs, one at a time, with the way there and back:",
        timing::READS
    ));
    say(&format!("   median {}, 99 of 100 within {}", milliseconds(timing.median), milliseconds(timing.p99)));
    Ok(timing)
}

fn prove(stage: &mut Stage, moments: &[Moment], pages: &mut StreamSource, interrupt: &Interrupt) -> Result<Proof> {
    step(7, "The proof");
    say(
        "   PostgreSQL is stopped. A standby is restored from the same base backup; at each LSN PostgreSQL itself stops its recovery",
    );
    say(
        "   there, and every block of every file of every database is compared with what the pageserver answers, byte for byte.",
    );
    stage.primary.stop()?;
    let backup = stage.relay.base_backup()?;
    let proof = proof::prove(&stage.primary, &backup, &stage.dir.join("standby"), moments, pages, interrupt)?;
    say(&format!(
        "   Not compared: {} blocks of free space maps. PostgreSQL does not log them; they are hints that any server may have otherwise.",
        proof.fsm_blocks
    ));
    Ok(proof)
}

fn end(mut stage: Stage, moments: &[Moment], proof: Proof, timing: Timing, start: Instant) -> Result<()> {
    stage.pageserver.sigterm()?;
    drop(stage);
    say(&format!(
        "\nAll equal: {} blocks ({}) and {} pages of transaction logs at {} LSNs; a read of a page took {} (median).",
        proof.blocks,
        bytes((proof.blocks * PAGE_SIZE as u64).cast_signed()),
        proof.slru_pages,
        moments.len(),
        milliseconds(timing.median)
    ));
    say(&format!("The servers are stopped. It took {:.0?}.", start.elapsed()));
    Ok(())
}

fn milliseconds(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1000.0)
}

fn bytes(count: i64) -> String {
    let count = count as f64;
    match count {
        _ if count >= 1e9 => format!("{:.1} GB", count / 1e9),
        _ if count >= 1e6 => format!("{:.1} MB", count / 1e6),
        _ if count >= 1e3 => format!("{:.1} kB", count / 1e3),
        _ => format!("{count} bytes"),
    }
}
