//! Control-C and `kill` end a program in order: servers stopped, files removed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

/// Whether somebody wants the program to end.
#[derive(Clone, Debug)]
pub struct Interrupt(Arc<AtomicBool>);

/// The error that ends it.
#[derive(Debug)]
pub struct Interrupted;

impl std::fmt::Display for Interrupted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("interrupted; the servers are stopped")
    }
}

impl std::error::Error for Interrupted {}

impl Interrupt {
    /// Notes the first signal from now on; a second one ends the process at once.
    ///
    /// # Errors
    /// If signals cannot be handled.
    pub fn watch() -> Result<Interrupt> {
        let came = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            // The order matters: the second action sees what the third did at the signal before.
            flag::register_conditional_default(signal, Arc::clone(&came))
                .and_then(|_| flag::register(signal, Arc::clone(&came)))
                .context("cannot handle signals")?;
        }
        Ok(Interrupt(came))
    }

    /// Whether a signal came.
    #[must_use]
    pub fn came(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    /// An error if a signal came: to be asked between steps, and in loops that wait.
    ///
    /// # Errors
    /// [`Interrupted`].
    pub fn check(&self) -> Result<()> {
        if self.came() { Err(Interrupted.into()) } else { Ok(()) }
    }
}
