//! Pages that were made, kept for whoever asks for them again.
//!
//! A page is found by what it is made of ([`PageVersion`]) and not by an LSN: as long as nothing changes it, it is the same page at
//! every LSN, and after a change it has another name. So nothing that is kept can become wrong, and nothing ever has to be taken out
//! but to make room.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use page_cache::PageVersion;
use pgdata::{PAGE_SIZE, Page};
use quick_cache::sync::Cache;

use crate::Id;

/// Bytes that a page takes here: itself, its name, and its places in the cache's tables.
const ENTRY: usize = PAGE_SIZE + 192;

/// Pages by timeline and content.
type Kept = Cache<(Id, PageVersion), Arc<[u8]>>;

/// What the pages that are kept take, and what they were good for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PageStats {
    /// Reads that found their page kept.
    pub hits: u64,
    /// Reads that did not, so that it had to be made. Where nothing is kept, nothing is missed.
    pub misses: u64,
    /// About how many bytes are taken.
    pub bytes: u64,
    /// About how many bytes may be taken.
    pub limit: u64,
}

/// A bounded number of pages, of all timelines of a repository.
pub(crate) struct Pages {
    /// `None` if nothing is to be kept.
    kept: Option<Kept>,
    hits: AtomicU64,
    misses: AtomicU64,
}

impl Pages {
    /// Room for about so many bytes.
    pub fn new(bytes: usize) -> Pages {
        let entries = bytes / ENTRY;
        let kept = (entries > 0).then(|| Cache::new(entries));
        Pages { kept, hits: AtomicU64::default(), misses: AtomicU64::default() }
    }

    /// Whether there is room for any page.
    pub fn keeps_any(&self) -> bool {
        self.kept.is_some()
    }

    /// Puts a page that is kept into `page`; `false` if it is not kept.
    pub fn get(&self, timeline: Id, version: PageVersion, page: &mut Page) -> bool {
        let Some(kept) = &self.kept else { return false };
        let Some(found) = kept.get(&(timeline, version)) else {
            self.misses.fetch_add(1, Ordering::Relaxed);
            return false;
        };
        self.hits.fetch_add(1, Ordering::Relaxed);
        page.copy_from_slice(&found);
        true
    }

    /// Keeps a page.
    pub fn put(&self, timeline: Id, version: PageVersion, page: &Page) {
        if let Some(kept) = &self.kept {
            kept.insert((timeline, version), Arc::from(page.as_slice()));
        }
    }

    /// What there is now, and what has been counted.
    pub fn stats(&self) -> PageStats {
        let (pages, limit) = self.kept.as_ref().map_or((0, 0), |kept| (kept.len() as u64, kept.capacity()));
        PageStats {
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
            bytes: pages * ENTRY as u64,
            limit: limit * ENTRY as u64,
        }
    }
}

impl fmt::Debug for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pages").field("stats", &self.stats()).finish_non_exhaustive()
    }
}
