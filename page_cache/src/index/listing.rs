//! Questions about everything that exists at an LSN.

use std::collections::BTreeSet;

use pgdata::{DbTag, Lsn, Object, RelTag};

use super::blob::{database_of, name_in};
use super::read::BlobPlace;
use super::{Database, DatabaseEvent, Index};

impl Index {
    /// A database and those that it was copied from, the nearest first, as far as they matter at an LSN.
    fn with_templates(&self, tag: DbTag, mut lsn: Lsn) -> Vec<&Database> {
        let mut found = Vec::new();
        let mut next = self.database(tag);
        while let Some(database) = next {
            found.push(database);
            next = match database.event_after(0, lsn) {
                Some((at, DatabaseEvent::CopiedFrom(from))) => {
                    lsn = at;
                    self.database(from)
                }
                _ => None,
            };
        }
        found
    }

    /// The relation forks of a database in one tablespace with their sizes in blocks, in order.
    pub fn relations_of(&self, tag: DbTag, lsn: Lsn) -> Vec<(RelTag, u32)> {
        let mut candidates = BTreeSet::new();
        for database in self.with_templates(tag, lsn) {
            for number in &database.objects {
                if let Object::Relation(rel) = self.objects[*number as usize].0 {
                    candidates.insert(RelTag { spc: tag.spc, db: tag.db, ..rel });
                }
            }
        }
        candidates.into_iter().filter_map(|rel| Some((rel, self.size(rel.into(), lsn)?))).collect()
    }

    /// Every object that exists with its size in blocks, in order.
    pub fn objects(&self, lsn: Lsn) -> Vec<(Object, u32)> {
        let mut found: Vec<(Object, u32)> = Vec::new();
        for database in &self.databases {
            found.extend(self.relations_of(database.tag, lsn).into_iter().map(|(rel, size)| (rel.into(), size)));
        }
        let slrus = self.objects.iter().filter(|(object, _)| matches!(object, Object::Slru(_)));
        found.extend(slrus.filter_map(|(object, history)| Some((*object, history.size(lsn)?))));
        found.sort_unstable();
        found
    }

    /// The blocks of all relation forks of a database in all tablespaces; `None` if it has no files anywhere.
    pub fn database_blocks(&self, db: u32, lsn: Lsn) -> Option<u64> {
        let mut blocks = None;
        for database in self.databases.iter().filter(|database| database.tag.db == db) {
            for (_, size) in self.relations_of(database.tag, lsn) {
                *blocks.get_or_insert(0) += u64::from(size);
            }
        }
        blocks
    }

    /// The names of all small files that exist, in order.
    pub fn blob_names(&self, lsn: Lsn) -> Vec<String> {
        let mut names: BTreeSet<String> = self.blobs.keys().cloned().collect();
        for database in &self.databases {
            for template in self.with_templates(database.tag, lsn) {
                let files = template.blobs.iter().filter_map(|name| database_of(self.version, name));
                names.extend(files.map(|(_, file)| name_in(self.version, database.tag, file)));
            }
        }
        names.into_iter().filter(|name| !matches!(self.blob(name, lsn), BlobPlace::None)).collect()
    }
}
