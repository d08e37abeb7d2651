//! Names of databases, relation forks, SLRU segments and the pages in them.

use std::fmt;
use std::str::FromStr;

/// A fork of a relation (`common/relpath.h`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[repr(u8)]
pub enum Fork {
    /// The relation's own data.
    #[default]
    Main = 0,
    /// The free space map. Its contents are not WAL-logged by those who change it.
    Fsm = 1,
    /// The visibility map.
    Vm = 2,
    /// What an unlogged relation is reset to after a crash.
    Init = 3,
}

impl Fork {
    /// All forks, in the order of their numbers.
    pub const ALL: [Fork; 4] = [Fork::Main, Fork::Fsm, Fork::Vm, Fork::Init];

    /// PostgreSQL's number of the fork.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The fork with this number, if there is one.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Fork> {
        match number {
            0 => Some(Fork::Main),
            1 => Some(Fork::Fsm),
            2 => Some(Fork::Vm),
            3 => Some(Fork::Init),
            _ => None,
        }
    }

    /// `main`, `fsm`, `vm` or `init`, as in PostgreSQL's `forkNames`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Fork::Main => "main",
            Fork::Fsm => "fsm",
            Fork::Vm => "vm",
            Fork::Init => "init",
        }
    }
}

/// A number 0 to 3 or a name.
impl FromStr for Fork {
    type Err = ParseKeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Fork::ALL
            .into_iter()
            .find(|fork| fork.name() == text || text.parse() == Ok(fork.number()))
            .ok_or_else(|| ParseKeyError::Fork(text.to_owned()))
    }
}

/// The files of one database in one tablespace. Shared relations have tablespace 1664 and database 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DbTag {
    /// Tablespace oid (`spcOid`, earlier `spcNode`).
    pub spc: u32,
    /// Database oid (`dbOid`, earlier `dbNode`).
    pub db: u32,
}

impl fmt::Display for DbTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.spc, self.db)
    }
}

/// One fork of one relation: what PostgreSQL keeps in one file (of several 1 GiB segments).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct RelTag {
    /// Tablespace oid.
    pub spc: u32,
    /// Database oid.
    pub db: u32,
    /// The relation's file number (`relfilenode`), not its oid in `pg_class`.
    pub rel: u32,
    /// Which fork.
    pub fork: Fork,
}

impl RelTag {
    /// The database that the relation belongs to.
    #[must_use]
    pub const fn database(self) -> DbTag {
        DbTag { spc: self.spc, db: self.db }
    }

    /// Another fork of the same relation.
    #[must_use]
    pub const fn with_fork(self, fork: Fork) -> RelTag {
        RelTag { fork, ..self }
    }
}

/// `spc/db/rel`, with `_fsm`, `_vm` or `_init` behind it for the other forks.
impl fmt::Display for RelTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.spc, self.db, self.rel)?;
        match self.fork {
            Fork::Main => Ok(()),
            other => write!(f, "_{}", other.name()),
        }
    }
}

impl FromStr for RelTag {
    type Err = ParseKeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ParseKeyError::Relation(text.to_owned());
        let (numbers, fork) = match text.split_once('_') {
            Some((numbers, fork)) => (numbers, fork.parse().map_err(|_| wrong())?),
            None => (text, Fork::Main),
        };
        let mut parts = numbers.split('/').map(|part| part.parse::<u32>());
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(Ok(spc)), Some(Ok(db)), Some(Ok(rel)), None) => Ok(RelTag { spc, db, rel, fork }),
            _ => Err(wrong()),
        }
    }
}

/// A transaction-status area kept in "simple LRU" files (`access/slru.h`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum SlruKind {
    /// `pg_xact`: two bits for each transaction.
    Clog = 0,
    /// `pg_multixact/members`.
    MultiXactMembers = 1,
    /// `pg_multixact/offsets`.
    MultiXactOffsets = 2,
    /// `pg_commit_ts`.
    CommitTs = 3,
}

impl SlruKind {
    /// All kinds, in the order of their numbers in the page stream protocol.
    pub const ALL: [SlruKind; 4] =
        [SlruKind::Clog, SlruKind::MultiXactMembers, SlruKind::MultiXactOffsets, SlruKind::CommitTs];
    /// Pages in one segment file (`SLRU_PAGES_PER_SEGMENT`).
    pub const PAGES_PER_SEGMENT: u32 = 32;

    /// The number of the kind in the page stream protocol.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The kind with this number, if there is one.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<SlruKind> {
        match number {
            0 => Some(SlruKind::Clog),
            1 => Some(SlruKind::MultiXactMembers),
            2 => Some(SlruKind::MultiXactOffsets),
            3 => Some(SlruKind::CommitTs),
            _ => None,
        }
    }

    /// The directory of its files, relative to the data directory.
    #[must_use]
    pub const fn directory(self) -> &'static str {
        match self {
            SlruKind::Clog => "pg_xact",
            SlruKind::MultiXactMembers => "pg_multixact/members",
            SlruKind::MultiXactOffsets => "pg_multixact/offsets",
            SlruKind::CommitTs => "pg_commit_ts",
        }
    }
}

/// One segment file of an SLRU: up to 32 pages.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SlruSegment {
    /// Which SLRU.
    pub kind: SlruKind,
    /// The segment's number: page number / 32.
    pub segno: u32,
}

/// The file's path relative to the data directory, as in `pg_xact/0000`.
impl fmt::Display for SlruSegment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{:04X}", self.kind.directory(), self.segno)
    }
}

/// Something that consists of numbered pages and has a size: a fork of a relation, or a segment of an SLRU.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Object {
    /// A fork of a relation.
    Relation(RelTag),
    /// A segment of an SLRU.
    Slru(SlruSegment),
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Object::Relation(rel) => rel.fmt(f),
            Object::Slru(segment) => segment.fmt(f),
        }
    }
}

impl From<RelTag> for Object {
    fn from(rel: RelTag) -> Self {
        Object::Relation(rel)
    }
}

impl From<SlruSegment> for Object {
    fn from(segment: SlruSegment) -> Self {
        Object::Slru(segment)
    }
}

/// The name of one page of 8192 bytes, without its LSN.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PageKey {
    /// What the page is a part of.
    pub object: Object,
    /// The page's number in it: in a relation counted over all its 1 GiB files, in an SLRU segment from 0 to 31.
    pub block: u32,
}

impl PageKey {
    /// Block `block` of a relation's fork.
    #[must_use]
    pub const fn relation(rel: RelTag, block: u32) -> PageKey {
        PageKey { object: Object::Relation(rel), block }
    }

    /// Page `page` of an SLRU, counted from the start of the whole SLRU.
    #[must_use]
    pub const fn slru(kind: SlruKind, page: u32) -> PageKey {
        let segno = page / SlruKind::PAGES_PER_SEGMENT;
        PageKey { object: Object::Slru(SlruSegment { kind, segno }), block: page % SlruKind::PAGES_PER_SEGMENT }
    }
}

impl fmt::Display for PageKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} block {}", self.object, self.block)
    }
}

/// A text that names no relation or fork.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseKeyError {
    /// Not a fork.
    #[error("{0:?} is not a fork: expected 0, 1, 2, 3, main, fsm, vm or init")]
    Fork(String),
    /// Not a relation.
    #[error("{0:?} is not a relation: expected TABLESPACE/DATABASE/RELATION as numbers, as in 1663/5/16384")]
    Relation(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relations_print_and_parse() {
        let rel = RelTag { spc: 1663, db: 5, rel: 16384, fork: Fork::Main };
        for (tag, text) in [(rel, "1663/5/16384"), (rel.with_fork(Fork::Vm), "1663/5/16384_vm")] {
            assert_eq!(tag.to_string(), text);
            assert_eq!(text.parse(), Ok(tag));
        }
        for text in ["", "1663/5", "1663/5/1/2", "1663/5/x", "1663/5/-1", "1663/5/1_xx", "4294967296/0/0"] {
            assert!(text.parse::<RelTag>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn forks_have_numbers_and_names() {
        for fork in Fork::ALL {
            assert_eq!(Fork::from_number(fork.number()), Some(fork));
            assert_eq!(fork.name().parse(), Ok(fork));
            assert_eq!(fork.number().to_string().parse(), Ok(fork));
        }
        assert!("4".parse::<Fork>().is_err());
    }

    #[test]
    fn slru_pages_lie_in_segments_of_32() {
        let key = PageKey::slru(SlruKind::Clog, 33);
        assert_eq!(key.to_string(), "pg_xact/0001 block 1");
    }
}
