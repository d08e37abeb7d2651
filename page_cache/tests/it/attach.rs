//! From a base backup to a timeline.

use std::io;
use std::path::Path;
use std::sync::Arc;

use page_cache::{
    AttachError, Base, BaseWriter, FileSystem, LayerContentError, ManifestError, OpenError, Options, PageCache,
    Storage, StorageFile,
};
use pgdata::{Fork, PAGE_SIZE, PageKey};

use crate::disk::{Disk, Fault};
use crate::wal::{BASE_BLOBS, DIR, attach, base_objects, base_page, clog, fresh, info, open, rel};

/// The timeline holds exactly the base image.
pub fn check_base(cache: &PageCache) {
    let lsn = info().start_lsn;
    let mut expected = base_objects();
    expected.sort_unstable();
    assert_eq!(cache.objects(lsn).unwrap(), expected);
    for (object, blocks) in expected {
        for block in 0..blocks {
            let (key, mut page) = (PageKey { object, block }, [0; PAGE_SIZE]);
            let found = cache.lookup(key, lsn, &mut page).unwrap();
            assert_eq!((found.base, found.records.len()), (Base::Page, 0));
            assert!(page[..] == base_page(key)[..], "{key}");
        }
    }
    for (name, content) in BASE_BLOBS {
        assert_eq!(cache.blob(name, lsn).unwrap().as_deref(), Some(content));
        assert_eq!(cache.base_blob(name).unwrap().as_deref(), Some(content));
    }
}

#[test]
fn a_base_backup_is_read_back() {
    let (_disk, cache, _) = fresh(0);
    check_base(&cache);
}

#[test]
fn works_on_real_files() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("timeline");
    let mut writer = BaseWriter::create(&path, info()).unwrap();
    writer.pages(clog(0), 0, &[7; 2 * PAGE_SIZE]).unwrap();
    writer.finish(info().start_lsn).unwrap();
    let cache = PageCache::open(&path, Options::default()).unwrap();
    let mut page = [0; PAGE_SIZE];
    cache.lookup(PageKey { object: clog(0), block: 1 }, info().start_lsn, &mut page).unwrap();
    assert_eq!(page, [7; PAGE_SIZE]);
    cache.wal().append(cache.wal().end(), &[1; 100]).unwrap();
    assert_eq!(cache.wal().sync().unwrap(), cache.wal().end());
}

#[test]
fn a_crash_at_any_step_leaves_a_timeline_or_none() {
    let probe = Disk::default();
    attach(&probe, info().start_lsn).unwrap();
    let mut timelines = 0;
    for step in 1..=probe.steps() + 1 {
        for seed in 0..20 {
            let disk = Disk::default();
            disk.fault_at(step, Fault::Crash);
            let attached = attach(&disk, info().start_lsn).is_ok();
            let after = disk.after_crash(seed + step as u64 * 1000);
            match PageCache::open_on(after.storage(), Path::new(DIR), Options { window_bytes: 0, ..Options::default() })
            {
                Ok(cache) => {
                    check_base(&cache);
                    timelines += 1;
                }
                Err(OpenError::Manifest { source: ManifestError::NotATimeline { .. }, .. }) => {
                    assert!(!attached, "step {step}");
                    attach(&after, info().start_lsn).unwrap();
                    check_base(&open(&after, 0));
                }
                Err(error) => panic!("step {step}, seed {seed}: {error}"),
            }
        }
    }
    assert!(timelines >= 20);
}

#[test]
fn a_failure_at_any_step_is_reported_and_can_be_repeated() {
    let probe = Disk::default();
    attach(&probe, info().start_lsn).unwrap();
    for step in 1..=probe.steps() {
        let disk = Disk::default();
        disk.fault_at(step, Fault::Fail);
        assert!(attach(&disk, info().start_lsn).is_err(), "step {step}");
        match attach(&disk, info().start_lsn) {
            Ok(()) => check_base(&open(&disk, 0)),
            // Only making the last step durable failed.
            Err(AttachError::Exists(_)) => assert_eq!(step, probe.steps()),
            Err(error) => panic!("step {step}: {error}"),
        }
    }
}

#[test]
fn a_full_disk_and_short_writes() {
    let disk = Disk::default();
    disk.set_short_writes(1000);
    disk.set_capacity(Some(100_000));
    let error = attach(&disk, info().start_lsn).unwrap_err();
    assert!(error.to_string().contains("cannot write /data/timeline/layers/"), "{error}");
    disk.set_capacity(None);
    attach(&disk, info().start_lsn).unwrap();
    check_base(&open(&disk, 0));
}

#[test]
fn nothing_is_attached_over_a_timeline_or_among_strange_files() {
    let (disk, _, _) = fresh(0);
    assert!(matches!(attach(&disk, info().start_lsn), Err(AttachError::Exists(_))));

    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("precious"), "x").unwrap();
    let refused = BaseWriter::create(dir.path(), info());
    assert!(matches!(refused.err(), Some(AttachError::NotEmpty { name, .. }) if name == "precious"));
    assert!(dir.path().join("precious").exists());
}

#[test]
fn a_backup_that_is_not_whole_is_refused() {
    let table = rel(1663, 1, 1, Fork::Main);
    let pages = [1; 2 * PAGE_SIZE];
    let try_with = |fill: &dyn Fn(&mut BaseWriter) -> Result<(), AttachError>| {
        let mut writer = BaseWriter::create_on(Disk::default().storage(), Path::new(DIR), info()).unwrap();
        let _ = fill(&mut writer);
        writer.finish(info().start_lsn)
    };
    let gap = try_with(&|writer| writer.pages(table, 1, &pages)).unwrap_err();
    assert!(matches!(gap, AttachError::Content(LayerContentError::Gap { key, .. }) if key.block == 0), "{gap}");
    let short = try_with(&|writer| {
        writer.object(table, 3)?;
        writer.pages(table, 0, &pages)
    });
    assert!(matches!(short, Err(AttachError::Content(LayerContentError::Gap { key, .. })) if key.block == 2));
    let twice = try_with(&|writer| {
        writer.pages(table, 0, &pages)?;
        writer.pages(table, 1, &pages)
    });
    assert!(matches!(twice, Err(AttachError::Content(LayerContentError::Twice { key })) if key.block == 1));
    assert!(matches!(try_with(&|writer| writer.pages(table, 0, &pages[1..])), Err(AttachError::Failed)));
    assert!(matches!(try_with(&|writer| writer.pages(clog(0), 31, &pages)), Err(AttachError::Failed)));
    assert!(matches!(try_with(&|writer| writer.pages(table, u32::MAX - 1, &pages)), Err(AttachError::Failed)));
}

/// A disk whose root directory is a read-only image that cannot be synced.
#[derive(Debug)]
struct OnImage(FileSystem);

impl Storage for OnImage {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.0.create_dir(path)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.0.list(dir)
    }
    fn create(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>> {
        self.0.create(path)
    }
    fn open(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>> {
        self.0.open(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.remove(path)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        if dir == Path::new("/") { Err(io::ErrorKind::InvalidInput.into()) } else { self.0.sync_dir(dir) }
    }
}

#[test]
fn directories_that_know_no_syncing_are_not_this_programs() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("timeline");
    let writer = BaseWriter::create_on(Arc::new(OnImage(FileSystem)), &path, info()).unwrap();
    writer.finish(info().start_lsn).unwrap();
}
