//! The servers and files that are measured with.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use integration_tests::program::{Interrupt, WorkDir, find_install, reachable, say};
use integration_tests::{Cluster, ClusterOptions, Pageserver, RunAs, run};

use crate::Args;

/// The name of the timeline.
pub const TIMELINE: &str = "main";
const DATABASE: &str = "postgres";

/// A primary with pgbench's tables, a backup of it from before the work, and a pageserver that followed the work.
pub struct Stage {
    pub pageserver: Pageserver,
    pub primary: Cluster,
    pub dir: PathBuf,
    binary: PathBuf,
}

impl Stage {
    pub fn make(args: &Args, interrupt: &Interrupt, dir: &mut Option<WorkDir>) -> Result<Stage> {
        let install = find_install(args.pg_bin.as_deref())?;
        let user = RunAs::find()?;
        ensure!(args.pageserver.is_file(), "there is no program {}", args.pageserver.display());
        let dir = dir.insert(WorkDir::new("pageserver-bench", user)?).path().to_owned();
        let binary = reachable(&args.pageserver, &dir, user)?;

        say(&format!(
            "PostgreSQL {} with pgbench at scale {}, {} transactions.",
            install.version(),
            args.scale,
            args.transactions
        ));
        let options = ClusterOptions::default().with("shared_buffers", "256MB").with("synchronous_commit", "off");
        let mut primary = Cluster::init_on(install, &dir.join("primary"), &options)?;
        primary.start()?;
        run(primary.client("pgbench").args(["-i", "-q", "-s", &args.scale.to_string(), DATABASE]))?;
        interrupt.check()?;
        take_backup(&primary, &dir.join("backup"))?;
        let mut pageserver = Pageserver::with_binary(binary.clone(), &dir.join("pageserver"), primary.install())?;
        pageserver.start()?;
        pageserver.attach(TIMELINE, &conninfo(&primary))?;
        interrupt.check()?;
        work(&primary, args.transactions)?;
        let stage = Stage { pageserver, primary, dir, binary };
        stage.catch_up()?;
        Ok(stage)
    }

    /// Waits until the pageserver has all WAL of the primary.
    fn catch_up(&self) -> Result<()> {
        let mut sql = self.primary.connect(DATABASE)?;
        let file: u32 = sql.query_one("SELECT pg_relation_filenode('pg_class')", &[])?.get(0);
        let db: u32 = sql.query_one("SELECT oid FROM pg_database WHERE datname = current_database()", &[])?.get(0);
        let lsn = self.primary.current_lsn()?.to_string();
        self.pageserver.cli(&["page", TIMELINE, &format!("1663/{db}/{file}"), "main", "0", "--at", &lsn])?;
        Ok(())
    }

    /// Starts the pageserver anew with other settings, and those of redo.
    pub fn restart(&mut self, settings: &str, redo: &str) -> Result<()> {
        say(&format!("\nThe server is started again with {settings}, redo {redo}."));
        self.pageserver.sigterm()?;
        self.pageserver.configure_redo(settings, redo)?;
        self.pageserver.start()
    }

    /// Ends the servers; the files stay.
    pub fn stop(&mut self) -> Result<()> {
        self.pageserver.sigterm()?;
        self.primary.stop()
    }

    /// The pageserver's data directory.
    pub fn data(&self) -> String {
        self.dir.join("pageserver").display().to_string()
    }

    /// A base backup from before the work, in tar format.
    pub fn backup(&self) -> PathBuf {
        self.dir.join("backup")
    }

    /// The WAL since that backup.
    pub fn wal(&self) -> PathBuf {
        self.primary.data().join("pg_wal")
    }

    /// Runs a command of the pageserver against the running server; its output is this program's.
    pub fn run(&self, arguments: &[&str]) -> Result<()> {
        finish(arguments, self.pageserver.cli_command(arguments)?)
    }

    /// Runs a command of the pageserver that needs no server; its output is this program's.
    pub fn run_alone(&self, arguments: &[&str]) -> Result<()> {
        finish(arguments, self.command(arguments))
    }

    /// A command of the pageserver that needs no server.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(arguments).current_dir("/").stdin(Stdio::null());
        RunAs::server_user().apply(&mut command);
        command
    }
}

fn finish(arguments: &[&str], mut command: Command) -> Result<()> {
    say(&format!("\n$ pageserver {}\n", arguments.join(" ")));
    let status = command.status().with_context(|| format!("running {command:?}"))?;
    ensure!(status.success(), "{command:?} failed ({status})");
    Ok(())
}

fn conninfo(primary: &Cluster) -> String {
    format!("host=127.0.0.1 port={} user=postgres", primary.port())
}

fn take_backup(primary: &Cluster, dir: &Path) -> Result<()> {
    RunAs::server_user().make_dir(dir)?;
    let mut command = primary.client("pg_basebackup");
    command.args(["--format=tar", "--wal-method=none", "--checkpoint=fast", "--no-sync", "--pgdata"]).arg(dir);
    run(&mut command)?;
    Ok(())
}

/// A thousand pages of ten records each: the fill factor lets ten rows into a page, and each comes with a record of its own. What
/// pgbench writes has such pages only until a vacuum comes by, of which there is none here.
const TEN_RECORDS: &str =
    "CREATE TABLE ten_records (n int, filler text) WITH (fillfactor = 10, autovacuum_enabled = off);
    INSERT INTO ten_records SELECT n, repeat('x', 40) FROM generate_series(1, 10000) AS n";

/// Two sessions that do not wait for the disk, and a checkpoint at the end of which the WAL ends too.
fn work(primary: &Cluster, transactions: u32) -> Result<()> {
    let each = (transactions / 2).max(1).to_string();
    run(primary.client("pgbench").args(["-n", "-c", "2", "-t", &each, DATABASE]))?;
    let mut sql = primary.connect(DATABASE)?;
    sql.batch_execute(TEN_RECORDS)?;
    sql.batch_execute("CHECKPOINT")?;
    Ok(())
}
