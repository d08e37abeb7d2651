//! Small files over time, and which database they belong to.

use std::sync::Arc;

use pgdata::{DEFAULT_TABLESPACE, DbTag, Lsn, PgVersion, database_path, tablespace_directory};

/// What a small file is from an LSN on.
#[derive(Clone, Debug)]
enum Content {
    None,
    Is(Arc<[u8]>),
    /// What the file of this name in another database was at that LSN.
    CopyOf(DbTag),
}

/// What a small file's own history says of an LSN.
pub(crate) enum BlobAt {
    None,
    /// The base image has it.
    Base,
    Is(Arc<[u8]>),
    CopyOf(DbTag, Lsn),
}

/// One small file over time.
#[derive(Debug)]
pub(crate) struct BlobHistory {
    /// The number of its database, if it is in one's directory.
    pub database: Option<u32>,
    /// How many of its database's events are part of this history already.
    pub seen: usize,
    base: bool,
    contents: Vec<(Lsn, Content)>,
}

impl BlobHistory {
    pub fn new(database: Option<u32>, base: bool) -> Self {
        BlobHistory { database, seen: 0, base, contents: Vec::new() }
    }

    pub fn set(&mut self, lsn: Lsn, content: &[u8]) {
        self.contents.push((lsn, Content::Is(content.into())));
    }

    pub fn end(&mut self, lsn: Lsn) {
        self.contents.push((lsn, Content::None));
    }

    pub fn become_copy(&mut self, lsn: Lsn, from: DbTag) {
        self.contents.push((lsn, Content::CopyOf(from)));
    }

    pub fn at(&self, lsn: Lsn) -> BlobAt {
        match self.contents[..self.contents.partition_point(|(at, _)| *at <= lsn)].last() {
            Some((_, Content::None)) => BlobAt::None,
            Some((_, Content::Is(content))) => BlobAt::Is(Arc::clone(content)),
            Some((at, Content::CopyOf(from))) => BlobAt::CopyOf(*from, *at),
            None if self.base => BlobAt::Base,
            None => BlobAt::None,
        }
    }

    /// How many bytes it takes.
    pub fn bytes(&self) -> usize {
        let content = |content: &Content| if let Content::Is(bytes) = content { bytes.len() } else { 0 };
        let contents: usize = self.contents.iter().map(|(_, c)| content(c)).sum();
        size_of::<Self>() + contents + self.contents.capacity() * size_of::<(Lsn, Content)>()
    }
}

/// The database in whose directory a small file is, and its name there. Files of `global` belong to none: that directory is
/// never copied or dropped.
pub(crate) fn database_of(version: PgVersion, name: &str) -> Option<(DbTag, &str)> {
    let number = |text: &str| text.parse::<u32>().ok().filter(|number| number.to_string() == text);
    if let Some(rest) = name.strip_prefix("base/") {
        let (db, file) = rest.split_once('/')?;
        return Some((DbTag { spc: DEFAULT_TABLESPACE, db: number(db)? }, file));
    }
    let (spc, rest) = name.strip_prefix("pg_tblspc/")?.split_once('/')?;
    let (db, file) = rest.strip_prefix(&tablespace_directory(version))?.strip_prefix('/')?.split_once('/')?;
    Some((DbTag { spc: number(spc)?, db: number(db)? }, file))
}

/// The name of a database's small file: the other way round.
pub(crate) fn name_in(version: PgVersion, database: DbTag, file: &str) -> String {
    format!("{}/{file}", database_path(version, database))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_databases_are_known_by_their_paths() {
        let version = PgVersion::V15;
        for (name, spc, db, file) in [
            ("base/5/PG_VERSION", 1663, 5, "PG_VERSION"),
            ("pg_tblspc/16400/PG_15_202209061/7/pg_filenode.map", 16400, 7, "pg_filenode.map"),
        ] {
            assert_eq!(database_of(version, name), Some((DbTag { spc, db }, file)));
            assert_eq!(name_in(version, DbTag { spc, db }, file), name);
        }
        for name in
            ["PG_VERSION", "global/pg_control", "base/x/y", "base/05/y", "pg_tblspc/16400", "pg_tblspc/1/PG_16/5/x"]
        {
            assert_eq!(database_of(version, name), None, "{name}");
        }
    }
}
