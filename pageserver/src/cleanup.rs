//! What an attach that came to nothing leaves behind: a directory here, and a replication slot on the primary.
//!
//! A slot that nobody uses fills the primary's disk. So the directory with the slot's name is the last thing to go: as long as the
//! slot may be there, so is it, and each start tries again.

use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use anyhow::{Context, Result};
use repository::Repository;
use walreceiver::{Connection, Error, Primary, SlotName, StopHandle};

use crate::config::ReceiverConfig;
use crate::follow::Source;

/// How long a primary may take to drop a slot. Neither a start nor a stop may hang on one that is gone.
const PATIENCE: Duration = Duration::from_secs(5);

/// Drops the slots of attaches that a crash interrupted, and removes their directories.
pub fn unfinished_attaches(repository: &Repository, config: &ReceiverConfig) {
    for dir in repository.unfinished() {
        let source = match Source::load(dir) {
            Ok(source) => source,
            Err(error) => {
                let error = format!("{error:#}");
                tracing::error!(dir = %dir.display(), error, "an interrupted attach cannot be cleaned up: remove its directory by hand");
                continue;
            }
        };
        if let Err(error) = repository.remove_unfinished(dir) {
            tracing::error!(%error, "the next start will try again");
            continue;
        }
        if let Some(source) = source {
            undo(dir, &source, config);
        }
    }
}

/// Drops the slot of an attach that failed. Its directory has been removed; if the slot may still be there, it comes back, with nothing
/// but the slot's name in it.
pub fn undo(dir: &Path, source: &Source, config: &ReceiverConfig) {
    if let Err(error) = try_undo(dir, source, config) {
        tracing::error!(
            slot = source.slot,
            dir = %dir.display(),
            error = format!("{error:#}"),
            "the replication slot of a failed attach may still be on its primary, where it holds back WAL: drop it there, and remove \
             the directory, or start the pageserver again when the primary can be reached"
        );
    }
}

fn try_undo(dir: &Path, source: &Source, config: &ReceiverConfig) -> Result<()> {
    // First, so that a crash in between leaves a trace. On a full disk there may be no room for one: the slot goes all the same.
    if let Err(error) = repository::make_dir(dir).map_err(Into::into).and_then(|()| source.save(dir)) {
        tracing::warn!(slot = source.slot, error = format!("{error:#}"), "cannot note the slot that is to be dropped");
    }
    if drop_slot(&source.primary(config)?, &SlotName::new(source.slot.as_str())?)? {
        tracing::info!(slot = source.slot, "dropped the replication slot of an attach that came to nothing");
    }
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", dir.display()))
        }
        _ => Ok(()),
    }
}

/// Drops a slot; `false` if there is none.
pub fn drop_slot(primary: &Primary, slot: &SlotName) -> Result<bool, Error> {
    let stop = StopHandle::new();
    let (done, is_done) = channel::<()>();
    let patience = stop.clone();
    let timer = std::thread::Builder::new().name("patience".to_owned());
    let timer = timer.spawn(move || {
        if is_done.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            patience.stop();
        }
    });
    let result = match &timer {
        Ok(_) => drop_slot_until(primary, slot, &stop),
        Err(error) => Err(Error::Runtime(error.kind().into())),
    };
    drop(done);
    match result {
        Err(Error::Stopped) => Err(Error::Timeout { doing: "dropping the replication slot", after: PATIENCE }),
        other => other,
    }
}

fn drop_slot_until(primary: &Primary, slot: &SlotName, stop: &StopHandle) -> Result<bool, Error> {
    let mut connection = Connection::connect(primary, stop)?;
    if connection.read_slot(slot)?.is_none() {
        return Ok(false);
    }
    connection.drop_slot(slot)?;
    connection.close();
    Ok(true)
}
