//! Making pages: look up, then redo.

use std::sync::Arc;

use page_cache::{Base, Lookup, PageCache};
use pgdata::{Lsn, Object, Page, PageKey};
use walredo::{Redo, RedoRecord, RedoRequest};

use crate::ReadError;

/// A database made by copying files is a copy of another at some LSN, which may be one again. Deeper than this is damage.
const MAX_COPIES: usize = 64;

/// Makes a timeline's pages out of what its cache knows of them. Checksums are left alone.
pub(crate) struct PageMaker {
    pub cache: Arc<PageCache>,
    pub redo: Arc<dyn Redo>,
}

impl PageMaker {
    /// Makes a page as it was at `lsn`.
    pub fn page(&self, key: PageKey, lsn: Lsn, page: &mut Page) -> Result<(), ReadError> {
        let lookup = self.cache.lookup(key, lsn, page)?;
        touch(std::slice::from_ref(&lookup));
        self.complete(lookup, key, lsn, page)
    }

    /// Makes a run of an object's pages, `first` and those behind it.
    pub fn run(&self, object: Object, first: u32, lsn: Lsn, pages: &mut [Page]) -> Result<(), ReadError> {
        let lookups = self.cache.lookup_run(object, first, lsn, pages)?;
        touch(&lookups);
        for ((block, page), lookup) in (first..).zip(pages).zip(lookups) {
            self.complete(lookup, PageKey { object, block }, lsn, page)?;
        }
        Ok(())
    }

    /// Makes the page `key`, whose way is `lookup`: goes down through copied databases to a base, and up again with the records of each.
    fn complete(&self, lookup: Lookup, key: PageKey, lsn: Lsn, page: &mut Page) -> Result<(), ReadError> {
        let mut above: Vec<Lookup> = Vec::new();
        let mut lowest = lookup;
        let mut has_base = loop {
            match lowest.base {
                Base::Page | Base::Zero => break true,
                Base::None => break false,
                Base::Other { key: at_key, lsn: at_lsn } => {
                    above.push(lowest);
                    if above.len() > MAX_COPIES {
                        return Err(ReadError::CopyDepth { key, lsn, limit: MAX_COPIES });
                    }
                    lowest = self.cache.lookup_template(at_key, at_lsn, page)?;
                }
            }
        };
        for lookup in std::iter::once(lowest).chain(above.into_iter().rev()) {
            self.apply(has_base, &lookup, page)?;
            has_base = true;
        }
        Ok(())
    }

    fn apply(&self, has_base: bool, lookup: &Lookup, page: &mut Page) -> Result<(), ReadError> {
        if lookup.records.is_empty() {
            return Ok(());
        }
        let records: Vec<RedoRecord<'_>> =
            lookup.records.iter().map(|record| RedoRecord { lsn: record.lsn(), bytes: record }).collect();
        let version = self.cache.info().version;
        Ok(self.redo.redo(&RedoRequest { version, key: lookup.key, has_base, records: &records }, page)?)
    }
}

/// Looks at every record before the first is applied. They lie far apart in more memory than a processor keeps at hand; asked for at once
/// they come at once, while redo, which follows what it reads, would wait for each of them.
fn touch(lookups: &[Lookup]) {
    const LINE: usize = 64;
    // The rest of a longer record follows by itself.
    const BEGINNING: usize = 4 * LINE;
    let records = lookups.iter().flat_map(|lookup| &lookup.records);
    let lines = records.flat_map(|record| record[..record.len().min(BEGINNING)].iter().step_by(LINE));
    std::hint::black_box(lines.fold(0, |all, byte| all ^ byte));
}
