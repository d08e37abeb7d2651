//! Finding a page: what a redo engine needs in order to make it.

use pgdata::{Lsn, Object, Page, PageKey};

use crate::cache::{PageCache, ReadError, State};
use crate::index::{PageVersion, PlanBase, RecordPlace, Trail, TrailError};
use crate::layer::LayerError;
use crate::wal_log::{RecordBytes, WalLogError};

/// What the records of a [`Lookup`] apply to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Base {
    /// The page that is in the caller's buffer now: that of the base image, or one that was [kept](PageCache::keep_images). It may be newer
    /// than some of the records: redo passes over those that are not newer than the page's own LSN.
    Page,
    /// A page of zeros, which is in the caller's buffer now: PostgreSQL has one there too.
    Zero,
    /// Nothing: the first record makes the page. The buffer's content does not matter.
    None,
    /// Another page at an earlier LSN, to be had from [`PageCache::lookup_template`]: the page's database was copied then. Its
    /// answer can name yet another one, always at an earlier LSN. The buffer's content does not matter.
    Other {
        /// Which page.
        key: PageKey,
        /// As of when.
        lsn: Lsn,
    },
}

/// The way to a page: a base, and the records to apply to it.
#[derive(Debug)]
pub struct Lookup {
    /// The page that the records name. It is another one than was asked for if that one's database was copied and nothing has
    /// happened to the page since: then the records are those of the template's page.
    pub key: PageKey,
    /// What the first record applies to; the page itself if there is no record.
    pub base: Base,
    /// Whole records in the order in which they apply, none newer than the LSN asked for.
    pub records: Vec<RecordBytes>,
}

/// Why there is no way to a page.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    /// The timeline cannot be read at this LSN.
    #[error(transparent)]
    Lsn(#[from] ReadError),
    /// The object does not exist at this LSN.
    #[error("{object} does not exist at {lsn}")]
    NoObject {
        /// Which object.
        object: Object,
        /// As of when.
        lsn: Lsn,
    },
    /// The object exists, but is not that long.
    #[error("{key} does not exist at {lsn}: there are {size} blocks")]
    Beyond {
        /// Which page.
        key: PageKey,
        /// As of when.
        lsn: Lsn,
        /// The object's size in blocks.
        size: u32,
    },
    /// A record changes a page that nothing made: the page is not known at this LSN.
    #[error("{key} is not known at {lsn}: the record at {record} changes page {changed}, which nothing made before")]
    NoBase {
        /// Which page was asked for.
        key: PageKey,
        /// As of when.
        lsn: Lsn,
        /// Which page is missing: the same, or one that it was copied from.
        changed: PageKey,
        /// The record's LSN.
        record: Lsn,
    },
    /// The base image is damaged or cannot be read.
    #[error("{key} at {lsn}: {source}")]
    Layer {
        /// Which page was asked for.
        key: PageKey,
        /// As of when.
        lsn: Lsn,
        /// What is wrong.
        source: LayerError,
    },
    /// A record is damaged or cannot be read.
    #[error("{key} at {lsn}: {source}")]
    Wal {
        /// Which page was asked for.
        key: PageKey,
        /// As of when.
        lsn: Lsn,
        /// What is wrong.
        source: WalLogError,
    },
}

impl PageCache {
    /// What makes the page `key` at `lsn`. A base that is a page is put into `page`.
    ///
    /// No lock is held while anything is read from disk; recent records are not read from disk at all.
    ///
    /// # Errors
    /// [`LookupError::NoObject`] and [`LookupError::Beyond`] if there is no such page at this LSN; [`LookupError::Lsn`] for an LSN
    /// that is not reached yet (see [`PageCache::wait_for`]) or before the first consistent one; the rest if the page is damaged.
    pub fn lookup(&self, key: PageKey, lsn: Lsn, page: &mut Page) -> Result<Lookup, LookupError> {
        self.check_lsn(lsn)?;
        self.find(key, lsn, page)
    }

    /// [`PageCache::lookup`] for a page that [`Base::Other`] named: also before the first consistent LSN, where a copied database
    /// has what recovery finds in the template at this moment.
    ///
    /// # Errors
    /// As [`PageCache::lookup`].
    pub fn lookup_template(&self, key: PageKey, lsn: Lsn, page: &mut Page) -> Result<Lookup, LookupError> {
        self.check_lsn(lsn.max(self.consistent_lsn()))?;
        self.find(key, lsn, page)
    }

    /// What the page's content at `lsn` is called: where this is equal, what [`PageCache::lookup`] answers with makes the same page, now and
    /// later, also when an image takes the place of some of the records. So who keeps pages that were made can find them again without asking for what they are made of.
    /// `None` if the content has no such name.
    ///
    /// # Errors
    /// As [`PageCache::lookup`], as far as it can be told without looking at the records and the base.
    pub fn page_version(&self, key: PageKey, lsn: Lsn) -> Result<Option<PageVersion>, LookupError> {
        self.check_lsn(lsn)?;
        let version = self.read_state().index.page_version(key, lsn);
        version.map_err(|error| trail_error(key, lsn, error))
    }

    /// How many records [`PageCache::lookup`] answers with.
    ///
    /// # Errors
    /// As [`PageCache::lookup`], but for damage, which this does not see.
    pub fn pending_records(&self, key: PageKey, lsn: Lsn) -> Result<usize, LookupError> {
        self.check_lsn(lsn)?;
        let trail = self.read_state().index.trail(key, lsn);
        Ok(trail.map_err(|error| trail_error(key, lsn, error))?.records.len())
    }

    /// [`PageCache::lookup`] of a run of an object's pages, `first` and those behind it, in their order: with one look into the index,
    /// and pages that lie side by side in the base image are read together.
    ///
    /// # Errors
    /// As [`PageCache::lookup`], for the first page that has one.
    pub fn lookup_run(
        &self,
        object: Object,
        first: u32,
        lsn: Lsn,
        pages: &mut [Page],
    ) -> Result<Vec<Lookup>, LookupError> {
        self.check_lsn(lsn)?;
        let plans = self.plan_run(object, first, lsn, pages.len())?;
        let mut lookups = Vec::with_capacity(plans.len());
        let mut rest = pages;
        let mut plans = plans.into_iter().peekable();
        let mut run = Vec::new();
        while let Some(plan) = plans.next() {
            run.push(plan);
            while let Some(next) = plans.next_if(|(_, (_, base, _))| follows(run[run.len() - 1].1.1, *base)) {
                run.push(next);
            }
            let (these, behind) = rest.split_at_mut(run.len());
            rest = behind;
            if self.read_base(lsn, &run, these)? {
                for (key, plan) in run.drain(..) {
                    lookups.push(self.with_records(key, lsn, plan)?);
                }
            } else {
                for ((key, _), page) in run.drain(..).zip(these) {
                    lookups.push(self.find(key, lsn, page)?);
                }
            }
        }
        Ok(lookups)
    }

    fn plan_run(
        &self,
        object: Object,
        first: u32,
        lsn: Lsn,
        count: usize,
    ) -> Result<Vec<(PageKey, Plan)>, LookupError> {
        let state = self.read_state();
        let keys = (first..).take(count).map(|block| PageKey { object, block });
        keys.map(|key| Ok((key, plan(&state, key, lsn)?))).collect()
    }

    fn find(&self, key: PageKey, lsn: Lsn, page: &mut Page) -> Result<Lookup, LookupError> {
        // As often as an image turns out to be damaged: it is not there any more then.
        loop {
            let plan = plan(&self.read_state(), key, lsn)?;
            let run = [(key, plan)];
            if self.read_base(lsn, &run, std::slice::from_mut(page))? {
                let [(key, plan)] = run;
                return self.with_records(key, lsn, plan);
            }
        }
    }

    /// Puts into the buffers what is known without records. The bases of a run of pages [follow](follows) one another. `false` if one is not
    /// there any more, and another plan is needed.
    fn read_base(&self, lsn: Lsn, run: &[(PageKey, Plan)], pages: &mut [Page]) -> Result<bool, LookupError> {
        let (key, (_, base, _)) = &run[0];
        match *base {
            PlanBase::Replaced | PlanBase::Other(..) => {}
            PlanBase::Zero => pages.as_flattened_mut().fill(0),
            PlanBase::Kept(first) => {
                let lsns: Vec<Lsn> =
                    run.iter().filter_map(|(_, (_, base, _))| base.kept()).map(|image| image.lsn).collect();
                return Ok(self.read_images(first, &lsns, pages));
            }
            PlanBase::Image(image) => {
                let read = match pages {
                    [page] => self.layer.read_page(image, page),
                    _ => self.layer.read_run(image, pages),
                };
                read.map_err(|source| LookupError::Layer { key: *key, lsn, source })?;
            }
        }
        Ok(true)
    }

    fn with_records(&self, key: PageKey, lsn: Lsn, (named, base, found): Plan) -> Result<Lookup, LookupError> {
        let base = match base {
            PlanBase::Replaced => Base::None,
            PlanBase::Other(key, lsn) => Base::Other { key, lsn },
            PlanBase::Zero => Base::Zero,
            PlanBase::Image(_) | PlanBase::Kept(_) => Base::Page,
        };
        let records = self.wal.records(&found).map_err(|source| LookupError::Wal { key, lsn, source })?;
        Ok(Lookup { key: named, base, records })
    }
}

fn trail_error(key: PageKey, lsn: Lsn, error: TrailError) -> LookupError {
    match error {
        TrailError::NoObject => LookupError::NoObject { object: key.object, lsn },
        TrailError::Beyond { size } => LookupError::Beyond { key, lsn, size },
        TrailError::NoBase { key: changed, record } => LookupError::NoBase { key, lsn, changed, record },
    }
}

/// The page that the records name, what the first applies to, and where the records are.
type Plan = (PageKey, PlanBase, Vec<RecordPlace>);

/// Everything that needs the lock.
fn plan(state: &State, key: PageKey, lsn: Lsn) -> Result<Plan, LookupError> {
    let Trail { key: named, base, records } =
        state.index.trail(key, lsn).map_err(|error| trail_error(key, lsn, error))?;
    Ok((named, base, records))
}

/// Whether the second is the page behind the first, in the base image or among those kept.
fn follows(first: PlanBase, second: PlanBase) -> bool {
    let next = |a: PageKey, b: PageKey| a.object == b.object && a.block.checked_add(1) == Some(b.block);
    match (first, second) {
        (PlanBase::Image(a), PlanBase::Image(b)) => next(a, b),
        (PlanBase::Kept(a), PlanBase::Kept(b)) => next(a.key, b.key) && a.number.0.checked_add(1) == Some(b.number.0),
        _ => false,
    }
}
