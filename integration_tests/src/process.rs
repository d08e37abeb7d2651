//! A child process that never outlives its test.

use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

/// How often a state that has no event to wait for is looked at.
pub(crate) const POLL: Duration = Duration::from_millis(10);
/// How long a server may take to end after it was asked to.
const END: Duration = Duration::from_secs(60);

/// A running server whose output goes to a log file. Dropping it ends it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    name: String,
    log: PathBuf,
    log_start: u64,
}

impl Process {
    /// Starts `command` with its output appended to `log`.
    ///
    /// # Errors
    /// If the log cannot be opened or the program cannot be started.
    pub fn start(name: &str, command: &mut Command, log: &Path) -> Result<Process> {
        let file = File::options().create(true).append(true).open(log).with_context(|| format!("{}", log.display()))?;
        let log_start = file.metadata()?.len();
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("starting {name}: {command:?}"))?;
        Ok(Process { child, name: name.to_owned(), log: log.to_owned(), log_start })
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What this process has logged since it was started.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub fn log_text(&self) -> Result<String> {
        let all = fs::read(&self.log).with_context(|| format!("{}", self.log.display()))?;
        Ok(String::from_utf8_lossy(&all[(self.log_start as usize).min(all.len())..]).into_owned())
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// If the process has ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).with_context(|| format!("{signal:?} to {} ({})", self.name, self.id()))
    }

    /// The exit status if the process has ended.
    ///
    /// # Errors
    /// The operating system's.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Waits until `look` finds something, while the process runs.
    ///
    /// # Errors
    /// If the process ends first, if `look` fails, or after `limit`; each with the end of the log.
    pub fn wait_until<T>(
        &mut self,
        what: &str,
        limit: Duration,
        mut look: impl FnMut(&Self) -> Result<Option<T>>,
    ) -> Result<T> {
        let start = Instant::now();
        loop {
            if let Some(found) = look(self)? {
                return Ok(found);
            }
            if let Some(status) = self.ended()? {
                bail!("{} ended ({status}) before {what}; its log {}", self.name, self.log_tail()?);
            }
            if start.elapsed() > limit {
                bail!("{}: waited {limit:?} for {what} in vain; its log {}", self.name, self.log_tail()?);
            }
            std::thread::sleep(POLL);
        }
    }

    /// Waits for the end of the process.
    ///
    /// # Errors
    /// If it still runs after `limit`.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            if start.elapsed() > limit {
                bail!("{} ({}) still runs after {limit:?}; its log {}", self.name, self.id(), self.log_tail()?);
            }
            std::thread::sleep(POLL);
        }
    }

    /// Sends a signal and waits for the end.
    ///
    /// # Errors
    /// If the process has already ended or does not end.
    pub fn end_by(mut self, signal: Signal) -> Result<ExitStatus> {
        if let Some(status) = self.ended()? {
            bail!("{} had already ended ({status}); its log {}", self.name, self.log_tail()?);
        }
        self.signal(signal)?;
        let status = self.wait(END)?;
        if status.signal() == Some(Signal::KILL.as_raw()) && signal != Signal::KILL {
            bail!("{} was killed by another", self.name);
        }
        Ok(status)
    }

    /// The log's path and last lines, for error messages.
    fn log_tail(&self) -> Result<String> {
        let text = self.log_text()?;
        let lines: Vec<&str> = text.lines().collect();
        let tail = &lines[lines.len().saturating_sub(20)..];
        Ok(format!("{} ends with\n{}", self.log.display(), tail.join("\n")))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        // SIGQUIT ends PostgreSQL at once with all its children; SIGKILL would leave the children to find out for themselves.
        let asked = self.signal(Signal::QUIT).and_then(|()| self.wait(Duration::from_secs(5)));
        if asked.is_err() {
            self.child.kill().ok();
            self.child.wait().ok();
        }
    }
}
