//! Prepared transactions: a server believes only those before the next transaction id, and deletes the files of others.

use pgdata::slru::xid_precedes;
use pgdata::{ClusterState, Lsn, PgVersion};

use crate::BackupError;

const DIRECTORY: &str = "pg_twophase/";

/// Checks that the transaction whose state file this is lies before the next one; other files pass.
///
/// A file is named after its transaction: eight hexadecimal digits, from 17 on sixteen, with the epoch.
pub(crate) fn check(path: &str, state: &ClusterState, lsn: Lsn) -> Result<(), BackupError> {
    let Some(name) = path.strip_prefix(DIRECTORY) else { return Ok(()) };
    let digits = if state.control.version >= PgVersion::V17 { 16 } else { 8 };
    let well_formed = name.len() == digits && name.bytes().all(|b| matches!(b, b'0'..=b'9' | b'A'..=b'F'));
    let xid = u64::from_str_radix(name, 16).ok().filter(|_| well_formed);
    let xid = xid.ok_or_else(|| BackupError::PreparedName { path: path.to_owned() })?;
    let next_xid = state.counters.next_xid;
    let before = if digits == 16 { xid < next_xid } else { xid_precedes(xid as u32, next_xid as u32) };
    if before { Ok(()) } else { Err(BackupError::PreparedTransaction { lsn, path: path.to_owned(), next_xid }) }
}

/// The transaction, without its epoch, whose state file this is.
pub(crate) fn xid(path: &str) -> Option<u32> {
    let name = path.strip_prefix(DIRECTORY)?;
    Some(u64::from_str_radix(name, 16).ok()? as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pgdata::ControlFile;

    fn check_at(version: PgVersion, path: &str, next_xid: u64) -> Result<(), BackupError> {
        let state = ClusterState::new(ControlFile::initial(version, 1)).with_next_xid(next_xid);
        check(path, &state, Lsn(8))
    }

    #[test]
    fn prepared_transactions_lie_before_the_next_one() {
        for (version, name, next) in [
            (PgVersion::V15, "000003E8", 1001),
            (PgVersion::V15, "FFFFFFF0", 1 << 32 | 3),
            (PgVersion::V17, "00000001000003E8", 1 << 32 | 1001),
        ] {
            check_at(version, &format!("pg_twophase/{name}"), next).unwrap();
        }
        for (version, name, next) in
            [(PgVersion::V15, "000003E8", 1000), (PgVersion::V18, "00000001000003E8", 1 << 32 | 1000)]
        {
            let error = check_at(version, &format!("pg_twophase/{name}"), next).unwrap_err();
            assert!(matches!(error, BackupError::PreparedTransaction { .. }), "{error}");
        }
    }

    #[test]
    fn names_are_those_of_the_version() {
        for (version, name) in
            [(PgVersion::V15, "00000000000003E8"), (PgVersion::V17, "000003E8"), (PgVersion::V15, "x")]
        {
            let error = check_at(version, &format!("pg_twophase/{name}"), u64::MAX).unwrap_err();
            assert!(matches!(error, BackupError::PreparedName { .. }), "{error}");
        }
        check_at(PgVersion::V15, "PG_VERSION", 3).unwrap();
    }
}
