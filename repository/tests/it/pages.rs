//! Pages that are kept are those that would be made anew.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use pgdata::{Lsn, PAGE_SIZE, Page, PageKey, PgVersion, SlruKind};
use proptest::prelude::*;
use repository::{Engines, Options, PageStats, Repository, Timeline};
use walredo::{Redo, RedoError, RedoRequest};

use crate::fixture::{Counters, Home, Wal, attach, commits};

/// The fixture's engine, which tells how often it was asked.
#[derive(Clone, Default)]
struct Asked(Arc<AtomicUsize>);

struct AskedEngine {
    asked: Asked,
    inner: Arc<dyn Redo>,
}

impl Redo for AskedEngine {
    fn redo(&self, request: &RedoRequest<'_>, page: &mut Page) -> Result<(), RedoError> {
        self.asked.0.fetch_add(1, Ordering::Relaxed);
        self.inner.redo(request, page)
    }
}

impl Engines for Asked {
    fn engine(
        &self,
        version: PgVersion,
        control: &[u8],
    ) -> Result<Arc<dyn Redo>, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Arc::new(AskedEngine { asked: self.clone(), inner: Counters.engine(version, control)? }))
    }
}

impl Asked {
    fn open(&self, home: &Home, page_bytes: usize) -> Arc<Repository> {
        let options = Options { page_bytes, ..Options::default() };
        Repository::open(home.path(), Box::new(self.clone()), options).expect("opened")
    }

    /// How often the engine is asked while `read` runs.
    fn during(&self, read: impl FnOnce()) -> usize {
        let before = self.0.load(Ordering::Relaxed);
        read();
        self.0.load(Ordering::Relaxed) - before
    }
}

/// Two commits with other records before, between and behind them.
fn two_commits() -> (Wal, [Lsn; 4]) {
    let mut wal = Wal::new();
    let first = wal.commit();
    let between = wal.noop(100).lsn;
    let second = wal.commit();
    let behind = wal.noop(100).lsn;
    (wal, [first, between, second, behind])
}

#[test]
fn a_page_is_made_once_for_all_lsns_at_which_it_is_the_same() {
    let (home, asked) = (Home::new(), Asked::default());
    let repository = asked.open(&home, 1 << 20);
    let timeline = attach(&repository, "main");
    let (wal, [first, between, second, behind]) = two_commits();
    wal.send(&timeline, wal.end());
    for (lsn, count, made) in [(between, 1, 1), (first, 1, 0), (behind, 2, 1), (second, 2, 0), (between, 1, 0)] {
        assert_eq!(asked.during(|| assert_eq!(commits(&timeline, lsn).expect("readable"), count)), made, "at {lsn}");
    }
    let stats = repository.page_stats();
    assert_eq!((stats.hits, stats.misses), (3, 2));
    assert!((2 * PAGE_SIZE as u64..=stats.limit).contains(&stats.bytes), "{stats:?}");
    // What has room is rounded up to whole pages, for each of the cache's parts.
    assert!(stats.limit.abs_diff(1 << 20) < 1 << 17, "{stats:?}");
}

#[test]
fn who_reads_everything_once_leaves_nothing_behind() {
    let (home, asked) = (Home::new(), Asked::default());
    let repository = asked.open(&home, 1 << 20);
    let timeline = attach(&repository, "main");
    let (wal, [.., behind]) = two_commits();
    wal.send(&timeline, wal.end());
    let once = || read_once(&timeline, behind);
    assert_eq!(asked.during(|| assert_eq!((once(), once()), (2, 2))), 2);
    let stats = repository.page_stats();
    assert_eq!(stats, PageStats { limit: stats.limit, ..PageStats::default() });
}

#[test]
fn without_room_every_page_is_made_anew() {
    let (home, asked) = (Home::new(), Asked::default());
    let repository = asked.open(&home, 0);
    let timeline = attach(&repository, "main");
    let (wal, [.., behind]) = two_commits();
    wal.send(&timeline, wal.end());
    let read = || commits(&timeline, behind).expect("readable");
    assert_eq!(asked.during(|| assert_eq!((read(), read()), (2, 2))), 2);
    assert_eq!(repository.page_stats(), PageStats::default());
}

#[test]
fn timelines_do_not_see_each_others_pages() {
    let (home, asked) = (Home::new(), Asked::default());
    let repository = asked.open(&home, 1 << 20);
    let [main, other] = ["main", "other"].map(|name| attach(&repository, name));
    let (wal, [first, _, _, behind]) = two_commits();
    wal.send(&main, wal.end());
    wal.send(&other, first);
    assert_eq!(commits(&main, first).expect("readable"), 1);
    assert_eq!(asked.during(|| assert_eq!(commits(&other, first).expect("readable"), 1)), 1);
    assert!(commits(&main, behind).is_ok());
    assert!(commits(&other, behind).is_err(), "not there yet");
}

fn read_once(timeline: &Timeline, lsn: Lsn) -> u64 {
    let mut page = [0; PAGE_SIZE];
    timeline.get_page_once(PageKey::slru(SlruKind::Clog, 0), lsn, &mut page).expect("readable");
    u64::from_le_bytes(*page.first_chunk().expect("a page"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 30, ..ProptestConfig::default() })]

    /// Reads and new WAL in any order, with room for few pages.
    #[test]
    fn a_kept_page_is_the_one_that_is_made_anew(steps in prop::collection::vec((0..3u8, any::<u32>()), 1..60), room in 0..40_000usize) {
        let (home, asked) = (Home::new(), Asked::default());
        let repository = asked.open(&home, room);
        let timeline = attach(&repository, "main");
        let mut wal = Wal::new();
        for (what, number) in steps {
            if what == 0 || wal.commits.is_empty() {
                wal.commit();
                wal.noop(number as usize % 200);
                wal.send(&timeline, wal.end());
            }
            let lsn = wal.commits[number as usize % wal.commits.len()];
            prop_assert_eq!(commits(&timeline, lsn).expect("readable"), wal.commits_up_to(lsn));
            prop_assert_eq!(read_once(&timeline, lsn), wal.commits_up_to(lsn));
        }
    }
}
