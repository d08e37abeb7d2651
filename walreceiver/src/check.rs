//! Whether a server can continue the history that there is.

use pgdata::{Lsn, Timelines};

use crate::connection::{Connection, SystemIdentity};
use crate::error::Error;
use crate::options::StreamOptions;
use crate::slot::SlotName;

/// Refuses a server that cannot continue our history of `timelines`, which goes up to `start`.
pub(crate) fn check_server(
    connection: &mut Connection,
    options: &StreamOptions,
    timelines: &Timelines,
    start: Lsn,
) -> Result<SystemIdentity, Error> {
    if let Some(expected) = options.version
        && expected != connection.version()
    {
        return Err(Error::WrongVersion { expected, got: connection.version() });
    }
    let identity = connection.identify_system()?;
    if let Some(expected) = options.system_id
        && expected != identity.system_id
    {
        return Err(Error::WrongSystem { expected, got: identity.system_id });
    }
    let (expected, server) = (timelines.last(), identity.timeline);
    if server < expected {
        return Err(Error::TimelineBehind { expected, server, standby: connection.is_standby()? });
    }
    if let Some(theirs) = read_history(connection, timelines, server)? {
        let parting = timelines.parting(&theirs);
        if !timelines.is_continued_by(&theirs) || parting.is_some_and(|parting| parting < start) {
            let parting = parting.unwrap_or_default();
            return Err(Error::TimelineDiverged { expected, server, parting, start });
        }
    }
    if server == expected && identity.flushed < start {
        let standby = connection.is_standby()?;
        return Err(Error::AheadOfServer { start, server_end: identity.flushed, standby });
    }
    Ok(identity)
}

/// Where the server's timeline comes from; `None` if there is nothing to compare.
fn read_history(connection: &mut Connection, ours: &Timelines, server: u32) -> Result<Option<Timelines>, Error> {
    let same = server == ours.last();
    if same && ours.ancestors().is_empty() {
        return Ok(None);
    }
    match connection.timeline_history(server) {
        Ok(file) => Ok(Some(Timelines::parse(server, &file.content)?)),
        // A cluster restored without it does well without it. That its WAL continues ours, each page and record says.
        Err(Error::Server { source, .. }) if same => {
            tracing::warn!(timeline = server, %source, "the server has no history of its timeline, so that it cannot be compared");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Refuses a slot that holds nothing back, before the server lets us stream with it nevertheless. A slot that is missing is made if the
/// server may be another one than before (`moved`).
pub(crate) fn check_slot(connection: &mut Connection, slot: &SlotName, start: Lsn, moved: bool) -> Result<(), Error> {
    let Some(info) = connection.read_slot(slot)? else {
        if !moved {
            return Err(Error::SlotMissing { slot: slot.to_string() });
        }
        tracing::info!(%slot, "this server has no such slot: it is made");
        return connection.create_slot(slot);
    };
    let Some(restart_lsn) = info.restart_lsn else {
        return Err(Error::SlotInvalidated { slot: slot.to_string(), source: None });
    };
    if restart_lsn > start && is_loss(start, restart_lsn, connection.wal_segment_size()?) {
        tracing::error!(
            slot = slot.as_str(),
            %restart_lsn,
            %start,
            "WAL that was received and acknowledged before is gone here: it is asked for again, but the server may have removed it"
        );
    }
    Ok(())
}

/// Whether a slot that holds back WAL from `restart_lsn` on was told of more than is there. A new slot begins inside the segment from whose
/// start the first WAL is asked for.
fn is_loss(start: Lsn, restart_lsn: Lsn, segment_size: u32) -> bool {
    let size = u64::from(segment_size);
    restart_lsn > start && !(start.0.is_multiple_of(size) && restart_lsn.0 / size == start.0 / size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_ahead_of_us_means_a_loss_unless_it_is_new() {
        const SIZE: u32 = 16 << 20;
        for (start, restart, loss) in [
            (0x300_0000, 0x300_0028, false),
            (0x300_0000, 0x3FF_FFF8, false),
            (0x300_0000, 0x400_0000, true),
            (0x300_0100, 0x300_0108, true),
            (0x300_0100, 0x300_0100, false),
            (0x300_0100, 0x300_0028, false),
        ] {
            assert_eq!(is_loss(Lsn(start), Lsn(restart), SIZE), loss, "{start:x} {restart:x}");
        }
    }
}
