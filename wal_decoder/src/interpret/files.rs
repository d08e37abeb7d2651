//! Databases, tablespaces and relation maps: what is done to whole directories and small files.

use pgdata::{Change, DbTag, PgVersion, database_path};

use super::payload::{Payload, operation, unknown_operation};
use crate::{Record, RecordError};

/// Operations of `RM_DBASE_ID` (`commands/dbcommands_xlog.h`), the same from 15 on.
const DBASE_CREATE_FILE_COPY: u8 = 0x00;
const DBASE_CREATE_WAL_LOG: u8 = 0x10;
const DBASE_DROP: u8 = 0x20;
/// Operations of `RM_TBLSPC_ID` (`commands/tablespace.h`).
const TBLSPC_CREATE: u8 = 0x00;
const TBLSPC_DROP: u8 = 0x10;
/// The operation of `RM_RELMAP_ID` (`utils/relmapper.h`).
const RELMAP_UPDATE: u8 = 0x00;

pub(super) fn database_changes(record: &Record<'_>, out: &mut Vec<Change>) -> Result<(), RecordError> {
    let mut payload = Payload::new(record);
    match operation(record) {
        DBASE_CREATE_FILE_COPY => {
            let to = database(&mut payload)?;
            out.push(Change::CopyDatabase { from: database(&mut payload)?, to });
        }
        DBASE_CREATE_WAL_LOG => {
            let name = format!("{}/PG_VERSION", database_path(record.version, database(&mut payload)?));
            out.push(Change::Blob { name, content: format!("{}\n", record.version).into_bytes() });
        }
        DBASE_DROP => {
            let db = payload.u32("the database")?;
            let count = payload.count("the number of tablespaces")?;
            let tablespaces = payload.u32s(count, "the tablespaces")?;
            out.extend(tablespaces.into_iter().map(|spc| Change::DropDatabase(DbTag { spc, db })));
        }
        _ => return unknown_operation(record),
    }
    Ok(())
}

/// Database and tablespace, in this order.
fn database(payload: &mut Payload<'_, '_>) -> Result<DbTag, RecordError> {
    let db = payload.u32("the database")?;
    Ok(DbTag { spc: payload.u32("the tablespace")?, db })
}

pub(super) fn tablespace_changes(record: &Record<'_>, out: &mut Vec<Change>) -> Result<(), RecordError> {
    let mut payload = Payload::new(record);
    let name = format!("pg_tblspc/{}", payload.u32("the tablespace")?);
    match operation(record) {
        TBLSPC_CREATE => {
            out.push(Change::Blob { name, content: payload.c_string("the tablespace's path")?.to_vec() });
        }
        TBLSPC_DROP => out.push(Change::RemoveBlob { name }),
        _ => return unknown_operation(record),
    }
    Ok(())
}

pub(super) fn relmap_changes(record: &Record<'_>, out: &mut Vec<Change>) -> Result<(), RecordError> {
    if operation(record) != RELMAP_UPDATE {
        return unknown_operation(record);
    }
    let mut payload = Payload::new(record);
    let database = database(&mut payload)?;
    let length = payload.count("the length of the map")?;
    let expected = relmap_size(record.version);
    if length != expected {
        return Err(payload.error(format!("a relation map of {length} bytes where {expected} are expected")));
    }
    let content = payload.bytes(length, "the map")?.to_vec();
    out.push(Change::Blob { name: format!("{}/pg_filenode.map", database_path(record.version, database)), content });
    Ok(())
}

/// Bytes of a `RelMapFile`: 62 mappings up to 15, 64 from 16 on.
fn relmap_size(version: PgVersion) -> usize {
    if version == PgVersion::V15 { 512 } else { 524 }
}
