//! A data directory unpacked from a backup, and the stock server that is started from it.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, ensure};
use basebackup::Backup;
use integration_tests::{PgInstall, RunAs, run};
use pgdata::wal::SegmentSize;

/// A directory with a backup in it. A server that runs there is stopped with it.
pub struct Restored {
    install: PgInstall,
    dir: PathBuf,
    port: u16,
    runs: bool,
}

impl Restored {
    /// Unpacks a backup into the new directory `dir`; tablespaces that are links are unpacked where they lead.
    pub fn unpack(install: &PgInstall, backup: &Backup<'_>, dir: &Path) -> Result<Restored> {
        let user = RunAs::server_user();
        user.make_dir(dir)?;
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let restored = Restored { install: install.clone(), dir: dir.to_owned(), port, runs: false };
        unpack(backup.write(Vec::new())?, &restored.data())?;
        for (oid, target) in backup.tablespaces() {
            if let Some(target) = target {
                unpack(backup.write_tablespace(oid, Vec::new())?, Path::new(target))?;
            }
        }
        user.own_all(dir)?;
        Ok(restored)
    }

    pub fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// What `pg_waldump` makes of the segment that the backup ends in: a line for each record.
    pub fn waldump(&self, backup: &Backup<'_>, size: SegmentSize) -> Result<Vec<String>> {
        let check_point = backup.check_point();
        let name = size.file_name(check_point.timeline, size.segment_of(check_point.redo));
        let mut command = self.install.command("pg_waldump");
        // It ends with an error: behind the last record there are zeros.
        let output = command.arg(self.data().join("pg_wal").join(name)).output()?;
        let lines: Vec<String> = String::from_utf8(output.stdout)?.lines().map(str::to_owned).collect();
        ensure!(!lines.is_empty(), "pg_waldump: {}", String::from_utf8_lossy(&output.stderr));
        Ok(lines)
    }

    /// What `pg_controldata` says, before the server has run.
    pub fn controldata(&self) -> Result<String> {
        let output = run(self.install.command("pg_controldata").arg(self.data()))?;
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Has the server verify the checksums of all pages. It must not run.
    pub fn verify_checksums(&self) -> Result<()> {
        run(self.install.command("pg_checksums").arg("--check").arg("-D").arg(self.data())).map(drop)
    }

    pub fn start(&mut self) -> Result<()> {
        let options = format!(
            "-c port={} -c listen_addresses= -c unix_socket_directories='{}' -c shared_buffers=8MB \
             -c allow_in_place_tablespaces=off",
            self.port,
            self.dir.display()
        );
        let log = self.dir.join("log");
        // What the server said before, sessions that its end cut off among it, does not count.
        let before = fs::read(&log).map_or(0, |text| text.len());
        let started = run(self.pg_ctl("start").arg("-o").arg(options).arg("-l").arg(&log));
        started.with_context(|| fs::read_to_string(&log).unwrap_or_default())?;
        self.runs = true;
        let text = fs::read_to_string(&log)?;
        let new = &text[before..];
        ensure!(!new.contains("PANIC") && !new.contains("FATAL"), "the log has:\n{new}");
        Ok(())
    }

    pub fn stop(&mut self, mode: &str) -> Result<()> {
        run(self.pg_ctl("stop").arg("-m").arg(mode))?;
        self.runs = false;
        Ok(())
    }

    pub fn restart(&mut self, mode: &str) -> Result<()> {
        self.stop(mode)?;
        self.start()
    }

    pub fn psql(&self, database: &str, script: &str) -> Result<String> {
        let mut command = self.client("psql");
        command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", database]);
        // Each statement in a transaction of its own.
        let file = self.dir.join("script.sql");
        fs::write(&file, script)?;
        RunAs::server_user().own(&file)?;
        let Output { stdout, .. } = run(command.arg("-f").arg(&file))?;
        Ok(String::from_utf8(stdout)?.trim_end().to_owned())
    }

    pub fn expect(&self, database: &str, query: &str, answer: &str) -> Result<()> {
        let got = self.psql(database, query)?;
        ensure!(got == answer, "{query} on {database}: {got} where {answer} is expected");
        Ok(())
    }

    /// Checks every heap and every index of every database, and that each heap tuple is in the index. With `exclusively`, each index
    /// tuple is looked for from the root, too; that waits for transactions which write to the table, prepared ones included.
    pub fn amcheck(&self, exclusively: bool) -> Result<()> {
        let mut command = self.client("pg_amcheck");
        command.args(["--all", "--install-missing", "--heapallindexed", "--no-strict-names"]);
        if exclusively {
            command.arg("--rootdescend");
        }
        run(&mut command).map(drop)
    }

    fn client(&self, program: &str) -> Command {
        let mut command = self.install.command(program);
        command.env("PGHOST", &self.dir).env("PGPORT", self.port.to_string()).env("PGUSER", "postgres");
        command
    }

    fn pg_ctl(&self, action: &str) -> Command {
        let mut command = self.install.command("pg_ctl");
        command.arg(action).arg("-w").arg("-D").arg(self.data());
        // The server keeps what it inherits, and who reads a pipe to its end would wait for it.
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    }
}

impl Drop for Restored {
    fn drop(&mut self) {
        if self.runs {
            self.stop("immediate").ok();
        }
    }
}

fn unpack(tar: Vec<u8>, target: &Path) -> Result<()> {
    fs::create_dir_all(target)?;
    let mut archive = tar::Archive::new(&tar[..]);
    archive.set_preserve_permissions(true);
    archive.unpack(target).with_context(|| format!("unpacking into {}", target.display()))?;
    // The archive says so of its own directory, but this library leaves that one alone.
    Ok(fs::set_permissions(target, fs::Permissions::from_mode(0o700))?)
}
