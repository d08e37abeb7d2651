//! Whether a server can be streamed from, before anything is streamed from it.

use pgdata::Lsn;

use crate::check::check_server;
use crate::connection::Connection;
use crate::error::Error;
use crate::options::StreamOptions;
use crate::primary::Primary;
use crate::slot::SlotName;
use crate::stop::StopHandle;

/// What became of the slot that is to be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotState {
    /// It was there. Whether another connection uses it shows only when streaming begins.
    There,
    /// It was made.
    Made,
    /// It was there, but had been invalidated; it was dropped and made anew.
    Renewed,
}

/// A server that can continue a history.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// Its host and port.
    pub host: String,
    /// The timeline on which it is.
    pub timeline: u32,
    /// The slot, if one is to be used.
    pub slot: Option<SlotState>,
}

/// Looks for the first host of `primary` that can continue the history that `options` name and that is held up to `start`, and makes sure
/// that it has the slot. That it still has the WAL from `start` on shows only when streaming begins.
///
/// # Errors
/// As those with which [`stream`](crate::stream()) would end, or what it would wait for.
pub fn prepare(primary: &Primary, options: &StreamOptions, start: Lsn, stop: &StopHandle) -> Result<Prepared, Error> {
    Connection::first_host(primary, |target| {
        let mut connection = Connection::connect_to(primary, target, stop)?;
        let identity = check_server(&mut connection, options, &options.timelines, start)?;
        let slot = options.slot.as_ref().map(|slot| provide_slot(&mut connection, slot)).transpose()?;
        connection.close();
        Ok(Prepared { host: target.to_string(), timeline: identity.timeline, slot })
    })
}

fn provide_slot(connection: &mut Connection, slot: &SlotName) -> Result<SlotState, Error> {
    let state = match connection.read_slot(slot)? {
        Some(info) if info.restart_lsn.is_some() => return Ok(SlotState::There),
        Some(_) => {
            connection.drop_slot(slot)?;
            SlotState::Renewed
        }
        None => SlotState::Made,
    };
    connection.create_slot(slot)?;
    Ok(state)
}
