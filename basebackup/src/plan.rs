//! Which files of pages there are, and in which order their pages come.

use pgdata::{Fork, Object, RelTag, SEGMENT_BLOCKS, SlruKind, relation_path};

use crate::{Backup, BackupError};

/// A file whose pages are read from the source.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PlannedFile {
    /// Whose pages they are.
    pub object: Object,
    /// The fork that the file is of. Another one than the object's where an init fork is copied.
    fork: Fork,
    /// The file's number, for relations of more than 1 GiB.
    number: u32,
    /// Its first block.
    pub first: u32,
    /// How many blocks it has; perhaps none.
    pub blocks: u32,
    /// How many blocks the files before it have together.
    pub before: u64,
}

/// Files in the order of the archive.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    files: Vec<PlannedFile>,
    pages: u64,
}

/// Blocks of one object that follow each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Span {
    pub object: Object,
    pub first: u32,
    pub blocks: u32,
}

impl PlannedFile {
    /// The file's path in the data directory.
    pub fn path(&self, backup: &Backup<'_>) -> String {
        match self.object {
            Object::Relation(rel) => relation_path(backup.identity.version, rel.with_fork(self.fork), self.number),
            Object::Slru(segment) => segment.to_string(),
        }
    }
}

impl Plan {
    /// The files of all objects that belong into a part's archive. The objects are sorted: a relation's forks stand together.
    pub fn new(backup: &Backup<'_>, part: Option<u32>, objects: &[(Object, u32)]) -> Result<Plan, BackupError> {
        let mut plan = Plan::default();
        for forks in objects.chunk_by(|(a, _), (b, _)| same_relation(*a, *b)) {
            plan.forks(backup, forks)?;
        }
        plan.files.retain(|file| backup.place_in(part, &file.path(backup)).is_some());
        for file in &mut plan.files {
            file.before = plan.pages;
            plan.pages += u64::from(file.blocks);
        }
        Ok(plan)
    }

    pub fn files(&self) -> &[PlannedFile] {
        &self.files
    }

    /// How many pages all files have.
    pub fn pages(&self) -> u64 {
        self.pages
    }

    /// What the pages number `from` up to `to` are, counted over all files.
    pub fn spans(&self, from: u64, to: u64) -> impl Iterator<Item = Span> {
        let first = self.files.partition_point(|file| file.before + u64::from(file.blocks) <= from);
        let files = self.files[first..].iter().take_while(move |file| file.before < to);
        files.filter_map(move |file| {
            let skipped = from.saturating_sub(file.before) as u32;
            let end = (to - file.before).min(u64::from(file.blocks)) as u32;
            let blocks = end.saturating_sub(skipped);
            (blocks > 0).then_some(Span { object: file.object, first: file.first + skipped, blocks })
        })
    }

    /// An unlogged relation has an init fork. A server that was shut down believes the other forks, which are in no WAL; so its
    /// main fork is a copy of that one, as after a crash, and it has no others. One that recovers makes the copy itself.
    fn forks(&mut self, backup: &Backup<'_>, forks: &[(Object, u32)]) -> Result<(), BackupError> {
        let init = forks.iter().find_map(|&(object, blocks)| match object {
            Object::Relation(rel) if rel.fork == Fork::Init => Some((rel, blocks)),
            _ => None,
        });
        if let Some((rel, blocks)) = init {
            if !backup.recovers() {
                self.relation(rel, blocks, Fork::Main);
            }
            self.relation(rel, blocks, Fork::Init);
            return Ok(());
        }
        for &(object, blocks) in forks {
            match object {
                Object::Relation(rel) => self.relation(rel, blocks, rel.fork),
                Object::Slru(segment) if blocks > SlruKind::PAGES_PER_SEGMENT => {
                    return Err(BackupError::SlruSize { segment, blocks });
                }
                // Commit timestamps are there only while they are kept.
                Object::Slru(segment) if segment.kind == SlruKind::CommitTs && !backup.state.commit_ts_active() => {}
                Object::Slru(_) => self.push(object, Fork::Main, (0, 0, blocks)),
            }
        }
        Ok(())
    }

    /// The pages of `rel` as the files of its fork `fork`.
    fn relation(&mut self, rel: RelTag, blocks: u32, fork: Fork) {
        files(blocks).for_each(|file| self.push(rel.into(), fork, file));
    }

    fn push(&mut self, object: Object, fork: Fork, (number, first, blocks): (u32, u32, u32)) {
        self.files.push(PlannedFile { object, fork, number, first, blocks, before: 0 });
    }
}

fn same_relation(a: Object, b: Object) -> bool {
    match (a, b) {
        (Object::Relation(a), Object::Relation(b)) => a.with_fork(b.fork) == b,
        _ => a == b,
    }
}

/// The files of a fork: number, first block, blocks. There is always one; the last may be full.
fn files(blocks: u32) -> impl Iterator<Item = (u32, u32, u32)> {
    (0..blocks.div_ceil(SEGMENT_BLOCKS).max(1)).map(move |file| {
        let first = file * SEGMENT_BLOCKS;
        (file, first, SEGMENT_BLOCKS.min(blocks - first))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_fork_has_files_of_one_gibibyte() {
        let all = |blocks| files(blocks).collect::<Vec<_>>();
        assert_eq!(all(0), [(0, 0, 0)]);
        assert_eq!(all(1), [(0, 0, 1)]);
        assert_eq!(all(131_072), [(0, 0, 131_072)]);
        assert_eq!(all(131_073), [(0, 0, 131_072), (1, 131_072, 1)]);
        let largest = all(u32::MAX);
        assert_eq!(largest.len(), 32_768);
        assert_eq!(largest[32_767], (32_767, u32::MAX - 131_071, 131_071));
    }

    proptest! {
        /// Pieces of any length give each page of each file once, in order.
        #[test]
        fn spans_cover_every_page(sizes in prop::collection::vec(0u32..50, 0..30), piece in 1u64..40) {
            let mut plan = Plan::default();
            for (rel, &blocks) in (1..).zip(&sizes) {
                plan.relation(RelTag { spc: 1663, db: 5, rel, fork: Fork::Main }, blocks, Fork::Main);
                let file = plan.files.last_mut().expect("a file");
                file.before = plan.pages;
                plan.pages += u64::from(blocks);
            }
            let mut found = Vec::new();
            for from in (0..plan.pages).step_by(piece as usize) {
                let to = plan.pages.min(from + piece);
                let spans: Vec<Span> = plan.spans(from, to).collect();
                prop_assert_eq!(spans.iter().map(|span| u64::from(span.blocks)).sum::<u64>(), to - from);
                found.extend(spans.iter().flat_map(|span| (0..span.blocks).map(|at| (span.object, span.first + at))));
            }
            let expected: Vec<_> = plan
                .files()
                .iter()
                .flat_map(|file| (0..file.blocks).map(|at| (file.object, file.first + at)))
                .collect();
            prop_assert_eq!(found, expected);
        }
    }
}
