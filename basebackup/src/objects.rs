//! Relations in files of 1 GiB, SLRU segments, and what becomes of unlogged relations.

use std::io::Write;

use pgdata::{
    Fork, Object, PAGE_SIZE, Page, RelTag, SEGMENT_BLOCKS, SlruKind, SlruSegment, page_is_new, relation_path,
    set_page_checksum,
};

use crate::archive::Archive;
use crate::{Backup, BackupError};

/// Pages asked for at once.
const RUN: usize = 32;

/// Writes all objects that belong into a part's archive. They are sorted: a relation's forks stand together.
pub(crate) fn write<W: Write>(
    backup: &Backup<'_>,
    archive: &mut Archive<W>,
    part: Option<u32>,
    objects: &[(Object, u32)],
) -> Result<(), BackupError> {
    let mut writer = Writer { backup, archive, part, pages: vec![[0; PAGE_SIZE]; RUN] };
    for forks in objects.chunk_by(|(a, _), (b, _)| same_relation(*a, *b)) {
        writer.forks(forks)?;
    }
    Ok(())
}

fn same_relation(a: Object, b: Object) -> bool {
    match (a, b) {
        (Object::Relation(a), Object::Relation(b)) => a.with_fork(b.fork) == b,
        _ => a == b,
    }
}

struct Writer<'w, 'a, W> {
    backup: &'w Backup<'a>,
    archive: &'w mut Archive<W>,
    part: Option<u32>,
    pages: Vec<Page>,
}

impl<W: Write> Writer<'_, '_, W> {
    /// An unlogged relation has an init fork. A server that was shut down believes the other forks, which are in no WAL; so its
    /// main fork is a copy of that one, as after a crash, and it has no others. One that recovers makes the copy itself.
    fn forks(&mut self, forks: &[(Object, u32)]) -> Result<(), BackupError> {
        let init = forks.iter().find_map(|&(object, blocks)| match object {
            Object::Relation(rel) if rel.fork == Fork::Init => Some((rel, blocks)),
            _ => None,
        });
        if let Some((rel, blocks)) = init {
            if !self.backup.recovers() {
                self.relation(rel, blocks, Fork::Main)?;
            }
            return self.relation(rel, blocks, Fork::Init);
        }
        forks.iter().try_for_each(|&(object, blocks)| match object {
            Object::Relation(rel) => self.relation(rel, blocks, rel.fork),
            Object::Slru(segment) => self.slru(segment, blocks),
        })
    }

    /// The pages of `rel` as the files of its fork `fork`.
    fn relation(&mut self, rel: RelTag, blocks: u32, fork: Fork) -> Result<(), BackupError> {
        files(blocks).try_for_each(|(file, first, count)| {
            let path = relation_path(self.backup.identity.version, rel.with_fork(fork), file);
            self.file(&path, rel.into(), first, count)
        })
    }

    /// Commit timestamps are there only while they are kept.
    fn slru(&mut self, segment: SlruSegment, blocks: u32) -> Result<(), BackupError> {
        if blocks > SlruKind::PAGES_PER_SEGMENT {
            return Err(BackupError::SlruSize { segment, blocks });
        }
        if segment.kind == SlruKind::CommitTs && !self.backup.state.commit_ts_active() {
            return Ok(());
        }
        self.file(&segment.to_string(), segment.into(), 0, blocks)
    }

    fn file(&mut self, path: &str, object: Object, first: u32, blocks: u32) -> Result<(), BackupError> {
        let Some(path) = self.backup.place_in(self.part, path) else { return Ok(()) };
        let checksums = self.backup.state.control.data_checksum_version != 0 && matches!(object, Object::Relation(_));
        let mut file = self.archive.file(path, u64::from(blocks) * PAGE_SIZE as u64)?;
        for offset in (0..blocks).step_by(RUN) {
            let pages = &mut self.pages[..RUN.min((blocks - offset) as usize)];
            let block = first + offset;
            self.backup.source.pages(object, block, pages).map_err(|error| {
                let last = block + (pages.len() - 1) as u32;
                self.backup.source_error(&format!("{object} blocks {block} to {last}"), error)
            })?;
            if checksums {
                set_checksums(block, pages);
            }
            file.write(pages.as_flattened())?;
        }
        file.finish()
    }
}

/// The files of a fork: number, first block, blocks. There is always one; the last may be full.
fn files(blocks: u32) -> impl Iterator<Item = (u32, u32, u32)> {
    (0..blocks.div_ceil(SEGMENT_BLOCKS).max(1)).map(move |file| {
        let first = file * SEGMENT_BLOCKS;
        (file, first, SEGMENT_BLOCKS.min(blocks - first))
    })
}

/// Pages that were never initialised have none.
fn set_checksums(first: u32, pages: &mut [Page]) {
    for (block, page) in (first..).zip(pages) {
        if !page_is_new(page) {
            set_page_checksum(page, block);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
