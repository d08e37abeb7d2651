//! Tenants, and the timelines in them.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use page_cache::{FileSystem, ManifestError, OpenError, Storage, TimelineInfo};

use crate::images::ImageThread;
use crate::names::{self, DEFAULT_TENANT};
use crate::pages::{PageStats, Pages};
use crate::timeline::{NAME_FILE, VERSIONS};
use crate::{Attach, AttachTimelineError, Engines, Id, OpenTimelineError, RepositoryError, Timeline};

const TENANTS: &str = "tenants";
const TIMELINES: &str = "timelines";
const TENANT_FILE: &str = "tenant.json";

/// How much of a repository is kept in memory.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Bytes of the newest records, for each timeline. Older records are read back from the WAL log.
    pub window_bytes: usize,
    /// Bytes of pages that were made, for all timelines together.
    pub page_bytes: usize,
    /// How much disk images of pages may take, in percent of the WAL that is kept. They are made in the background of pages with many records. With 0
    /// there are none.
    pub image_percent: u32,
}

impl Default for Options {
    /// 256 MiB of records, 128 MiB of pages, as much disk for images as for WAL.
    fn default() -> Self {
        Options { window_bytes: 256 << 20, page_bytes: 128 << 20, image_percent: 100 }
    }
}

/// All that a data directory holds.
///
/// ```text
/// DIR/tenants/<id>/tenant.json                          the tenant's name
/// DIR/tenants/<id>/timelines/<id>/branch.json           the branch's name
/// DIR/tenants/<id>/timelines/<id>/versions/             image layers and WAL: see the crate page_cache
/// ```
pub struct Repository {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) engines: Box<dyn Engines>,
    pub(crate) options: Options,
    pub(crate) pages: Arc<Pages>,
    pub(crate) images: ImageThread,
    tenant: Tenant,
    unfinished: Vec<PathBuf>,
    broken: Vec<BrokenTimeline>,
    state: RwLock<State>,
}

/// A timeline that could not be opened. Its files are left as they are, and its name stays taken.
#[derive(Clone, Debug)]
pub struct BrokenTimeline {
    /// Its id.
    pub id: Id,
    /// Its name; the id if that could not be read.
    pub name: String,
    /// What is wrong.
    pub error: Arc<RepositoryError>,
}

/// The one tenant that there is so far.
struct Tenant {
    id: Id,
    name: String,
    dir: PathBuf,
}

#[derive(Default)]
struct State {
    timelines: BTreeMap<Id, Arc<Timeline>>,
    /// Names of attaches that are under way: taken, but not to be read.
    attaching: BTreeMap<String, Id>,
}

impl Repository {
    /// Opens a data directory; an empty or missing one becomes a repository with the tenant `default` and no timeline.
    ///
    /// Timelines are brought up to the end of the WAL that they have. What an interrupted attach left behind is not opened: see [`Repository::unfinished`].
    ///
    /// A timeline that cannot be opened does not keep the others from being: see [`Repository::broken`].
    ///
    /// # Errors
    /// If the directory itself or its tenant cannot be read.
    pub fn open(dir: &Path, engines: Box<dyn Engines>, options: Options) -> Result<Arc<Repository>, RepositoryError> {
        Self::open_on(Arc::new(FileSystem), dir, engines, options)
    }

    /// [`Repository::open`] with another storage than the operating system's files for what timelines consist of: base images, WAL, images of pages. Names are
    /// in the directory all the same.
    ///
    /// # Errors
    /// As [`Repository::open`].
    pub fn open_on(
        storage: Arc<dyn Storage>,
        dir: &Path,
        engines: Box<dyn Engines>,
        mut options: Options,
    ) -> Result<Arc<Repository>, RepositoryError> {
        let tenant = open_tenant(&dir.join(TENANTS))?;
        let (unfinished, broken, state) = (Vec::new(), Vec::new(), RwLock::default());
        let pages = Arc::new(Pages::new(options.page_bytes));
        let thread = if options.image_percent > 0 { ImageThread::start() } else { None };
        let images = thread.unwrap_or_else(|| {
            // Then nobody has to note which pages have grown.
            options.image_percent = 0;
            ImageThread::none()
        });
        let mut repository = Repository { storage, engines, options, pages, images, tenant, unfinished, broken, state };
        for entry in subdirectories(&repository.timelines_dir())? {
            repository.open_timeline_at(&entry);
        }
        Ok(Arc::new(repository))
    }

    fn timelines_dir(&self) -> PathBuf {
        self.tenant.dir.join(TIMELINES)
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn open_timeline_at(&mut self, dir: &Path) {
        let Some(id) = id_of(dir) else {
            tracing::warn!(dir = %dir.display(), "not a timeline: left alone");
            return;
        };
        let (name, opened) = match names::read(&dir.join(NAME_FILE)) {
            Err(error) => (id.to_string(), Err(error)),
            Ok(name) => {
                let name = name.unwrap_or_else(|| id.to_string());
                let opened = self.adopt(id, &name, dir).map(drop);
                (name, opened.map_err(|source| RepositoryError::Open { id, source: Box::new(source) }))
            }
        };
        let Err(error) = opened else { return };
        if is_unfinished(&error) {
            tracing::warn!(%id, name, "an attach was interrupted; what it left behind is no timeline");
            self.unfinished.push(dir.to_owned());
        } else {
            tracing::error!(%id, name, %error, "this timeline cannot be opened; the others are served without it");
            self.broken.push(BrokenTimeline { id, name, error: Arc::new(error) });
        }
    }

    /// Opens a complete timeline and makes it visible.
    pub(crate) fn adopt(&self, id: Id, name: &str, dir: &Path) -> Result<Arc<Timeline>, OpenTimelineError> {
        let timeline = Arc::new(Timeline::open(id, name, dir, self)?);
        tracing::info!(%id, name, last_record_lsn = %timeline.last_record_lsn(), "timeline is open");
        let mut state = self.write();
        state.attaching.remove(name);
        state.timelines.insert(id, Arc::clone(&timeline));
        Ok(timeline)
    }

    /// Removes what an attach that came to nothing has written.
    pub(crate) fn discard(&self, id: Id, dir: &Path) {
        if let Err(error) = remove(dir) {
            tracing::error!(%id, %error, "cannot remove an unfinished attach; the next start will try again");
        }
        self.write().attaching.retain(|_, attaching| *attaching != id);
    }

    /// The tenant's name and id.
    #[must_use]
    pub fn tenant(&self) -> (&str, Id) {
        (&self.tenant.name, self.tenant.id)
    }

    /// What the pages that are kept take, and what they were good for: of all timelines together.
    #[must_use]
    pub fn page_stats(&self) -> PageStats {
        self.pages.stats()
    }

    /// All timelines, by id.
    #[must_use]
    pub fn timelines(&self) -> Vec<Arc<Timeline>> {
        self.read().timelines.values().cloned().collect()
    }

    /// Finds a timeline. Tenant and timeline are given by name or id.
    ///
    /// # Errors
    /// [`RepositoryError::NoTenant`], [`RepositoryError::NoTimeline`], [`RepositoryError::Broken`].
    pub fn timeline(&self, tenant: &str, timeline: &str) -> Result<Arc<Timeline>, RepositoryError> {
        if tenant != self.tenant.name && tenant.parse() != Ok(self.tenant.id) {
            return Err(RepositoryError::NoTenant(tenant.to_owned()));
        }
        let state = self.read();
        let id = timeline.parse::<Id>();
        let found = match id {
            Ok(id) => state.timelines.get(&id),
            Err(_) => state.timelines.values().find(|t| t.name() == timeline),
        };
        if let Some(found) = found {
            return Ok(Arc::clone(found));
        }
        match self.broken.iter().find(|broken| id == Ok(broken.id) || broken.name == timeline) {
            Some(broken) => Err(RepositoryError::Broken(Arc::clone(&broken.error))),
            None => Err(RepositoryError::NoTimeline(timeline.to_owned())),
        }
    }

    /// The timelines that could not be opened when the repository was.
    #[must_use]
    pub fn broken(&self) -> &[BrokenTimeline] {
        &self.broken
    }

    /// Takes a name for a new timeline, before anything is asked of its source. The name is free again when the answer is dropped
    /// without [`Reservation::attach`], or the attach fails.
    ///
    /// # Errors
    /// [`RepositoryError::Exists`], [`RepositoryError::Name`].
    pub fn reserve(self: &Arc<Self>, name: &str) -> Result<Reservation, RepositoryError> {
        names::check(name)?;
        let id = Id::random().map_err(|e| RepositoryError::io("make an id in", &self.tenant.dir, e))?;
        let mut state = self.write();
        let of_broken = self.broken.iter().any(|broken| broken.name == name);
        if of_broken || state.attaching.contains_key(name) || state.timelines.values().any(|t| t.name() == name) {
            return Err(RepositoryError::Exists(name.to_owned()));
        }
        state.attaching.insert(name.to_owned(), id);
        drop(state);
        Ok(Reservation { repository: Arc::clone(self), id, name: name.to_owned(), used: false })
    }

    /// The directories of attaches that had not come to their end when the repository was opened. They are nothing any more but
    /// disk space; whoever put something of his own into them can look at it before he removes them.
    #[must_use]
    pub fn unfinished(&self) -> &[PathBuf] {
        &self.unfinished
    }

    /// Removes one of [`Repository::unfinished`].
    ///
    /// # Errors
    /// If a file cannot be removed.
    pub fn remove_unfinished(&self, dir: &Path) -> Result<(), RepositoryError> {
        if self.unfinished.iter().any(|unfinished| unfinished == dir) { remove(dir) } else { Ok(()) }
    }

    /// Ends all present and future waits.
    pub fn shutdown(&self) {
        for timeline in self.timelines() {
            timeline.shutdown();
        }
    }
}

impl fmt::Debug for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Repository").field("dir", &self.tenant.dir).finish_non_exhaustive()
    }
}

/// A name taken for a timeline to come.
#[derive(Debug)]
pub struct Reservation {
    repository: Arc<Repository>,
    id: Id,
    name: String,
    used: bool,
}

impl Reservation {
    /// The id that the timeline will have.
    #[must_use]
    pub fn id(&self) -> Id {
        self.id
    }

    /// The directory that the timeline will have; it is made here. An interrupted attach takes it away with it.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn make_dir(&self) -> Result<PathBuf, RepositoryError> {
        let dir = self.repository.timelines_dir().join(self.id.to_string());
        names::make_dir(&dir)?;
        Ok(dir)
    }

    /// Begins to take a base backup.
    ///
    /// # Errors
    /// If files cannot be made.
    pub fn attach(mut self, info: TimelineInfo) -> Result<Attach, AttachTimelineError> {
        let dir = self.make_dir()?;
        let attach = Attach::new(Arc::clone(&self.repository), self.id, self.name.clone(), dir, info)?;
        self.used = true;
        Ok(attach)
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if !self.used {
            let dir = self.repository.timelines_dir().join(self.id.to_string());
            self.repository.discard(self.id, &dir);
        }
    }
}

/// Finds the tenant, or makes the default one.
fn open_tenant(tenants: &Path) -> Result<Tenant, RepositoryError> {
    names::make_dir(tenants)?;
    let mut nameless = None;
    for dir in subdirectories(tenants)? {
        let Some(id) = id_of(&dir) else { continue };
        match names::read(&dir.join(TENANT_FILE))? {
            Some(name) => return Ok(Tenant { id, name, dir }),
            None => nameless = Some((id, dir)),
        }
    }
    // Making a tenant ends with its name. Without one it was not made yet, and holds nothing; if it does, the name was lost.
    if let Some((_, dir)) = &nameless
        && dir.join(TIMELINES).exists()
        && !subdirectories(&dir.join(TIMELINES))?.is_empty()
    {
        return Err(RepositoryError::NamelessTenant { file: dir.join(TENANT_FILE) });
    }
    let (id, dir) = match nameless {
        Some(begun) => begun,
        None => {
            let id = Id::random().map_err(|e| RepositoryError::io("make an id in", tenants, e))?;
            (id, tenants.join(id.to_string()))
        }
    };
    names::make_dir(&dir.join(TIMELINES))?;
    names::write(&dir.join(TENANT_FILE), DEFAULT_TENANT)?;
    names::sync_directory(tenants)?;
    Ok(Tenant { id, name: DEFAULT_TENANT.to_owned(), dir })
}

/// Whether it is the lack of a manifest: then nothing is there yet that could be damaged.
fn is_unfinished(error: &RepositoryError) -> bool {
    let RepositoryError::Open { source, .. } = error else { return false };
    let OpenTimelineError::Cache(OpenError::Manifest { source, .. }) = &**source else { return false };
    matches!(source, ManifestError::NotATimeline { .. })
}

fn id_of(dir: &Path) -> Option<Id> {
    dir.file_name()?.to_str()?.parse().ok()
}

/// The directories in a directory, in the order of their names.
fn subdirectories(dir: &Path) -> Result<Vec<PathBuf>, RepositoryError> {
    let io = |error| RepositoryError::io("list", dir, error);
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(io)? {
        let entry = entry.map_err(io)?;
        if entry.file_type().map_err(io)?.is_dir() {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// Removes a timeline's directory: first what makes it a timeline, so that a crash leaves none without its files.
fn remove(dir: &Path) -> Result<(), RepositoryError> {
    let versions = dir.join(VERSIONS);
    let manifest = versions.join(page_cache::MANIFEST);
    match fs::remove_file(&manifest) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        result => {
            result.map_err(|e| RepositoryError::io("remove", &manifest, e))?;
            names::sync_directory(&versions)?;
        }
    }
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(RepositoryError::io("remove", dir, error)),
        _ => Ok(()),
    }
}
