//! A PostgreSQL primary that belongs to one test.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use pgdata::{Lsn, PgVersion};
use postgres::{Client, NoTls};
use rustix::process::Signal;

use crate::pg_install::{run, test_version};
use crate::process::POLL;
use crate::tablespaces::TablespaceLink;
use crate::{Counters, PgInstall, Process, RunAs};

/// How long a server may take until it accepts connections: crash recovery included.
const START: Duration = Duration::from_secs(120);

/// What ends a session's statement that hangs, so that a test fails and does not hang too.
const TIMEOUT: &str = "-c statement_timeout=120s";

/// Settings that every cluster here has. Later ones, from [`ClusterOptions::config`], win.
///
/// `wal_keep_size` keeps every segment, so that standbys find the whole history in `pg_wal`. Buffers are few, so that pages
/// leave and come back. There is no power to lose in a test, so nothing waits for the disk.
const BASE_CONFIG: &str = "\
listen_addresses = '127.0.0.1'
fsync = off
wal_level = replica
max_wal_senders = 10
wal_keep_size = 1000000
max_wal_size = 100GB
checkpoint_timeout = 1h
checkpoint_completion_target = 0.1
shared_buffers = 8MB
max_connections = 40
max_prepared_transactions = 20
log_checkpoints = on
log_line_prefix = '%m [%p] '
allow_in_place_tablespaces = on
";

/// How a cluster is made.
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    /// The major version; the one that [`test_version`] says if it is not set.
    pub version: PgVersion,
    /// Whether pages carry checksums.
    pub checksums: bool,
    /// Megabytes in a WAL segment: a power of two from 1 to 1024.
    pub wal_segment_mb: u32,
    /// Lines for `postgresql.conf`: names and values as they are written there.
    pub config: Vec<(String, String)>,
    /// Where its counters stand when a [`crate::Lab`] starts it, if not at the beginning.
    pub counters: Option<Counters>,
}

impl Default for ClusterOptions {
    fn default() -> Self {
        ClusterOptions {
            version: test_version(),
            checksums: false,
            wal_segment_mb: 16,
            config: Vec::new(),
            counters: None,
        }
    }
}

impl ClusterOptions {
    /// With one more line in `postgresql.conf`.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.config.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With checksums in pages.
    #[must_use]
    pub fn with_checksums(mut self) -> Self {
        self.checksums = true;
        self
    }
}

/// A PostgreSQL cluster with its server running or stopped. The server ends when this is dropped.
#[derive(Debug)]
pub struct Cluster {
    install: PgInstall,
    data: PathBuf,
    sockets: PathBuf,
    log: PathBuf,
    pub(crate) tablespaces: TablespaceLink,
    port: u16,
    server: Option<Process>,
}

impl Cluster {
    /// Makes a cluster in the new directory `dir`, not yet running.
    ///
    /// # Errors
    /// If `initdb` fails.
    ///
    /// # Panics
    /// If that version of PostgreSQL is not installed.
    pub fn init(dir: &Path, options: &ClusterOptions) -> Result<Cluster> {
        Cluster::init_on(PgInstall::find(options.version), dir, options)
    }

    /// As [`Cluster::init`], on an installation that the caller has found. It decides the version.
    ///
    /// # Errors
    /// If `initdb` fails.
    pub fn init_on(install: PgInstall, dir: &Path, options: &ClusterOptions) -> Result<Cluster> {
        RunAs::server_user().make_dir(dir)?;
        initdb(&install, &dir.join("data"), options)?;
        let cluster = Cluster::in_dir(install, dir)?;
        cluster.write_config(options)?;
        Ok(cluster)
    }

    /// A cluster whose data directory is or will be `dir/data`.
    pub(crate) fn in_dir(install: PgInstall, dir: &Path) -> Result<Cluster> {
        let user = RunAs::server_user();
        let (data, sockets, log) = (dir.join("data"), dir.join("s"), dir.join("log"));
        user.make_dir(dir)?;
        user.make_dir(&sockets)?;
        let (tablespaces, port) = (TablespaceLink::new(dir)?, free_port()?);
        Ok(Cluster { install, data, sockets, log, tablespaces, port, server: None })
    }

    /// Makes a cluster and starts it.
    ///
    /// # Errors
    /// If `initdb` fails or the server does not come up.
    pub fn start_new(dir: &Path, options: &ClusterOptions) -> Result<Cluster> {
        let mut cluster = Cluster::init(dir, options)?;
        cluster.start()?;
        Ok(cluster)
    }

    /// The cluster whose data directory is `dir/data`, not running: what a backup was unpacked to. It keeps its configuration, but for
    /// where it listens.
    ///
    /// # Errors
    /// If its files cannot be given to the servers' user, or its configuration cannot be written.
    pub fn adopt(install: &PgInstall, dir: &Path) -> Result<Cluster> {
        let cluster = Cluster::in_dir(install.clone(), dir)?;
        RunAs::server_user().own_all(dir)?;
        cluster.append_config(&format!("listen_addresses = '127.0.0.1'\n{}", cluster.place()))?;
        Ok(cluster)
    }

    /// The lines of the configuration that say where it listens.
    fn place(&self) -> String {
        format!("port = {}\nunix_socket_directories = '{}'\n", self.port, self.sockets.display())
    }

    pub(crate) fn write_config(&self, options: &ClusterOptions) -> Result<()> {
        let mut text = BASE_CONFIG.to_owned() + &self.place();
        for (name, value) in &options.config {
            writeln!(text, "{name} = {value}")?;
        }
        self.append_config(&text)
    }

    /// Appends lines to `postgresql.conf`; they are in force after the next start.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn append_config(&self, text: &str) -> Result<()> {
        let mut file = fs::File::options().append(true).open(self.data.join("postgresql.conf"))?;
        Ok(writeln!(file, "{text}")?)
    }

    /// Appends a line to the top of `pg_hba.conf`, where it wins over the others; in force after the next start.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn prepend_hba(&self, line: &str) -> Result<()> {
        let path = self.data.join("pg_hba.conf");
        let old = fs::read_to_string(&path)?;
        Ok(fs::write(path, format!("{line}\n{old}"))?)
    }

    /// Starts the server and waits until it accepts connections. After [`Cluster::kill9`] a new server refuses to start until
    /// the last child of the old one has let go of its shared memory, so that this tries again for a while.
    ///
    /// # Errors
    /// If it does not come up.
    pub fn start(&mut self) -> Result<()> {
        ensure!(self.server.is_none(), "the server runs already");
        for _ in 0..500 {
            match self.try_start() {
                Err(error) if format!("{error:#}").contains("pre-existing shared memory block") => sleep(POLL),
                other => return other,
            }
        }
        bail!("children of the killed PostgreSQL do not end")
    }

    fn try_start(&mut self) -> Result<()> {
        self.tablespaces.point_at(&self.tablespaces.primary())?;
        let mut command = self.install.command("postgres");
        command.arg("-D").arg(&self.data);
        let mut server = Process::start("PostgreSQL", &mut command, &self.log)?;
        let pid_file = self.data.join("postmaster.pid");
        server
            .wait_until("accepting connections", START, |server| Ok(is_ready(&pid_file, server.id()).then_some(())))?;
        self.server = Some(server);
        Ok(())
    }

    fn end(&mut self, signal: Signal) -> Result<ExitStatus> {
        self.server.take().context("the server does not run")?.end_by(signal)
    }

    /// Stops the server in order: with a checkpoint, breaking off the sessions (`pg_ctl stop -m fast`).
    ///
    /// # Errors
    /// If it does not run or does not end well.
    pub fn stop(&mut self) -> Result<()> {
        let status = self.end(Signal::INT)?;
        ensure!(status.success(), "PostgreSQL ended with {status}");
        Ok(())
    }

    /// Ends the server without a checkpoint (`pg_ctl stop -m immediate`): recovery follows at the next start.
    ///
    /// # Errors
    /// If it does not run or does not end.
    pub fn stop_immediately(&mut self) -> Result<()> {
        self.end(Signal::QUIT).map(drop)
    }

    /// Kills the postmaster; its children end when they notice, and [`Cluster::start`] waits for that.
    ///
    /// # Errors
    /// If it does not run.
    pub fn kill9(&mut self) -> Result<()> {
        self.end(Signal::KILL).map(drop)
    }

    /// Stops and starts the server in order.
    ///
    /// # Errors
    /// As [`Cluster::stop`] and [`Cluster::start`].
    pub fn restart(&mut self) -> Result<()> {
        self.stop()?;
        self.start()
    }

    /// A connection to a database over the Unix socket, as the superuser.
    ///
    /// # Errors
    /// If the server refuses it.
    pub fn connect(&self, database: &str) -> Result<Client> {
        let mut config = Client::configure();
        config.host_path(&self.sockets).port(self.port).user("postgres").dbname(database).options(TIMEOUT);
        config.connect(NoTls).with_context(|| format!("connecting to database {database}"))
    }

    /// Runs a script through `psql`: each statement in a transaction of its own. Returns what it printed, unaligned.
    ///
    /// # Errors
    /// At the first statement that fails.
    pub fn psql(&self, database: &str, script: &str) -> Result<String> {
        let mut command = self.client("psql");
        command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", database, "-f", "-"]);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().context("psql")?;
        // psql reads its whole script before it has much to say, and what it says fits the pipe or goes to a thread.
        let mut stdin = child.stdin.take().context("psql's stdin")?;
        let text = script.to_owned();
        let writer = std::thread::spawn(move || stdin.write_all(text.as_bytes()));
        let output = child.wait_with_output()?;
        writer.join().expect("the writer does not panic").ok();
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "psql on {database} failed:\n{errors}");
        Ok(String::from_utf8(output.stdout)?)
    }

    /// One of PostgreSQL's client programs, set to connect here.
    #[must_use]
    pub fn client(&self, program: &str) -> Command {
        let mut command = self.install.command(program);
        command
            .env("PGHOST", &self.sockets)
            .env("PGPORT", self.port.to_string())
            .env("PGUSER", "postgres")
            .env("PGOPTIONS", TIMEOUT);
        command
    }

    /// The primary's address over TCP as a connection string, for the user `postgres`.
    #[must_use]
    pub fn conninfo(&self) -> String {
        format!("host=127.0.0.1 port={} user=postgres", self.port)
    }

    /// A new directory for a tablespace, or the one made before under this name. It lies behind a symbolic link that a standby
    /// points at a directory of its own: the WAL names the location, and two servers cannot share one.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn tablespace_location(&self, name: &str) -> Result<PathBuf> {
        let link = self.tablespaces.link();
        self.tablespaces.point_at(&self.tablespaces.primary())?;
        RunAs::server_user().make_dir(&link.join(name))?;
        Ok(link.join(name))
    }

    /// Where the locations of tablespaces lie.
    #[must_use]
    pub fn tablespaces(&self) -> &TablespaceLink {
        &self.tablespaces
    }

    /// The end of the WAL written so far.
    ///
    /// # Errors
    /// If the server does not answer.
    pub fn current_lsn(&self) -> Result<Lsn> {
        current_lsn(&mut self.connect("postgres")?)
    }

    /// What the running server has logged since it was started.
    ///
    /// # Errors
    /// If it does not run.
    pub fn log_text(&self) -> Result<String> {
        self.server.as_ref().context("the server does not run")?.log_text()
    }

    /// The TCP port on the loopback interface.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The data directory.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The installation that it runs on.
    #[must_use]
    pub fn install(&self) -> &PgInstall {
        &self.install
    }
}

/// Writes a small record and returns its end. `pg_logical_emit_message` answers with exactly that; the record is not
/// flushed by it, so the position is flushed afterwards by a message that belongs to a transaction.
///
/// # Errors
/// If the server does not answer.
pub fn current_lsn(client: &mut Client) -> Result<Lsn> {
    let row = client.query_one("SELECT pg_logical_emit_message(false, 'mark', '')::text", &[])?;
    let lsn = row.get::<_, &str>(0).parse()?;
    client.query_one("SELECT pg_logical_emit_message(true, 'flush', '')::text", &[])?;
    Ok(lsn)
}

fn initdb(install: &PgInstall, data: &Path, options: &ClusterOptions) -> Result<()> {
    let mut command = install.command("initdb");
    command.arg("-D").arg(data).args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]);
    command.arg(format!("--wal-segsize={}", options.wal_segment_mb));
    if options.checksums {
        command.arg("--data-checksums");
    } else if install.version() == PgVersion::V18 {
        command.arg("--no-data-checksums");
    }
    run(&mut command).map(drop)
}

/// A port that was free a moment ago.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// Whether the lock file says that the server of this process id accepts connections (its eighth line, as `pg_ctl` reads it), be it
/// as a standby.
fn is_ready(pid_file: &Path, pid: u32) -> bool {
    let text = fs::read_to_string(pid_file).unwrap_or_default();
    let mut lines = text.lines();
    lines.next() == Some(&pid.to_string())
        && lines.nth(6).is_some_and(|status| matches!(status.trim_end(), "ready" | "standby"))
}
