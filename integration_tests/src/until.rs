//! Waiting for a state that tells nobody when it comes.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::process::POLL;

/// A bound for a test that would hang, nothing that is measured.
const PATIENCE: Duration = Duration::from_secs(120);

/// Looks again and again until `look` finds something.
///
/// # Errors
/// The first of `look`; or if it finds nothing for two minutes.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if start.elapsed() > PATIENCE {
            bail!("waited {PATIENCE:?} in vain until {what}");
        }
        sleep(POLL);
    }
}
