//! Texts of replication commands.

use pgdata::Lsn;

use crate::error::Error;
use crate::options::BackupOptions;
use crate::slot::SlotName;

/// A text in single quotes, each quote in it doubled: the replication grammar knows no backslashes.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// `BASE_BACKUP` in the option syntax of 15 and later.
pub(crate) fn base_backup(options: &BackupOptions) -> String {
    let checkpoint = if options.fast_checkpoint { "fast" } else { "spread" };
    let mut words = vec![
        format!("LABEL {}", literal(&options.label)),
        "PROGRESS true".to_owned(),
        format!("CHECKPOINT '{checkpoint}'"),
        format!("WAIT {}", options.wait_for_archive),
        "MANIFEST 'no'".to_owned(),
        "TABLESPACE_MAP true".to_owned(),
    ];
    words.extend(options.max_rate.map(|rate| format!("MAX_RATE {rate}")));
    format!("BASE_BACKUP ( {} )", words.join(", "))
}

/// `START_REPLICATION` of the physical kind.
pub(crate) fn start_replication(slot: Option<&SlotName>, start: Lsn, timeline: u32) -> String {
    let slot = slot.map_or_else(String::new, |slot| format!("SLOT \"{slot}\" "));
    format!("START_REPLICATION {slot}PHYSICAL {start} TIMELINE {timeline}")
}

pub(crate) fn create_slot(slot: &SlotName) -> String {
    format!("CREATE_REPLICATION_SLOT \"{slot}\" PHYSICAL ( RESERVE_WAL true )")
}

pub(crate) fn read_slot(slot: &SlotName) -> String {
    format!("READ_REPLICATION_SLOT \"{slot}\"")
}

pub(crate) fn drop_slot(slot: &SlotName) -> String {
    format!("DROP_REPLICATION_SLOT \"{slot}\"")
}

/// `SHOW`, for a setting's name made of letters, digits, `_` and `.`.
pub(crate) fn show(setting: &str) -> Result<String, Error> {
    let plain = setting.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.'));
    if !plain || setting.is_empty() {
        return Err(Error::Config(format!("{setting:?} is not the name of a setting")));
    }
    Ok(format!("SHOW {setting}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_the_label() {
        let options = BackupOptions { label: "it's".to_owned(), max_rate: Some(64), ..BackupOptions::default() };
        assert_eq!(
            base_backup(&options),
            "BASE_BACKUP ( LABEL 'it''s', PROGRESS true, CHECKPOINT 'fast', WAIT false, MANIFEST 'no', TABLESPACE_MAP true, MAX_RATE 64 )"
        );
    }

    #[test]
    fn names_the_slot_if_there_is_one() {
        let slot = SlotName::new("pageserver_1").unwrap();
        let with = start_replication(Some(&slot), Lsn(0x1_0000_0010), 3);
        assert_eq!(with, "START_REPLICATION SLOT \"pageserver_1\" PHYSICAL 1/10 TIMELINE 3");
        assert_eq!(start_replication(None, Lsn(0x10), 1), "START_REPLICATION PHYSICAL 0/10 TIMELINE 1");
    }

    #[test]
    fn shows_nothing_but_settings() {
        assert_eq!(show("wal_level").unwrap(), "SHOW wal_level");
        assert!(show("x; DROP").is_err() && show("").is_err());
    }
}
