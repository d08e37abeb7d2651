//! Which directories a data directory has, and which files are in none at an LSN.

use std::collections::BTreeSet;

use pgdata::{DataFile, Object, PathError, PgVersion, database_path, tablespace_directory};

/// The directories that `initdb` makes (`subdirs` in `initdb.c`), each behind the one that it is in.
const DIRECTORIES: [&str; 22] = [
    "base",
    "global",
    "pg_commit_ts",
    "pg_dynshmem",
    "pg_logical",
    "pg_logical/mappings",
    "pg_logical/snapshots",
    "pg_multixact",
    "pg_multixact/members",
    "pg_multixact/offsets",
    "pg_notify",
    "pg_replslot",
    "pg_serial",
    "pg_snapshots",
    "pg_stat",
    "pg_stat_tmp",
    "pg_subtrans",
    "pg_tblspc",
    "pg_twophase",
    "pg_wal",
    "pg_wal/archive_status",
    "pg_xact",
];
/// From 17 on.
const SUMMARIES: &str = "pg_wal/summaries";
/// Files at the top that tell a server to recover, or that it did.
const RECOVERY_FILES: [&str; 6] =
    ["backup_label", "backup_label.old", "tablespace_map", "tablespace_map.old", "recovery.done", "promote"];
const TABLESPACES: &str = "pg_tblspc/";

/// The tablespace that a path is in, and the path inside it; both empty-handed for a path elsewhere.
pub(crate) fn tablespace_of(path: &str) -> Option<(u32, &str)> {
    let rest = path.strip_prefix(TABLESPACES)?;
    let (oid, rest) = rest.split_once('/').unwrap_or((rest, ""));
    Some((oid.parse().ok()?, rest))
}

/// The path of a tablespace.
pub(crate) fn tablespace_path(oid: u32) -> String {
    format!("{TABLESPACES}{oid}")
}

/// The files among `names` that belong into a data directory at an LSN, in order, without the tablespaces themselves.
pub(crate) fn kept_files(version: PgVersion, names: &[String]) -> Result<Vec<String>, PathError> {
    let mut kept = Vec::with_capacity(names.len());
    for name in names {
        let is_tablespace = matches!(tablespace_of(name), Some((_, "")));
        let is_file = DataFile::classify(version, name)? == DataFile::Blob && !is_tablespace;
        if is_file && !RECOVERY_FILES.contains(&name.as_str()) {
            kept.push(name.strip_prefix("./").unwrap_or(name).to_owned());
        }
    }
    kept.sort_unstable();
    kept.dedup();
    Ok(kept)
}

/// Every tablespace that has a name or a file.
pub(crate) fn tablespaces(version: PgVersion, names: &[String], objects: &[(Object, u32)]) -> BTreeSet<u32> {
    let named = names.iter().filter_map(|name| Some(tablespace_of(name)?.0));
    let used = objects.iter().filter_map(|(object, _)| match object {
        Object::Relation(rel) => Some(tablespace_of(&database_path(version, rel.database()))?.0),
        Object::Slru(_) => None,
    });
    named.chain(used).collect()
}

/// Every directory, each behind the one that it is in.
pub(crate) fn directories(
    version: PgVersion,
    tablespaces: &BTreeSet<u32>,
    files: &[String],
    objects: &[(Object, u32)],
) -> BTreeSet<String> {
    let mut all: BTreeSet<String> = DIRECTORIES.iter().map(|&path| path.to_owned()).collect();
    if version >= PgVersion::V17 {
        all.insert(SUMMARIES.to_owned());
    }
    for &oid in tablespaces {
        all.insert(tablespace_path(oid));
        all.insert(format!("{}/{}", tablespace_path(oid), tablespace_directory(version)));
    }
    for path in files {
        all.extend(path.rsplit_once('/').map(|(directory, _)| directory.to_owned()));
    }
    let mut last = None;
    for (object, _) in objects {
        if let Object::Relation(rel) = object
            && last != Some(rel.database())
        {
            last = Some(rel.database());
            all.insert(database_path(version, rel.database()));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use pgdata::{Fork, RelTag};

    const V15: PgVersion = PgVersion::V15;

    fn strings(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    fn relation(spc: u32, db: u32) -> (Object, u32) {
        (RelTag { spc, db, rel: 16384, fork: Fork::Main }.into(), 1)
    }

    #[test]
    fn paths_in_tablespaces_are_told_apart() {
        assert_eq!(tablespace_of("pg_tblspc/16400"), Some((16400, "")));
        assert_eq!(tablespace_of("pg_tblspc/16400/PG_15_202209061/5/1"), Some((16400, "PG_15_202209061/5/1")));
        assert_eq!(tablespace_of("base/5/1"), None);
        assert_eq!(tablespace_of("pg_tblspc"), None);
    }

    #[test]
    fn what_belongs_to_a_running_server_or_to_recovery_is_left_out() {
        let names = strings(&[
            "postgresql.conf",
            "PG_VERSION",
            "backup_label",
            "tablespace_map",
            "standby.signal",
            "recovery.signal",
            "postmaster.pid",
            "postmaster.opts",
            "postgresql.auto.conf",
            "global/pg_control",
            "global/pg_filenode.map",
            "pg_tblspc/16400",
            "pg_tblspc/16400/PG_15_202209061/5/PG_VERSION",
            "pg_twophase/000003E8",
            "pg_logical/replorigin_checkpoint",
            "pg_stat/pgstat.stat",
            "base/5/pg_internal.init",
        ]);
        let kept = [
            "PG_VERSION",
            "global/pg_filenode.map",
            "pg_logical/replorigin_checkpoint",
            "pg_tblspc/16400/PG_15_202209061/5/PG_VERSION",
            "pg_twophase/000003E8",
            "postgresql.auto.conf",
            "postgresql.conf",
        ];
        assert_eq!(kept_files(V15, &names).unwrap(), kept);
        assert!(kept_files(V15, &strings(&["../etc/passwd"])).is_err());
    }

    #[test]
    fn tablespaces_are_those_with_a_name_or_a_file() {
        let names = strings(&["pg_tblspc/16400", "base/5/PG_VERSION", "pg_tblspc/16401/PG_15_202209061/7/PG_VERSION"]);
        let objects = [relation(1663, 5), relation(16402, 5), relation(1664, 0)];
        assert_eq!(Vec::from_iter(tablespaces(V15, &names, &objects)), [16400, 16401, 16402]);
    }

    #[test]
    fn every_directory_is_there_and_behind_the_one_that_it_is_in() {
        for version in PgVersion::ALL {
            let files = strings(&["base/7/PG_VERSION", "PG_VERSION"]);
            let objects = [relation(1663, 5), relation(16400, 5), relation(1664, 0)];
            let all = directories(version, &BTreeSet::from([16400, 16401]), &files, &objects);
            let ours = format!("pg_tblspc/16400/{}/5", tablespace_directory(version));
            let empty = format!("pg_tblspc/16401/{}", tablespace_directory(version));
            for path in ["pg_notify", "pg_wal/archive_status", "base/5", "base/7", &ours, &empty] {
                assert!(all.contains(path), "{path}");
            }
            assert_eq!(all.contains(SUMMARIES), version >= PgVersion::V17);
            let mut seen = BTreeSet::new();
            for path in &all {
                if let Some((parent, _)) = path.rsplit_once('/') {
                    assert!(seen.contains(parent), "{path} before {parent}");
                }
                seen.insert(path.as_str());
            }
        }
    }
}
