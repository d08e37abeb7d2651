//! One redo process, from its start to its end.

use std::process::Child;
use std::time::Duration;

use super::config::PostgresRedoConfig;
use super::dialogue::{Dialogue, Ping};
use super::error::{ChildFailure, FailureKind, StartError};
use super::scratch::Scratch;
use super::selftest;
use super::server::Server;
use super::talk::{Interrupted, Talk};

/// How long a process that has closed its output may take to say why and to end by itself.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A running redo process that has passed its self-test. Dropping it kills and reaps it.
#[derive(Debug)]
pub(super) struct RedoChild {
    process: Child,
    talk: Talk,
}

impl RedoChild {
    /// Starts a process and tests it. The scratch directory is gone when this returns.
    pub(super) fn start(server: &Server, config: &PostgresRedoConfig) -> Result<RedoChild, StartError> {
        let scratch = Scratch::create(&config.scratch_parent, server)?;
        let mut child = RedoChild::spawn(server, &scratch)?;
        if let Err(interrupted) = child.talk(&mut Ping, config.start_timeout) {
            return Err(StartError::DidNotStart {
                path: server.program.clone(),
                failure: child.into_failure(interrupted.kind),
            });
        }
        for test in selftest::tests(server.version) {
            if let Err(what) = child.test(&test, config.request_timeout) {
                return Err(StartError::SelfTest { path: server.program.clone(), what });
            }
        }
        tracing::debug!(
            pid = child.process.id(),
            version = %server.version,
            module_built_for = server.module.built_for,
            "redo process started"
        );
        Ok(child)
    }

    fn spawn(server: &Server, scratch: &Scratch) -> Result<RedoChild, StartError> {
        let failed = |what| move |source| StartError::Io { what, path: server.program.clone(), source };
        let mut process = server.command(scratch).spawn().map_err(failed("run"))?;
        let (to, from, errors) = (process.stdin.take(), process.stdout.take(), process.stderr.take());
        let (Some(to), Some(from), Some(errors)) = (to, from, errors) else {
            unreachable!("all three standard streams of the command are pipes");
        };
        match Talk::new(to.into(), from.into(), errors.into()) {
            Ok(talk) => Ok(RedoChild { process, talk }),
            Err(error) => {
                end(&mut process);
                Err(failed("talk to")(error))
            }
        }
    }

    fn test(&mut self, test: &selftest::Test, timeout: Duration) -> Result<(), String> {
        match test.run(|dialogue| self.talk(dialogue, timeout)) {
            Ok(result) => result,
            Err(interrupted) => {
                self.talk.read_last_errors(LAST_WORDS);
                end(&mut self.process);
                Err(format!("{}: {:?}; it printed: {}", test.name(), interrupted.kind, self.talk.stderr().trim()))
            }
        }
    }

    /// The operating system's number of the process.
    pub(super) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Has a dialogue. After an interrupted one the process is of no more use.
    pub(super) fn talk(&mut self, dialogue: &mut dyn Dialogue, timeout: Duration) -> Result<(), Interrupted> {
        self.talk.talk(dialogue, timeout)
    }

    /// Ends the process after an interrupted dialogue and tells what is known of its failure.
    pub(super) fn into_failure(mut self, kind: FailureKind) -> ChildFailure {
        if matches!(kind, FailureKind::Closed) {
            self.talk.read_last_errors(LAST_WORDS);
        }
        end(&mut self.process);
        self.talk.read_errors();
        let status = self.process.wait().ok();
        ChildFailure { kind, status, stderr: self.talk.stderr() }
    }
}

impl Drop for RedoChild {
    fn drop(&mut self) {
        end(&mut self.process);
    }
}

/// Kills and reaps. Neither can fail for a child of ours that is not reaped yet, and a reaped one is left alone by both.
fn end(process: &mut Child) {
    let _ = process.kill();
    let _ = process.wait();
}
