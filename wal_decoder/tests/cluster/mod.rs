//! A real PostgreSQL server for a test: made with `initdb`, reached over a Unix socket in its own directory, gone at the end.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// The programs of one installed major version.
pub struct Installation {
    bin: PathBuf,
}

impl Installation {
    /// Finds a major version: its directory is `PG_BIN_<major>` or Debian's. `None` if there is no server.
    pub fn find(major: u32) -> Option<Installation> {
        let bin = match std::env::var_os(format!("PG_BIN_{major}")) {
            Some(bin) => PathBuf::from(bin),
            None => PathBuf::from(format!("/usr/lib/postgresql/{major}/bin")),
        };
        bin.join("postgres").exists().then_some(Installation { bin })
    }
}

/// A running server.
pub struct Cluster {
    installation: Installation,
    directory: TempDir,
    running: bool,
}

impl Cluster {
    /// Makes a cluster with segments of 1 MiB that keeps all its WAL, and starts it.
    pub fn start(installation: Installation) -> Cluster {
        let directory = tempfile::Builder::new().prefix("waldec").tempdir().expect("a temporary directory");
        if let Some((uid, gid)) = unprivileged_user() {
            chown(directory.path(), Some(uid), Some(gid)).expect("chown of the temporary directory");
        }
        let mut cluster = Cluster { installation, directory, running: false };
        let data = cluster.data();
        let initdb = cluster.bin("initdb");
        cluster.run(Command::new(initdb).arg("-D").arg(&data).args([
            "-U",
            "postgres",
            "-A",
            "trust",
            "-N",
            "-E",
            "UTF8",
            "--locale=C",
            "--wal-segsize=1",
        ]));
        let settings = format!(
            "listen_addresses = ''\nunix_socket_directories = '{}'\nfsync = off\nwal_level = logical\n\
             wal_keep_size = '8GB'\nmax_wal_size = '4GB'\nmax_prepared_transactions = 10\nwal_log_hints = on\n",
            cluster.directory.path().display()
        );
        let mut conf = fs::OpenOptions::new().append(true).open(data.join("postgresql.conf")).expect("postgresql.conf");
        conf.write_all(settings.as_bytes()).expect("settings");
        let pg_ctl = cluster.bin("pg_ctl");
        let log = cluster.directory.path().join("log");
        cluster.run(Command::new(pg_ctl).arg("-D").arg(&data).arg("-l").arg(log).args(["-w", "start"]));
        cluster.running = true;
        cluster
    }

    /// Runs statements, each in a transaction of its own, in one session, and gives back what they print, unaligned.
    pub fn sql(&self, statements: &str) -> String {
        let script = self.directory.path().join("script.sql");
        fs::write(&script, statements).expect("a script");
        let mut command = Command::new(self.bin("psql"));
        command.arg("-h").arg(self.directory.path()).args(["-U", "postgres", "-d", "postgres"]);
        command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-f"]).arg(script);
        self.run(&mut command)
    }

    /// Stops the server as an administrator would.
    pub fn stop(&mut self) {
        if std::mem::take(&mut self.running) {
            let pg_ctl = self.bin("pg_ctl");
            self.run(Command::new(pg_ctl).arg("-D").arg(self.data()).args(["-w", "-m", "fast", "stop"]));
        }
    }

    /// The segment files, in order.
    pub fn segments(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.data().join("pg_wal")).expect("pg_wal");
        let paths = entries.map(|entry| entry.expect("an entry of pg_wal").path());
        let mut segments: Vec<PathBuf> = paths.filter(|path| path.is_file()).collect();
        segments.sort();
        segments
    }

    /// What `pg_waldump` prints from the start of the first segment on. It ends with an error at the end of the WAL.
    pub fn waldump(&self, start: &str) -> String {
        let mut command = Command::new(self.bin("pg_waldump"));
        command.arg("-p").arg(self.data().join("pg_wal")).args(["-s", start]);
        let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let end = String::from_utf8_lossy(&output.stderr);
        assert!(end.contains("error in WAL record at"), "pg_waldump did not run up to the end of the WAL: {end}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn bin(&self, name: &str) -> PathBuf {
        self.installation.bin.join(name)
    }

    /// Runs a command to its end as a user that PostgreSQL accepts.
    fn run(&self, command: &mut Command) -> String {
        if let Some((uid, gid)) = unprivileged_user() {
            command.uid(uid).gid(gid);
        }
        // A server started by pg_ctl inherits the descriptors: with pipes their ends would never be seen.
        let out = self.directory.path().join("command.out");
        let file = fs::File::create(&out).expect("a file for a command's output");
        let errors = file.try_clone().expect("a second descriptor");
        command.current_dir(self.directory.path()).stdin(Stdio::null()).stdout(file).stderr(errors);
        let status = command.status().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let printed = String::from_utf8_lossy(&fs::read(&out).expect("the command's output")).into_owned();
        assert!(status.success(), "{command:?}: {status}\n{printed}");
        printed
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::mem::take(&mut self.running) {
            let mut command = Command::new(self.bin("pg_ctl"));
            command.arg("-D").arg(self.data()).args(["-w", "-m", "immediate", "stop"]);
            if let Some((uid, gid)) = unprivileged_user() {
                command.uid(uid).gid(gid);
            }
            // The test has failed already: all that is left is not to leave a server behind.
            let _ = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
        }
    }
}

/// PostgreSQL refuses to run as root: the user `postgres` runs it then.
fn unprivileged_user() -> Option<(u32, u32)> {
    if fs::metadata("/proc/self").expect("/proc").uid() != 0 {
        return None;
    }
    let passwd = fs::read_to_string(Path::new("/etc/passwd")).expect("/etc/passwd");
    let mut fields = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let entry = fields.find(|fields| fields.len() > 3 && fields[0] == "postgres");
    let entry = entry.expect("root cannot run PostgreSQL, and there is no user postgres to run it as");
    Some((entry[2].parse().expect("a user id"), entry[3].parse().expect("a group id")))
}
