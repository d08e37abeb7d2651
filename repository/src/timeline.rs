//! One timeline: a history of a cluster, and the engine that makes its pages.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use page_cache::{PageCache, TimelineInfo};
use pgdata::{ClusterState, ControlFile, Lsn, Timelines};

use crate::attach::history_path;
use crate::images::{self, Images};
use crate::ingest::Fault;
use crate::make::PageMaker;
use crate::pages::Pages;
use crate::{HistoryFileError, Id, Ingest, IngestError, KeepImagesError, LostWal, OpenTimelineError, Repository};

/// The file with the branch's name in a timeline's directory.
pub(crate) const NAME_FILE: &str = "branch.json";
/// The directory of versions (image layers and WAL) in a timeline's directory.
pub(crate) const VERSIONS: &str = "versions";

/// A history of a cluster, read at any LSN.
pub struct Timeline {
    id: Id,
    name: String,
    dir: PathBuf,
    pub(crate) cache: Arc<PageCache>,
    pub(crate) maker: Arc<PageMaker>,
    pub(crate) pages: Arc<Pages>,
    /// Whether pages carry checksums. No record can change that: switching them needs a cluster that is shut down.
    pub(crate) checksums: bool,
    ingest: Mutex<Ingest>,
    fault: Fault,
    lost: Option<Arc<LostWal>>,
}

impl Timeline {
    pub(crate) fn open(id: Id, name: &str, dir: &Path, repository: &Repository) -> Result<Timeline, OpenTimelineError> {
        let options = page_cache::Options {
            window_bytes: repository.options.window_bytes,
            image_percent: repository.options.image_percent,
            ..page_cache::Options::default()
        };
        let cache = PageCache::open_on(Arc::clone(&repository.storage), &dir.join(VERSIONS), options)?;
        let control_bytes = cache.base_blob("global/pg_control")?.ok_or(OpenTimelineError::NoControlFile)?;
        let control = ControlFile::parse(&control_bytes)?;
        let checksums = control.data_checksums();
        let redo =
            repository.engines.engine(cache.info().version, &control_bytes).map_err(OpenTimelineError::Engine)?;
        let initial = ClusterState::new(control);
        cache.set_initial_cluster(initial.clone());
        let cache = Arc::new(cache);
        let maker = Arc::new(PageMaker { cache: Arc::clone(&cache), redo });
        let images = Images::new(id, Arc::clone(&maker), repository.images.work().clone());
        let ingest = Ingest::recover(Arc::clone(&cache), initial, images)?;
        let (fault, lost) = (Arc::clone(ingest.fault()), ingest.lost().cloned());
        Ok(Timeline {
            id,
            name: name.to_owned(),
            dir: dir.to_owned(),
            cache,
            maker,
            pages: Arc::clone(&repository.pages),
            checksums,
            ingest: Mutex::new(ingest),
            fault,
            lost,
        })
    }

    /// The timeline's id.
    #[must_use]
    pub fn id(&self) -> Id {
        self.id
    }

    /// The branch's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The timeline's directory. Files other than this crate's own may be kept in it.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What the timeline is a history of.
    #[must_use]
    pub fn info(&self) -> &TimelineInfo {
        self.cache.info()
    }

    /// The end of the last record that readers can see.
    #[must_use]
    pub fn last_record_lsn(&self) -> Lsn {
        self.cache.last_record_lsn()
    }

    /// PostgreSQL's timelines that the WAL is of: that of the base backup, and those that followed.
    #[must_use]
    pub fn pg_timelines(&self) -> Timelines {
        self.cache.wal().timelines()
    }

    /// PostgreSQL's timeline of the record that ends at `lsn`: the one on which a cluster made of the state there goes on.
    #[must_use]
    pub fn pg_timeline_at(&self, lsn: Lsn) -> u32 {
        self.pg_timelines().before(lsn)
    }

    /// The history file of one of PostgreSQL's timelines; `None` if it is not kept, as those of timelines before the base backup's.
    ///
    /// # Errors
    /// If it is damaged or cannot be read.
    pub fn pg_history_file(&self, timeline: u32) -> Result<Option<Vec<u8>>, HistoryFileError> {
        if timeline == self.info().pg_timeline {
            return Ok(self.cache.base_blob(&history_path(timeline))?);
        }
        Ok(self.cache.wal().history_file(timeline)?)
    }

    /// The first LSN that can be read at: the end of the base backup.
    #[must_use]
    pub fn consistent_lsn(&self) -> Lsn {
        self.cache.consistent_lsn()
    }

    /// What the timeline holds, in numbers.
    #[must_use]
    pub fn status(&self) -> page_cache::Status {
        self.cache.status()
    }

    /// Why the timeline takes no more WAL, if so: a record that is not understood or contradicts what was before, or damaged WAL. What is
    /// up to [`Timeline::last_record_lsn`] stays readable.
    #[must_use]
    pub fn fault(&self) -> Option<Arc<IngestError>> {
        self.fault.get().cloned()
    }

    /// What had been acknowledged and was not there any more when the timeline was opened, as long as it has not come again.
    #[must_use]
    pub fn lost_wal(&self) -> Option<Arc<LostWal>> {
        self.lost.clone().filter(|lost| self.cache.resume_lsn() < lost.acknowledged)
    }

    /// The write path, for as long as the guard is held.
    pub fn ingest(&self) -> MutexGuard<'_, Ingest> {
        self.ingest.lock().unwrap_or_else(|poisoned| {
            let ingest = poisoned.into_inner();
            ingest.give_up();
            ingest
        })
    }

    /// Makes, now and here, the images of pages that it is time for, so that later reads have fewer records to apply. A repository has a thread
    /// that does this by itself ([`Options::image_percent`](crate::Options::image_percent)). Answers with how many were kept.
    ///
    /// # Errors
    /// If they cannot be written. Nothing depends on them but time.
    pub fn make_images(&self) -> Result<usize, KeepImagesError> {
        images::make_images(&self.maker, || true)
    }

    /// Ends all present and future waits for LSNs.
    pub fn shutdown(&self) {
        self.cache.shutdown();
    }
}

impl fmt::Debug for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timeline").field("id", &self.id).field("name", &self.name).finish_non_exhaustive()
    }
}
