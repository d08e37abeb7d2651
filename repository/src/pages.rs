//! Pages that were made, kept for whoever asks for them again.
//!
//! A page is found by what it is made of ([`PageVersion`]) and not by an LSN: as long as nothing changes it, it is the same page at
//! every LSN, and after a change it has another name. So nothing that is kept can become wrong, and nothing ever has to be taken out
//! but to make room.

use std::fmt;
use std::sync::Arc;

use page_cache::PageVersion;
use pgdata::{PAGE_SIZE, Page};
use quick_cache::sync::Cache;

use crate::Id;

/// Bytes that a page takes here: itself, its name, and its places in the cache's tables.
const ENTRY: usize = PAGE_SIZE + 192;

/// Pages by timeline and content.
type Kept = Cache<(Id, PageVersion), Arc<[u8]>>;

/// A bounded number of pages, of all timelines of a repository.
pub(crate) struct Pages {
    /// `None` if nothing is to be kept.
    kept: Option<Kept>,
}

impl Pages {
    /// Room for about so many bytes.
    pub fn new(bytes: usize) -> Pages {
        let entries = bytes / ENTRY;
        Pages { kept: (entries > 0).then(|| Cache::new(entries)) }
    }

    /// Puts a page that is kept into `page`; `false` if it is not kept.
    pub fn get(&self, timeline: Id, version: PageVersion, page: &mut Page) -> bool {
        let Some(found) = self.kept.as_ref().and_then(|kept| kept.get(&(timeline, version))) else { return false };
        page.copy_from_slice(&found);
        true
    }

    /// Keeps a page.
    pub fn put(&self, timeline: Id, version: PageVersion, page: &Page) {
        if let Some(kept) = &self.kept {
            kept.insert((timeline, version), Arc::from(page.as_slice()));
        }
    }

    /// About how many bytes are taken.
    pub fn bytes(&self) -> usize {
        self.kept.as_ref().map_or(0, |kept| kept.len() * ENTRY)
    }
}

impl fmt::Debug for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pages").field("bytes", &self.bytes()).finish_non_exhaustive()
    }
}
