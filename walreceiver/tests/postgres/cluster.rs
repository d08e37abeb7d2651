//! A PostgreSQL server of a test.

use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use pgdata::Lsn;
use walreceiver::{Connection, Primary, StopHandle};

/// The WAL segment size of all clusters here.
pub const SEGMENT: u64 = 1 << 20;

/// Where the programs of PostgreSQL 15 are.
fn bin() -> &'static Path {
    static BIN: OnceLock<PathBuf> = OnceLock::new();
    BIN.get_or_init(|| {
        let bin = std::env::var_os("PG_BIN_15").map_or_else(|| "/usr/lib/postgresql/15/bin".into(), PathBuf::from);
        let postgres = bin.join("postgres");
        assert!(postgres.exists(), "{} is missing: install PostgreSQL 15 or set PG_BIN_15", postgres.display());
        bin
    })
}

/// The user to run servers as: PostgreSQL refuses root.
fn server_user() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let passwd = std::fs::read_to_string("/etc/passwd").expect("read /etc/passwd");
    let line = passwd.lines().find(|line| line.starts_with("postgres:"));
    let line = line.expect("the tests run as root, and there is no user postgres to run servers as");
    let fields: Vec<&str> = line.split(':').collect();
    Some((fields[2].parse().unwrap(), fields[3].parse().unwrap()))
}

fn give_to_server_user(path: &Path) {
    if let Some((uid, gid)) = server_user() {
        chown(path, Some(uid), Some(gid)).unwrap();
    }
}

fn run(program: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(bin().join(program));
    command.args(arguments).current_dir("/").env("LC_ALL", "C").env_remove("PGDATA");
    if let Some((uid, gid)) = server_user() {
        command.uid(uid).gid(gid);
    }
    command.output().unwrap_or_else(|error| panic!("{program}: {error}"))
}

fn run_well(program: &str, arguments: &[&str]) -> String {
    let output = run(program, arguments);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{program} {arguments:?}: {}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

pub struct Cluster {
    root: tempfile::TempDir,
    pub port: u16,
}

impl Cluster {
    /// A running server with these settings on top of the usual ones.
    pub fn start(settings: &str) -> Self {
        let cluster = Self::create(settings);
        cluster.up();
        cluster
    }

    /// A server that is not started yet.
    pub fn create(settings: &str) -> Self {
        let root = tempfile::Builder::new().prefix("walreceiver").tempdir().unwrap();
        std::fs::set_permissions(root.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        give_to_server_user(root.path());
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let cluster = Cluster { root, port };
        let data = cluster.data();
        let data = data.to_str().unwrap();
        run_well(
            "initdb",
            &["-D", data, "-U", "postgres", "-A", "trust", "-N", "-k", "--wal-segsize=1", "--locale=C", "-E", "UTF8"],
        );
        cluster.configure(&format!(
            "listen_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = '{}'\nfsync = off\n\
             autovacuum = off\nwal_level = replica\nwal_keep_size = 0\nmin_wal_size = '2MB'\nmax_wal_size = '1GB'\n\
             checkpoint_timeout = '1h'\nshared_buffers = '16MB'\nlc_messages = 'C'\n{settings}",
            cluster.root.path().display()
        ));
        cluster
    }

    pub fn root(&self) -> &Path {
        self.root.path()
    }

    pub fn data(&self) -> PathBuf {
        self.root.path().join("data")
    }

    /// Appends to `postgresql.conf`.
    pub fn configure(&self, settings: &str) {
        append(&self.data().join("postgresql.conf"), settings);
    }

    /// Writes a file that belongs to the server.
    pub fn put(&self, path: &Path, content: &str, mode: u32) {
        std::fs::write(path, content).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        give_to_server_user(path);
    }

    /// Makes a directory that belongs to the server.
    pub fn directory(&self, name: &str) -> PathBuf {
        let path = self.root.path().join(name);
        std::fs::create_dir(&path).unwrap();
        give_to_server_user(&path);
        path
    }

    pub fn up(&self) {
        let (data, log) = (self.data(), self.root.path().join("log"));
        let (data, log) = (data.to_str().unwrap(), log.to_str().unwrap());
        let output = run("pg_ctl", &["-D", data, "-l", log, "-w", "-t", "60", "start"]);
        assert!(output.status.success(), "the server does not start:\n{}", self.log());
    }

    pub fn down(&self, mode: &str) {
        run_well("pg_ctl", &["-D", self.data().to_str().unwrap(), "-w", "-t", "60", "-m", mode, "stop"]);
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.root.path().join("log")).unwrap_or_default()
    }

    /// Runs SQL as the superuser; the output without decoration.
    pub fn sql(&self, sql: &str) -> String {
        let (socket, port) = (self.root.path().to_str().unwrap(), self.port.to_string());
        let arguments =
            ["-h", socket, "-p", &port, "-U", "postgres", "-d", "postgres", "-XAtq", "-v", "ON_ERROR_STOP=1"];
        run_well("psql", &[&arguments[..], &["-c", sql]].concat()).trim_end().to_owned()
    }

    /// The first answer of `sql` that `is_right` likes.
    pub fn await_sql(&self, sql: &str, is_right: impl Fn(&str) -> bool) -> String {
        // A bound for a test that would hang, nothing that is measured.
        for _ in 0..600 {
            let answer = self.sql(sql);
            if is_right(&answer) {
                return answer;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        panic!("{sql}: never as expected, now {:?}\n{}", self.sql(sql), self.log());
    }

    pub fn lsn(&self) -> Lsn {
        self.sql("SELECT pg_current_wal_flush_lsn()").parse().unwrap()
    }

    /// Ends the present segment.
    pub fn switch_wal(&self) {
        self.sql("SELECT pg_logical_emit_message(false, 'test', 'x'); SELECT pg_switch_wal()");
    }

    /// WAL from `start` to `end` as it lies in `pg_wal`.
    pub fn wal(&self, start: Lsn, end: Lsn) -> Vec<u8> {
        let per_id = (1 << 32) / SEGMENT;
        let mut wal = Vec::new();
        for number in start.0 / SEGMENT..end.0.div_ceil(SEGMENT) {
            let name = format!("pg_wal/00000001{:08X}{:08X}", number / per_id, number % per_id);
            let bytes = std::fs::read(self.data().join(&name)).unwrap_or_else(|error| panic!("{name}: {error}"));
            let from = start.0.saturating_sub(number * SEGMENT) as usize;
            let to = (end.0 - number * SEGMENT).min(SEGMENT) as usize;
            wal.extend_from_slice(&bytes[from..to]);
        }
        wal
    }

    pub fn conninfo(&self, more: &str) -> String {
        format!("host=127.0.0.1 port={} user=postgres {more}", self.port)
    }

    pub fn primary(&self) -> Primary {
        self.primary_with("sslmode=disable")
    }

    pub fn primary_with(&self, more: &str) -> Primary {
        Primary::parse(&self.conninfo(more)).unwrap()
    }

    pub fn connect(&self) -> Connection {
        Connection::connect(&self.primary(), &StopHandle::new()).unwrap()
    }
}

fn append(path: &Path, text: &str) {
    let mut content = std::fs::read_to_string(path).unwrap();
    content.push_str(text);
    content.push('\n');
    std::fs::write(path, content).unwrap();
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the server's log:\n{}", self.log());
        }
        let data = self.data();
        let _ = run("pg_ctl", &["-D", data.to_str().unwrap(), "-w", "-m", "immediate", "stop"]);
    }
}
