//! Paths in a data directory: what each file is, and where a thing lies (`common/relpath.c`, `backup/basebackup.c`).

use crate::{DbTag, Fork, PgVersion, RelTag, SlruKind, SlruSegment};

/// The tablespace `pg_default`: the directory `base`.
pub const DEFAULT_TABLESPACE: u32 = 1663;
/// The tablespace `pg_global`: the directory `global`, whose relations have database 0.
pub const GLOBAL_TABLESPACE: u32 = 1664;
/// Blocks in one file of a relation (`RELSEG_SIZE`: 1 GiB).
pub const SEGMENT_BLOCKS: u32 = 131_072;

/// The most files that the block numbers of one fork can fill.
const MAX_SEGMENTS: u32 = u32::MAX / SEGMENT_BLOCKS + 1;
/// Directories of the data directory in which nothing belongs to an image of the database at an LSN.
const SKIPPED_DIRECTORIES: [&str; 11] = [
    "pg_wal",
    "pg_stat",
    "pg_stat_tmp",
    "pg_replslot",
    "pg_dynshmem",
    "pg_notify",
    "pg_serial",
    "pg_snapshots",
    "pg_subtrans",
    "pg_multixact",
    "pg_xact",
];
/// Files at the top of the data directory that describe a running or starting server, not its data.
const SKIPPED_FILES: [&str; 8] = [
    "postmaster.pid",
    "postmaster.opts",
    "postgresql.auto.conf.tmp",
    "current_logfiles",
    "current_logfiles.tmp",
    "backup_manifest",
    "standby.signal",
    "recovery.signal",
];

/// What a file of a data directory is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DataFile {
    /// One 1 GiB file of a relation's fork.
    Relation {
        /// Which fork.
        rel: RelTag,
        /// Which of its files: its first block is this times [`SEGMENT_BLOCKS`].
        segment: u32,
    },
    /// A segment of an SLRU.
    Slru(SlruSegment),
    /// `global/pg_control`.
    Control,
    /// A small file to keep whole, under its path: configuration, `PG_VERSION`, relation maps, two-phase state, a tablespace's
    /// link, `backup_label` and `tablespace_map`.
    Blob,
    /// Not a part of the database at an LSN: temporary, rebuilt at start, or private to the running server.
    Skipped,
}

/// A path that no data directory contains.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path:?} is not a path inside a data directory: {reason}")]
pub struct PathError {
    /// The path.
    pub path: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl DataFile {
    /// What the file at `path` is: relative to the data directory, parts separated by `/`, a leading `./` allowed.
    /// Files under `pg_tblspc` are named through the link, as in `pg_tblspc/16400/PG_15_202209061/5/16401`.
    ///
    /// # Errors
    /// [`PathError`] if the path is absolute, climbs with `..` or has empty parts: it came from nobody's base backup.
    pub fn classify(version: PgVersion, path: &str) -> Result<DataFile, PathError> {
        let path = path.strip_prefix("./").unwrap_or(path);
        check(path)?;
        let parts: Vec<&str> = path.split('/').collect();
        Ok(match parts[..] {
            ["global", name] => in_global(name),
            ["base", db, name] => in_database(DEFAULT_TABLESPACE, db, name),
            ["pg_tblspc", link] if number(link).is_some() => DataFile::Blob,
            ["pg_tblspc", link, directory, db, name] if directory == tablespace_directory(version) => {
                number(link).map_or(DataFile::Skipped, |spc| in_database(spc, db, name))
            }
            ["pg_xact", name] => slru(SlruKind::Clog, name),
            ["pg_commit_ts", name] => slru(SlruKind::CommitTs, name),
            ["pg_multixact", "offsets", name] => slru(SlruKind::MultiXactOffsets, name),
            ["pg_multixact", "members", name] => slru(SlruKind::MultiXactMembers, name),
            ["pg_twophase", _] | ["pg_logical", "replorigin_checkpoint"] => DataFile::Blob,
            [name] if !SKIPPED_FILES.contains(&name) && !is_temporary(name) && !is_directory(name) => DataFile::Blob,
            _ => DataFile::Skipped,
        })
    }
}

fn check(path: &str) -> Result<(), PathError> {
    let wrong = |reason| Err(PathError { path: path.to_owned(), reason });
    if path.starts_with('/') {
        return wrong("it is absolute");
    }
    if path.contains('\0') {
        return wrong("it contains a NUL");
    }
    for part in path.split('/') {
        match part {
            "" => return wrong("it has an empty part"),
            "." | ".." => return wrong("it has a part that is . or .."),
            _ => {}
        }
    }
    Ok(())
}

fn is_directory(name: &str) -> bool {
    SKIPPED_DIRECTORIES.contains(&name)
        || ["base", "global", "pg_tblspc", "pg_twophase", "pg_logical", "pg_commit_ts", "log"].contains(&name)
}

/// Temporary files and directories (`PG_TEMP_FILE_PREFIX`), and the caches that each server rebuilds.
fn is_temporary(name: &str) -> bool {
    name.starts_with("pgsql_tmp") || name.starts_with("pg_internal.init")
}

fn in_global(name: &str) -> DataFile {
    if name == "pg_control" { DataFile::Control } else { in_directory(GLOBAL_TABLESPACE, 0, name) }
}

fn in_database(spc: u32, db: &str, name: &str) -> DataFile {
    number(db).map_or(DataFile::Skipped, |db| in_directory(spc, db, name))
}

fn in_directory(spc: u32, db: u32, name: &str) -> DataFile {
    match name {
        "PG_VERSION" | "pg_filenode.map" => DataFile::Blob,
        _ => relation(spc, db, name).unwrap_or(DataFile::Skipped),
    }
}

/// `REL[_FORK][.SEGMENT]`. Temporary relations (`tBACKEND_REL`) are none of ours.
fn relation(spc: u32, db: u32, name: &str) -> Option<DataFile> {
    let (name, segment) = match name.split_once('.') {
        Some((name, segment)) => (name, number(segment).filter(|n| (1..MAX_SEGMENTS).contains(n))?),
        None => (name, 0),
    };
    let (rel, fork) = match name.split_once('_') {
        Some((rel, fork)) => (rel, Fork::ALL[1..].iter().copied().find(|known| known.name() == fork)?),
        None => (name, Fork::Main),
    };
    Some(DataFile::Relation { rel: RelTag { spc, db, rel: number(rel)?, fork }, segment })
}

/// A decimal number above zero as PostgreSQL prints one: no sign, no leading zero.
fn number(text: &str) -> Option<u32> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    plain.then(|| text.parse().ok()).flatten()
}

/// Segment files have four hexadecimal digits, more only if the number does not fit (`SlruCorrectSegmentFilenameLength`).
fn slru(kind: SlruKind, name: &str) -> DataFile {
    let upper_hex = |b: u8| b.is_ascii_digit() || (b'A'..=b'F').contains(&b);
    let well_formed = (4..=6).contains(&name.len()) && name.bytes().all(upper_hex);
    match u32::from_str_radix(name, 16) {
        Ok(segno) if well_formed && format!("{segno:04X}") == name => DataFile::Slru(SlruSegment { kind, segno }),
        _ => DataFile::Skipped,
    }
}

/// The version's own directory in a tablespace (`TABLESPACE_VERSION_DIRECTORY`), as in `PG_15_202209061`.
#[must_use]
pub fn tablespace_directory(version: PgVersion) -> String {
    format!("PG_{}_{}", version.major(), version.catalog_version())
}

/// The directory of a database's files, relative to the data directory (`GetDatabasePath`).
#[must_use]
pub fn database_path(version: PgVersion, database: DbTag) -> String {
    match database.spc {
        GLOBAL_TABLESPACE => "global".to_owned(),
        DEFAULT_TABLESPACE => format!("base/{}", database.db),
        spc => format!("pg_tblspc/{spc}/{}/{}", tablespace_directory(version), database.db),
    }
}

/// The path of one 1 GiB file of a relation's fork, relative to the data directory (`GetRelationPath`).
#[must_use]
pub fn relation_path(version: PgVersion, rel: RelTag, segment: u32) -> String {
    use std::fmt::Write;
    let mut path = format!("{}/{}", database_path(version, rel.database()), rel.rel);
    if rel.fork != Fork::Main {
        path.push('_');
        path.push_str(rel.fork.name());
    }
    if segment > 0 {
        write!(path, ".{segment}").expect("writing to a string cannot fail");
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classify(path: &str) -> DataFile {
        DataFile::classify(PgVersion::V15, path).unwrap()
    }

    #[test]
    fn relation_files_are_known_in_every_tablespace() {
        let rel = RelTag { spc: 1663, db: 5, rel: 16384, fork: Fork::Main };
        let shared = RelTag { spc: 1664, db: 0, rel: 1262, fork: Fork::Fsm };
        let moved = RelTag { spc: 16400, ..rel };
        for (path, rel, segment) in [
            ("base/5/16384", rel, 0),
            ("./base/5/16384.1", rel, 1),
            ("base/5/16384_vm.32767", rel.with_fork(Fork::Vm), 32767),
            ("base/5/16384_init", rel.with_fork(Fork::Init), 0),
            ("global/1262_fsm", shared, 0),
            ("pg_tblspc/16400/PG_15_202209061/5/16384.2", moved, 2),
        ] {
            assert_eq!(classify(path), DataFile::Relation { rel, segment }, "{path}");
            assert_eq!(relation_path(PgVersion::V15, rel, segment), path.trim_start_matches("./"));
        }
    }

    #[test]
    fn slru_segments_are_known() {
        for kind in SlruKind::ALL {
            for segno in [0, 0x1F, 0xFFFF, 0x1_4078] {
                let segment = SlruSegment { kind, segno };
                assert_eq!(classify(&segment.to_string()), DataFile::Slru(segment));
            }
        }
    }

    #[test]
    fn small_files_are_kept() {
        for path in [
            "PG_VERSION",
            "postgresql.conf",
            "postgresql.auto.conf",
            "pg_hba.conf",
            "pg_ident.conf",
            "backup_label",
            "tablespace_map",
            "base/5/PG_VERSION",
            "base/5/pg_filenode.map",
            "global/pg_filenode.map",
            "pg_tblspc/16400",
            "pg_tblspc/16400/PG_15_202209061/5/PG_VERSION",
            "pg_twophase/000002E0",
            "pg_logical/replorigin_checkpoint",
        ] {
            assert_eq!(classify(path), DataFile::Blob, "{path}");
        }
        assert_eq!(classify("global/pg_control"), DataFile::Control);
    }

    #[test]
    fn what_belongs_to_the_running_server_is_skipped() {
        for path in [
            "base",
            "pg_wal/000000010000000000000001",
            "pg_wal/archive_status/x",
            "base/5/t3_16390",
            "base/5/t3_16390_fsm.1",
            "base/5/pg_internal.init",
            "base/5/pg_internal.init.123",
            "base/pgsql_tmp/pgsql_tmp1.0",
            "pg_tblspc/16400/PG_15_202209061/pgsql_tmp/pgsql_tmp1.0",
            "pg_tblspc/16400/PG_14_202107181/5/16384",
            "global/pg_internal.init",
            "base/5/16384_xyz",
            "base/5/16384.0",
            "base/5/16384.32768",
            "base/5/016384",
            "base/5/4294967296",
            "base/x/16384",
            "postmaster.pid",
            "postmaster.opts",
            "current_logfiles",
            "pg_stat/pgstat.stat",
            "pg_stat_tmp/global.stat",
            "pg_replslot/s/state",
            "pg_dynshmem/mmap.1",
            "pg_notify/0000",
            "pg_serial/0000",
            "pg_snapshots/x",
            "pg_subtrans/0000",
            "pg_logical/snapshots/0-1.snap",
            "pg_xact/000",
            "pg_xact/00001",
            "pg_xact/000a",
            "log/postgresql.log",
        ] {
            assert_eq!(classify(path), DataFile::Skipped, "{path}");
        }
    }

    #[test]
    fn paths_that_leave_the_directory_are_refused() {
        for path in ["", "/etc/passwd", "../x", "base/../../x", "base//5", "base/5/", "a\0b", "././x"] {
            assert!(DataFile::classify(PgVersion::V15, path).is_err(), "{path:?}");
        }
    }
}
