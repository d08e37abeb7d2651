//! Configuration for a cluster whose own lies elsewhere, and what a standby's gets in addition.
//!
//! Debian's packages keep it under `/etc`: it is no part of the data directory, and without it no server starts.

use pgdata::ControlFile;

use crate::BackupError;

/// `postgresql.conf`: what the cluster needs to come up as it was, as `pg_control` tells it.
fn postgresql_conf(control: &ControlFile) -> String {
    let wal_level = ["minimal", "replica", "logical"].get(control.wal_level as usize).unwrap_or(&"replica");
    let on_off = |on| if on { "on" } else { "off" };
    format!(
        "# The cluster's own configuration lies outside its data directory. These settings are from its control file.\n\
         max_connections = {}\n\
         max_worker_processes = {}\n\
         max_wal_senders = {}\n\
         max_prepared_transactions = {}\n\
         max_locks_per_transaction = {}\n\
         wal_level = {wal_level}\n\
         wal_log_hints = {}\n\
         track_commit_timestamp = {}\n",
        control.max_connections,
        control.max_worker_processes,
        control.max_wal_senders,
        control.max_prepared_xacts,
        control.max_locks_per_xact,
        on_off(control.wal_log_hints),
        on_off(control.track_commit_timestamp),
    )
}

/// `pg_hba.conf`: nobody comes in but by the socket, and under their own name.
const PG_HBA_CONF: &str = "# The cluster's own configuration lies outside its data directory.\n\
                           local all all peer\n";
const PG_IDENT_CONF: &str = "# The cluster's own configuration lies outside its data directory.\n";

/// The configuration files without which a server does not start, or complains.
pub(crate) fn defaults(control: &ControlFile) -> [(&'static str, String); 3] {
    [
        ("pg_hba.conf", PG_HBA_CONF.to_owned()),
        ("pg_ident.conf", PG_IDENT_CONF.to_owned()),
        ("postgresql.conf", postgresql_conf(control)),
    ]
}

/// The file with the settings that win over those of `postgresql.conf`.
pub(crate) const AUTO_CONF: &str = "postgresql.auto.conf";

/// The settings of the origin, `before`, with a standby's behind them.
///
/// Archive recovery refuses tablespaces that are plain directories unless a setting allows them.
pub(crate) fn standby_auto_conf(
    before: Option<Vec<u8>>,
    primary_conninfo: Option<&str>,
    in_place_tablespaces: bool,
) -> Vec<u8> {
    let mut text = before.unwrap_or_default();
    if text.last().is_some_and(|&byte| byte != b'\n') {
        text.push(b'\n');
    }
    if let Some(conninfo) = primary_conninfo {
        let quoted = conninfo.replace('\\', "\\\\").replace('\'', "''");
        text.extend_from_slice(format!("primary_conninfo = '{quoted}'\n").as_bytes());
    }
    if in_place_tablespaces {
        text.extend_from_slice(b"allow_in_place_tablespaces = on\n");
    }
    text
}

/// Whether a connection string can be a setting's value.
///
/// # Errors
/// [`BackupError::ConnInfo`] if it fits no line.
pub(crate) fn check_conninfo(conninfo: &str) -> Result<(), BackupError> {
    if conninfo.contains(['\n', '\r', '\0']) { Err(BackupError::ConnInfo) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pgdata::PgVersion;

    #[test]
    fn settings_are_those_of_the_control_file() {
        let mut control = ControlFile::initial(PgVersion::V15, 1);
        control.max_prepared_xacts = 17;
        control.wal_level = 2;
        control.track_commit_timestamp = true;
        let text = postgresql_conf(&control);
        for line in ["max_prepared_transactions = 17", "wal_level = logical", "track_commit_timestamp = on"] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
    }
    #[test]
    fn a_standbys_settings_come_last() {
        let text = |before: Option<&[u8]>, conninfo, in_place| {
            String::from_utf8(standby_auto_conf(before.map(<[u8]>::to_vec), conninfo, in_place)).unwrap()
        };
        assert_eq!(text(None, None, false), "");
        assert_eq!(text(Some(b"a = 1"), None, true), "a = 1\nallow_in_place_tablespaces = on\n");
        let conninfo = r"host=/tmp password='it\'s'";
        assert_eq!(text(None, Some(conninfo), false), "primary_conninfo = 'host=/tmp password=''it\\\\''s'''\n");
        assert!(check_conninfo(conninfo).is_ok());
        assert!(matches!(check_conninfo("host=a\nport=1"), Err(BackupError::ConnInfo)));
    }
}
