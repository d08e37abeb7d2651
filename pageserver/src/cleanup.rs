//! What an interrupted attach leaves behind: a directory here, and a replication slot on the primary.

use std::path::Path;

use anyhow::Result;
use repository::Repository;
use walreceiver::{Connection, SlotName, StopHandle};

use crate::follow::Source;

/// Drops the slots and removes the directories. A slot that cannot be dropped now is named in the log: it holds back the
/// primary's WAL until somebody drops it.
pub fn unfinished_attaches(repository: &Repository) {
    for dir in repository.unfinished() {
        match drop_slot(dir) {
            Ok(Some(slot)) => tracing::info!(slot, "dropped the replication slot of an interrupted attach"),
            Ok(None) => {}
            Err(error) => tracing::warn!(
                dir = %dir.display(),
                error = format!("{error:#}"),
                "the replication slot of an interrupted attach may still be on its primary: drop it by hand"
            ),
        }
        if let Err(error) = repository.remove_unfinished(dir) {
            tracing::error!(%error, "the next start will try again");
        }
    }
}

fn drop_slot(dir: &Path) -> Result<Option<String>> {
    let Some(source) = Source::load(dir)? else {
        return Ok(None);
    };
    let slot = SlotName::new(source.slot.as_str())?;
    let mut connection = Connection::connect(&source.primary()?, &StopHandle::new())?;
    if connection.read_slot(&slot)?.is_none() {
        return Ok(None);
    }
    connection.drop_slot(&slot)?;
    Ok(Some(source.slot))
}
