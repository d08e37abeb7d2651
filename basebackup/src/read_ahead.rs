//! Pages are read by several threads ahead of the one that writes the archive, and given out in order.
//!
//! The pages of a plan are one sequence, cut into pieces. Each reader takes every n-th piece and has a short queue of its own, so the
//! pieces come in order by asking one queue after the other; a reader that is ahead waits, and memory stays as it is.

use std::num::NonZero;
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::thread::{self, Scope};

use pgdata::{Object, PAGE_SIZE, Page, set_page_checksum};

use crate::plan::Plan;
use crate::{Backup, BackupError};

/// Pages in a piece: 256 KiB.
const PIECE: usize = 32;
/// Pieces that a reader may be ahead, beside the one that it works on.
const AHEAD: usize = 2;
/// More readers than this help nobody: one writer takes what they read.
const MAX_READERS: usize = 4;

type Pages = Vec<Page>;

/// What the writer takes pages from.
pub(crate) struct ReadAhead {
    readers: Vec<Reader>,
    /// The reader whose piece is next.
    next: usize,
    piece: Pages,
    taken: usize,
}

/// The writer's end of one reader.
struct Reader {
    full: Receiver<Result<Pages, BackupError>>,
    /// Where buffers go back. It is unbounded, and holds no more than there are buffers.
    empty: Sender<Pages>,
}

impl ReadAhead {
    /// Starts readers; they end with the plan, with an error, or when this is dropped.
    pub fn start<'scope, 'env>(
        scope: &'scope Scope<'scope, 'env>,
        backup: &'env Backup<'_>,
        plan: &'env Plan,
    ) -> ReadAhead {
        let pieces = plan.pages().div_ceil(PIECE as u64);
        let count = thread::available_parallelism().map_or(1, NonZero::get).min(MAX_READERS);
        let count = count.min(pieces as usize).max(1);
        let readers = (0..count).map(|number| {
            let (full_in, full) = mpsc::sync_channel(AHEAD);
            let (empty, empty_out) = mpsc::channel();
            let mine = (number as u64..pieces).step_by(count);
            scope.spawn(move || read(backup, plan, mine, &full_in, &empty_out));
            Reader { full, empty }
        });
        ReadAhead { readers: readers.collect(), next: 0, piece: Vec::new(), taken: 0 }
    }

    /// The next pages in order, at least one and at most `max`. There must be as many left.
    ///
    /// # Errors
    /// The source's.
    pub fn take(&mut self, max: usize) -> Result<&[Page], BackupError> {
        if self.taken == self.piece.len() {
            let reader = &self.readers[self.next];
            let piece = reader.full.recv().expect("a reader ends early only by a panic")?;
            self.next = (self.next + 1) % self.readers.len();
            let used = std::mem::replace(&mut self.piece, piece);
            self.taken = 0;
            // To any of them: they share the work evenly. One that has come to its end needs no buffer.
            let _ = reader.empty.send(used);
        }
        let from = self.taken;
        self.taken += max.min(self.piece.len() - from);
        Ok(&self.piece[from..self.taken])
    }
}

/// A reader's life.
fn read(
    backup: &Backup<'_>,
    plan: &Plan,
    pieces: impl Iterator<Item = u64>,
    full: &SyncSender<Result<Pages, BackupError>>,
    empty: &Receiver<Pages>,
) {
    for piece in pieces {
        let mut pages = empty.try_recv().unwrap_or_default();
        let from = piece * PIECE as u64;
        let to = plan.pages().min(from + PIECE as u64);
        pages.resize((to - from) as usize, [0; PAGE_SIZE]);
        let result = fill(backup, plan, from, to, &mut pages).map(|()| pages);
        let failed = result.is_err();
        // Nobody takes it any more if the writer has failed.
        if full.send(result).is_err() || failed {
            return;
        }
    }
}

/// Reads the pages number `from` up to `to`.
fn fill(backup: &Backup<'_>, plan: &Plan, from: u64, to: u64, mut pages: &mut [Page]) -> Result<(), BackupError> {
    let checksums = backup.state.control.data_checksums();
    for span in plan.spans(from, to) {
        let (these, rest) = pages.split_at_mut(span.blocks as usize);
        pages = rest;
        backup.source.pages(span.object, span.first, these).map_err(|error| {
            let last = span.first + (span.blocks - 1);
            backup.source_error(&format!("{} blocks {} to {last}", span.object, span.first), error)
        })?;
        if checksums && matches!(span.object, Object::Relation(_)) {
            for (block, page) in (span.first..).zip(these) {
                set_page_checksum(page, block);
            }
        }
    }
    Ok(())
}
