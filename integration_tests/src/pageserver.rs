//! The pageserver's binary under test.

use std::env;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;

use crate::{PgInstall, Process, RunAs};

/// How long the server may take until it listens: replaying its WAL included.
const START: Duration = Duration::from_secs(120);
/// How long it may take until it ends.
const END: Duration = Duration::from_secs(60);
/// What the server prints before its address.
const LISTENING: &str = "listening on ";

/// A pageserver with a data directory of its own, running or stopped. It ends when this is dropped.
#[derive(Debug)]
pub struct Pageserver {
    binary: PathBuf,
    dir: PathBuf,
    log: PathBuf,
    install: PgInstall,
    server: Option<(Process, SocketAddr)>,
}

impl Pageserver {
    /// A pageserver that keeps its data in the new directory `dir` and finds PostgreSQL in `install`; not yet running.
    ///
    /// # Errors
    /// If the directory cannot be made.
    ///
    /// # Panics
    /// If the binary has not been built.
    pub fn new(dir: &Path, install: &PgInstall) -> Result<Pageserver> {
        Pageserver::with_binary(find_binary(), dir, install)
    }

    /// As [`Pageserver::new`], with a binary that the caller has found.
    ///
    /// # Errors
    /// If the directory cannot be made.
    pub fn with_binary(binary: PathBuf, dir: &Path, install: &PgInstall) -> Result<Pageserver> {
        RunAs::server_user().make_dir(dir)?;
        let log = dir.with_extension("log");
        let pageserver = Pageserver { binary, dir: dir.to_owned(), log, install: install.clone(), server: None };
        pageserver.configure("")?;
        Ok(pageserver)
    }

    /// As [`Pageserver::new`], and starts it.
    ///
    /// # Errors
    /// As [`Pageserver::new`] and [`Pageserver::start`].
    ///
    /// # Panics
    /// If the binary has not been built.
    pub fn start_new(dir: &Path, install: &PgInstall) -> Result<Pageserver> {
        let mut pageserver = Pageserver::new(dir, install)?;
        pageserver.start()?;
        Ok(pageserver)
    }

    /// A command of the binary, to be run as the servers' user.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.binary);
        command.env_remove("PAGESERVER").current_dir("/").stdin(Stdio::null());
        RunAs::server_user().apply(&mut command);
        command
    }

    /// Starts the server on a free port and waits until it says where it listens.
    ///
    /// # Errors
    /// If it does not come up.
    pub fn start(&mut self) -> Result<()> {
        let mut server = self.spawn()?;
        let address = server.wait_until("listening", START, |server| Ok(address_in(&server.log_text()?)))?;
        self.server = Some((server, address));
        Ok(())
    }

    /// Starts the server and kills it after some time, wherever it is by then: reading its WAL, or long at work.
    ///
    /// # Errors
    /// If it cannot be started, or has ended by itself.
    pub fn start_and_kill9(&mut self, after: Duration) -> Result<()> {
        let server = self.spawn()?;
        std::thread::sleep(after);
        server.end_by(Signal::KILL).map(drop)
    }

    fn spawn(&self) -> Result<Process> {
        ensure!(self.server.is_none(), "the pageserver runs already");
        let mut command = self.command();
        command.arg("serve").arg("-D").arg(&self.dir).args(["--listen", "127.0.0.1:0"]);
        Process::start("the pageserver", &mut command, &self.log)
    }

    fn end(&mut self, signal: Signal) -> Result<ExitStatus> {
        let (server, _) = self.server.take().context("the pageserver does not run")?;
        server.end_by(signal)
    }

    /// Stops the server in order.
    ///
    /// # Errors
    /// If it does not run or ends with an error.
    pub fn sigterm(&mut self) -> Result<()> {
        let status = self.end(Signal::TERM)?;
        ensure!(
            status.success(),
            "the pageserver ended with {status} after SIGTERM; its log is {}",
            self.log.display()
        );
        Ok(())
    }

    /// Kills the server.
    ///
    /// # Errors
    /// If it does not run.
    pub fn kill9(&mut self) -> Result<()> {
        self.end(Signal::KILL).map(drop)
    }

    /// Waits until the server ends by itself, and tells how, with what it has logged.
    ///
    /// # Errors
    /// If it does not run or does not end.
    pub fn ended(&mut self) -> Result<(ExitStatus, String)> {
        let (server, _) = self.server.as_mut().context("the pageserver does not run")?;
        let status = server.wait(END)?;
        let log = server.log_text()?;
        self.server = None;
        Ok((status, log))
    }

    /// The data directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The process id.
    ///
    /// # Errors
    /// If it does not run.
    pub fn id(&self) -> Result<u32> {
        Ok(self.server.as_ref().context("the pageserver does not run")?.0.id())
    }

    /// Where the server listens.
    ///
    /// # Errors
    /// If it does not run.
    pub fn address(&self) -> Result<SocketAddr> {
        Ok(self.server.as_ref().context("the pageserver does not run")?.1)
    }

    /// Runs a command of the binary against the running server, whatever comes of it.
    ///
    /// # Errors
    /// If it cannot be run.
    pub fn try_cli(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = self.cli_command(arguments)?;
        command.output().with_context(|| format!("running {command:?}"))
    }

    /// A command of the binary that talks to the running server, for callers that want its output elsewhere.
    ///
    /// # Errors
    /// If the server does not run.
    pub fn cli_command(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = self.command();
        command.arg("--server").arg(self.address()?.to_string()).args(arguments);
        Ok(command)
    }

    /// Runs a command of the binary that has to succeed, and returns what it printed.
    ///
    /// # Errors
    /// If it fails.
    pub fn cli(&self, arguments: &[&str]) -> Result<Vec<u8>> {
        let output = self.try_cli(arguments)?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "pageserver {arguments:?} failed ({}): {errors}", output.status);
        Ok(output.stdout)
    }

    /// Attaches a running primary under a name.
    ///
    /// # Errors
    /// If that fails.
    pub fn attach(&self, name: &str, primary: &str) -> Result<()> {
        self.cli(&["attach", name, "--primary", primary]).map(drop)
    }

    /// Writes the configuration file: `settings`, which may name anything but `redo`, and where PostgreSQL's programs are. It is
    /// in force after the next start. `PAGESERVER_ENGINE` in the environment chooses the redo engine.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn configure(&self, settings: &str) -> Result<()> {
        self.configure_redo(settings, "")
    }

    /// As [`Pageserver::configure`], with settings of `redo` as well.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn configure_redo(&self, settings: &str, redo: &str) -> Result<()> {
        let (major, bin) = (self.install.version().major(), self.install.bin());
        let mut section = format!("[redo]\npg_bin = {{ {major} = {:?} }}\n{redo}\n", bin.to_string_lossy());
        if let (Ok(engine), "") = (env::var("PAGESERVER_ENGINE"), redo) {
            section += &format!("engine = {engine:?}\n");
        }
        Ok(fs::write(self.dir.join("pageserver.toml"), format!("{settings}\n{section}"))?)
    }

    /// The directory of WAL segment files of the one timeline that there is.
    ///
    /// # Errors
    /// If there is none, or more than one.
    pub fn wal_files(&self) -> Result<PathBuf> {
        let mut dir = self.dir.clone();
        for below in ["tenants", "timelines"] {
            dir.push(below);
            let entries = fs::read_dir(&dir)?.collect::<Result<Vec<_>, _>>()?;
            ensure!(entries.len() == 1, "{} has {} entries, not one", dir.display(), entries.len());
            dir = entries[0].path();
        }
        Ok(dir.join("versions/wal"))
    }

    /// What the running server has logged.
    ///
    /// # Errors
    /// If it does not run.
    pub fn log_text(&self) -> Result<String> {
        self.server.as_ref().context("the pageserver does not run")?.0.log_text()
    }
}

/// The binary: `PAGESERVER_BIN`, or the one next to the directory of this test's own.
fn find_binary() -> PathBuf {
    let binary = env::var_os("PAGESERVER_BIN").map(PathBuf::from).or_else(|| {
        let own = env::current_exe().ok()?;
        Some(own.parent()?.parent()?.join("pageserver"))
    });
    let binary = binary.unwrap_or_default();
    assert!(
        binary.exists(),
        "there is no pageserver binary at {:?}: run `cargo build -p pageserver` first (scripts/test does), \
         or set PAGESERVER_BIN",
        binary.display()
    );
    binary
}

/// Finds the announced address in the log.
fn address_in(log: &str) -> Option<SocketAddr> {
    let (_, rest) = log.split_once(LISTENING)?;
    rest.split_once(char::is_whitespace)?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_counts_when_its_line_is_whole() {
        assert_eq!(address_in("INFO listening on 127.0.0.1:54"), None);
        assert_eq!(address_in("INFO listening on 127.0.0.1:5432\n"), "127.0.0.1:5432".parse().ok());
    }
}
