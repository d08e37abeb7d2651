//! The pageserver is killed twenty times while the primary waits for it with every commit. In the end the primary is lost as well: what
//! was acknowledged to its clients is there without it.

use std::env;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use integration_tests::workload::{self, start_pgbench};
use integration_tests::{Cluster, Lab, Random, TIMELINE, in_scratch, until};
use pgdata::Lsn;
use rustix::process::Signal;

const KILLS: usize = 20;
/// Repeats a run's choices, as far as the machine does.
const SEED: &str = "KILLS_SEED";
const CLIENTS: i32 = 3;
/// The longest time until a kill, of a server at work and of one that starts.
const AT_WORK: usize = 600;
const STARTING: usize = 250;

#[test]
fn what_was_acknowledged_survives_twenty_kills_and_the_loss_of_the_primary() {
    in_scratch("kills", |dir| {
        let seed = match env::var(SEED) {
            Ok(seed) => seed.parse().with_context(|| format!("{SEED}={seed}"))?,
            Err(_) => SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos() as u64,
        };
        println!("{SEED}={seed} makes these choices again");
        let mut random = Random::new(seed);
        let mut lab = Lab::start(dir, &workload::options().with("synchronous_commit", "on"))?;
        lab.primary.psql("postgres", "CREATE TABLE acknowledged (client int, id int, PRIMARY KEY (client, id))")?;
        let bench = start_pgbench(&lab.primary, 2)?;
        lab.attach()?;
        wait_for_standby(&lab.primary)?;
        let clients = (0..CLIENTS).map(|number| Client::start(&lab.primary, number)).collect::<Result<Vec<_>>>()?;

        let mut noted = Vec::new();
        for kill in 1..=KILLS {
            kill_once(&mut lab, &mut random).with_context(|| format!("kill {kill} of seed {seed}"))?;
            if kill % 5 == 0 {
                noted.push(note(&lab.primary)?);
            }
        }
        bench.end_by(Signal::TERM)?;
        thread::sleep(moment(&mut random, AT_WORK));
        lab.primary.kill9()?;
        let acknowledged = clients.into_iter().map(Client::end).collect::<Vec<i32>>();
        println!("acknowledged: {acknowledged:?}");
        lab.pageserver.kill9()?;
        lab.pageserver.start()?;
        check_clone(&lab, &dir.join("clone"), &acknowledged)?;

        lab.primary.start()?;
        noted.push(note(&lab.primary)?);
        lab.compare(&noted, 2).map(drop)
    });
}

/// A commit counts from now on when it is on the pageserver's disk.
fn wait_for_standby(primary: &Cluster) -> Result<()> {
    primary.psql("postgres", "ALTER SYSTEM SET synchronous_standby_names = 'pageserver'; SELECT pg_reload_conf()")?;
    let mut client = primary.connect("postgres")?;
    let synchronous = "SELECT FROM pg_stat_replication WHERE sync_state = 'sync'";
    until("the primary waits for its standby", || Ok(client.query_opt(synchronous, &[])?.map(drop)))
}

fn moment(random: &mut Random, most: usize) -> Duration {
    Duration::from_millis(random.below(most) as u64)
}

/// Kills the server at work, or again while it starts; then it must have what the primary was told, while the primary cannot be reached.
fn kill_once(lab: &mut Lab, random: &mut Random) -> Result<()> {
    thread::sleep(moment(random, AT_WORK));
    lab.pageserver.kill9()?;
    let mut observer = lab.primary.connect("postgres")?;
    let told = until("the primary knows that its standby is gone", || {
        let slot = observer.query_one("SELECT restart_lsn::text, active FROM pg_replication_slots", &[])?;
        Ok((!slot.get::<_, bool>(1)).then(|| slot.get::<_, String>(0)))
    })?;
    let told: Lsn = told.parse()?;
    lab.relay.refuse(true);
    if random.below(2) == 0 {
        lab.pageserver.start_and_kill9(moment(random, STARTING))?;
    }
    lab.pageserver.start()?;
    let found = lab.pageserver.timeline(TIMELINE)?;
    ensure!(found.last_record_lsn >= told, "the primary was told {told}, and there is {found:?}");
    lab.relay.refuse(false);
    Ok(())
}

/// Notes an LSN at which a standby can stop: between two checkpoints.
fn note(primary: &Cluster) -> Result<Lsn> {
    primary.psql("postgres", "CHECKPOINT; INSERT INTO acknowledged VALUES (-1, (random() * 1e9)::int)")?;
    let lsn = primary.current_lsn()?;
    primary.psql("postgres", "CHECKPOINT")?;
    Ok(lsn)
}

/// Commits ids one after the other, and knows which was acknowledged last.
struct Client {
    acknowledged: Arc<AtomicI32>,
    thread: JoinHandle<()>,
}

impl Client {
    fn start(primary: &Cluster, number: i32) -> Result<Client> {
        let mut client = primary.connect("postgres")?;
        let acknowledged = Arc::new(AtomicI32::new(0));
        let last = Arc::clone(&acknowledged);
        let thread = thread::spawn(move || {
            for id in 1.. {
                // The end of the primary.
                if client.execute("INSERT INTO acknowledged VALUES ($1, $2)", &[&number, &id]).is_err() {
                    return;
                }
                last.store(id, Ordering::SeqCst);
            }
        });
        Ok(Client { acknowledged, thread })
    }

    fn end(self) -> i32 {
        self.thread.join().expect("no panic");
        self.acknowledged.load(Ordering::SeqCst)
    }
}

/// Makes a cluster of what the pageserver has, without the primary, and looks for everything that was acknowledged.
fn check_clone(lab: &Lab, dir: &Path, acknowledged: &[i32]) -> Result<()> {
    let data = dir.join("data");
    integration_tests::RunAs::server_user().make_dir(dir)?;
    lab.pageserver.cli(&["basebackup", TIMELINE, "-D", data.to_str().context("a strange path")?])?;
    let mut clone = Cluster::adopt(lab.primary.install(), dir)?;
    clone.append_config("synchronous_standby_names = ''")?;
    std::fs::remove_file(data.join("postgresql.auto.conf"))?;
    clone.start()?;
    for (client, last) in acknowledged.iter().enumerate() {
        ensure!(*last > 0, "client {client} has committed nothing");
        let found =
            clone.psql("postgres", &format!("SELECT count(*), max(id) FROM acknowledged WHERE client = {client}"))?;
        let (count, highest) = found.trim().split_once('|').context("two numbers")?;
        let (count, highest): (i32, i32) = (count.parse()?, highest.parse()?);
        ensure!(count == highest, "of the ids 1 to {highest} of client {client} there are {count}");
        ensure!(highest >= *last, "client {client} was told of {last} commits, and there are {highest}");
    }
    clone.stop()
}
