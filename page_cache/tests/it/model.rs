//! The cache against a naive model that keeps the whole cluster for every LSN.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use page_cache::{Base, Batch, LookupError, Options, PageCache, PageVersion};
use pgdata::{Change, DbTag, Fork, Lsn, Object, PAGE_SIZE, Page, PageEffect, PageKey, RelTag, SlruKind};
use proptest::prelude::*;

use crate::disk::{Disk, random};
use crate::wal::{BASE_BLOBS, Record, Wal, append_rest, attach, base_objects, base_page, clog, info, open_with, rel};

/// What a page was made of: the base image's page or zeros or nothing, and the records since.
#[derive(Clone, PartialEq, Debug)]
struct ModelPage {
    /// Known content that the records below apply to; `None` for a page that nothing was written to.
    made: Option<Vec<Step>>,
    records: Vec<(PageKey, Lsn, PageEffect)>,
}

#[derive(Clone, PartialEq, Debug)]
enum Step {
    Image(PageKey),
    Zero,
    /// A record, as one of this page's.
    Record(PageKey, Lsn),
}

const ZERO: ModelPage = ModelPage { made: None, records: Vec::new() };

impl ModelPage {
    fn image(key: PageKey) -> Self {
        ModelPage { made: Some(vec![Step::Image(key)]), records: Vec::new() }
    }

    fn change(&mut self, key: PageKey, lsn: Lsn, effect: PageEffect) {
        if effect == PageEffect::Replace {
            *self = ModelPage { made: Some(vec![Step::Record(key, lsn)]), records: Vec::new() };
        } else if !self.records.iter().any(|(_, at, _)| *at == lsn) && self.made != Some(vec![Step::Record(key, lsn)]) {
            self.records.push((key, lsn, effect));
        }
    }

    /// How the page comes about; `None` if a record changes what is not there.
    fn steps(&self, may_pass_over: bool) -> Option<Vec<Step>> {
        let mut records = &self.records[..];
        let mut steps = self.made.clone().unwrap_or_else(|| vec![Step::Zero]);
        while self.made.is_none() && records.first().is_some_and(|(_, _, effect)| *effect == PageEffect::Modify) {
            if !may_pass_over {
                return None;
            }
            records = &records[1..];
        }
        steps.extend(records.iter().map(|(key, lsn, _)| Step::Record(*key, *lsn)));
        Some(steps)
    }

    fn copied(&self, may_pass_over: bool) -> ModelPage {
        match self.steps(may_pass_over) {
            Some(steps) => ModelPage { made: Some(steps), records: Vec::new() },
            None => self.clone(),
        }
    }
}

#[derive(Clone, Default)]
struct Model {
    consistent: Lsn,
    objects: BTreeMap<Object, Vec<ModelPage>>,
    blobs: BTreeMap<String, Vec<u8>>,
}

fn in_db(object: &Object, tag: DbTag) -> bool {
    matches!(object, Object::Relation(rel) if rel.database() == tag)
}

fn db_dir(tag: DbTag) -> String {
    pgdata::database_path(info().version, tag) + "/"
}

impl Model {
    fn base(consistent: Lsn) -> Model {
        let pages = |object, blocks| (0..blocks).map(|block| ModelPage::image(PageKey { object, block })).collect();
        Model {
            consistent,
            objects: base_objects().into_iter().map(|(object, blocks)| (object, pages(object, blocks))).collect(),
            blobs: BASE_BLOBS.into_iter().map(|(name, content)| (name.to_owned(), content.to_vec())).collect(),
        }
    }

    /// Whether a record may say this: nobody changes pages that are not there in a consistent database.
    fn allows(&self, lsn: Lsn, change: &Change) -> bool {
        match change {
            Change::Page { key, effect: PageEffect::Modify } => {
                lsn <= self.consistent
                    || self.objects.get(&key.object).is_some_and(|pages| (key.block as usize) < pages.len())
            }
            Change::CopyDatabase { from, to } => from != to,
            _ => true,
        }
    }

    fn apply(&mut self, lsn: Lsn, change: &Change) {
        match change {
            Change::Page { key, effect } => self.page(lsn, *key, *effect),
            Change::Create(object) => {
                self.objects.entry(*object).or_default();
            }
            Change::Truncate { object, blocks } => {
                if let Some(pages) = self.objects.get_mut(object) {
                    pages.truncate(*blocks as usize);
                }
            }
            Change::Drop(object) => drop(self.objects.remove(object)),
            Change::TruncateSlru { kind, cutoff_page } => self.objects.retain(|object, _| match object {
                Object::Slru(s) => s.kind != *kind || !kind.segment_is_before(s.segno, *cutoff_page),
                Object::Relation(_) => true,
            }),
            Change::DropSlru(kind) => {
                self.objects.retain(|object, _| !matches!(object, Object::Slru(s) if s.kind == *kind));
            }
            Change::CopyDatabase { from, to } => self.copy(lsn, *from, *to),
            Change::DropDatabase(tag) => self.drop_database(*tag),
            Change::Blob { name, content } => drop(self.blobs.insert(name.clone(), content.clone())),
            Change::RemoveBlob { name } => drop(self.blobs.remove(name)),
            Change::Cluster(_) | Change::NextXid(_) | Change::NextMulti { .. } => {}
        }
    }

    fn page(&mut self, lsn: Lsn, key: PageKey, effect: PageEffect) {
        let there = self.objects.get(&key.object).is_some_and(|pages| (key.block as usize) < pages.len());
        match effect {
            PageEffect::ModifyIfPresent if !there => return,
            PageEffect::Modify if !there => {
                self.objects.entry(key.object).or_default();
                return;
            }
            _ => {}
        }
        let pages = self.objects.entry(key.object).or_default();
        pages.resize(pages.len().max(key.block as usize + 1), ZERO);
        pages[key.block as usize].change(key, lsn, effect);
    }

    fn drop_database(&mut self, tag: DbTag) {
        self.objects.retain(|object, _| !in_db(object, tag));
        self.blobs.retain(|name, _| !name.starts_with(&db_dir(tag)));
    }

    fn copy(&mut self, lsn: Lsn, from: DbTag, to: DbTag) {
        self.drop_database(to);
        let early = lsn < self.consistent;
        let sources: Vec<_> = self.objects.iter().filter(|(object, _)| in_db(object, from)).collect();
        let copies: Vec<_> = sources
            .into_iter()
            .filter_map(|(object, pages)| {
                let Object::Relation(rel) = object else { return None };
                let object = Object::Relation(RelTag { spc: to.spc, db: to.db, ..*rel });
                Some((object, pages.iter().map(|page| page.copied(early)).collect()))
            })
            .collect();
        self.objects.extend(copies);
        let (old, new) = (db_dir(from), db_dir(to));
        let blobs = self.blobs.iter().filter_map(|(name, c)| Some((new.clone() + name.strip_prefix(&old)?, c.clone())));
        let blobs: Vec<_> = blobs.collect();
        self.blobs.extend(blobs);
    }
}

fn databases() -> [DbTag; 4] {
    [(1663, 1), (1663, 2), (9, 1), (1663, 3)].map(|(spc, db)| DbTag { spc, db })
}

fn any_object() -> impl Strategy<Value = Object> {
    let relation = (0..4usize, 100..102u32, prop_oneof![Just(Fork::Main), Just(Fork::Vm)]).prop_map(|(db, r, fork)| {
        let tag = databases()[db];
        rel(tag.spc, tag.db, r, fork)
    });
    prop_oneof![6 => relation, 1 => (0..3u32).prop_map(clog)]
}

fn any_change() -> impl Strategy<Value = Change> {
    use PageEffect::{Modify, ModifyIfPresent, ModifyOrExtend, Replace};
    let effect =
        prop_oneof![2 => Just(Replace), 3 => Just(Modify), 1 => Just(ModifyOrExtend), 1 => Just(ModifyIfPresent)];
    let blob = prop_oneof![
        (0..4usize, 0..2u32).prop_map(|(db, n)| format!("{}f{n}", db_dir(databases()[db]))),
        Just("base/1/PG_VERSION".to_owned()),
        Just("pg_hba.conf".to_owned()),
    ];
    prop_oneof![
        16 => (any_object(), 0..6u32, effect).prop_map(|(object, block, effect)| Change::Page { key: PageKey { object, block }, effect }),
        2 => any_object().prop_map(Change::Create),
        4 => (any_object(), 0..5u32).prop_map(|(object, blocks)| Change::Truncate { object, blocks }),
        2 => any_object().prop_map(Change::Drop),
        1 => (0..100u32).prop_map(|cutoff_page| Change::TruncateSlru { kind: SlruKind::Clog, cutoff_page }),
        1 => Just(Change::DropSlru(SlruKind::Clog)),
        3 => (0..4usize, 0..4usize).prop_map(|(a, b)| Change::CopyDatabase { from: databases()[a], to: databases()[b] }),
        1 => (0..4usize).prop_map(|db| Change::DropDatabase(databases()[db])),
        2 => (blob.clone(), any::<u8>()).prop_map(|(name, byte)| Change::Blob { name, content: vec![byte; 3] }),
        1 => blob.prop_map(|name| Change::RemoveBlob { name }),
    ]
}

/// Whether a record may hold both: a copy needs a record in which nothing else happens to its template or to the whole copy.
fn go_together(changes: &[Change], change: &Change) -> bool {
    let is_copy = |change: &Change| matches!(change, Change::CopyDatabase { .. });
    changes.is_empty() || (!is_copy(change) && !changes.iter().any(is_copy))
}

struct World {
    disk: Disk,
    options: Options,
    cache: PageCache,
    /// What was ingested, in batches.
    batches: Vec<Vec<(Record, Vec<Change>)>>,
    records: BTreeMap<Lsn, Record>,
    history: Vec<(Lsn, Model)>,
    images: Images,
    /// What each content was made of when it was seen first.
    versions: RefCell<HashMap<PageVersion, Vec<Step>>>,
}

/// Images of pages that were kept: what each is made of.
#[derive(Default)]
struct Images(Vec<Vec<Step>>);

impl Images {
    const MARK: &[u8; 8] = b"an image";

    /// A page whose content stands for what it is made of.
    fn page(&mut self, steps: Vec<Step>) -> Page {
        let mut page = [0; PAGE_SIZE];
        page[..8].copy_from_slice(Self::MARK);
        page[8..16].copy_from_slice(&(self.0.len() as u64).to_le_bytes());
        self.0.push(steps);
        page
    }

    fn steps(&self, page: &Page) -> Option<Vec<Step>> {
        let number = u64::from_le_bytes(page[8..16].try_into().unwrap());
        (&page[..8] == Self::MARK).then(|| self.0[number as usize].clone())
    }

    /// Keeps images of some of the pages that there are.
    fn keep_some(&mut self, cache: &PageCache, model: &Model, lsn: Lsn, seed: &mut u64) {
        let all = model.objects.iter().flat_map(|(object, pages)| (0..).zip(pages).map(|page| (*object, page)));
        let some = all.filter(|_| random(seed).is_multiple_of(4));
        let made: Vec<(PageKey, Page)> = some
            .filter_map(|(object, (block, page))| Some((PageKey { object, block }, self.page(page.steps(false)?))))
            .collect();
        let pages: Vec<(PageKey, &Page)> = made.iter().map(|(key, page)| (*key, page)).collect();
        cache.keep_images(lsn, &pages).unwrap();
    }
}

fn ingest(cache: &PageCache, records: &[(Record, Vec<Change>)]) {
    let mut batch = Batch::new();
    for (record, changes) in records {
        batch.push(record.start, record.lsn, record.bytes.len(), changes.iter().cloned());
    }
    cache.ingest_batch(&mut batch).unwrap();
    cache.advance(records.last().unwrap().0.lsn).unwrap();
}

fn play(plan: &[(Vec<Change>, u16)], window: usize, consistent_at: usize, batch_size: usize) -> World {
    let mut wal = Wal::new();
    let written: Vec<Record> = plan.iter().map(|(_, payload)| wal.record(usize::from(*payload))).collect();
    let consistent = written.get(consistent_at).map_or(info().start_lsn, |record| record.lsn);
    let disk = Disk::default();
    attach(&disk, consistent).unwrap();
    let options = Options { window_bytes: window, image_file_pages: 5, ..Options::default() };
    let cache = open_with(&disk, options);
    cache.use_images();
    append_rest(&cache, &wal);
    let mut model = Model::base(consistent);
    let mut history = vec![(info().start_lsn, model.clone())];
    let (mut batches, mut images, mut seed) = (Vec::new(), Images::default(), window as u64 + consistent.0);
    for (plans, records) in plan.chunks(batch_size).zip(written.chunks(batch_size)) {
        let mut batch: Vec<(Record, Vec<Change>)> = Vec::new();
        for ((changes, _), record) in plans.iter().zip(records) {
            let mut allowed: Vec<Change> = Vec::new();
            for change in changes {
                if model.allows(record.lsn, change) && go_together(&allowed, change) {
                    model.apply(record.lsn, change);
                    allowed.push(change.clone());
                }
            }
            batch.push((record.clone(), allowed));
            history.push((record.lsn, model.clone()));
        }
        ingest(&cache, &batch);
        batches.push(batch);
        let last = records.last().unwrap().lsn;
        if last >= consistent {
            images.keep_some(&cache, &model, last, &mut seed);
        }
    }
    cache.wal().sync().unwrap();
    history.retain(|(lsn, _)| *lsn >= consistent);
    let records = written.into_iter().map(|record| (record.lsn, record)).collect();
    World { disk, options, cache, batches, records, history, images, versions: RefCell::default() }
}

impl World {
    fn steps(&self, key: PageKey, lsn: Lsn, template: bool) -> Result<Vec<Step>, LookupError> {
        let mut page = [0xEE; PAGE_SIZE];
        let find = if template { PageCache::lookup_template } else { PageCache::lookup };
        let found = find(&self.cache, key, lsn, &mut page)?;
        let mut steps = match found.base {
            Base::None => Vec::new(),
            Base::Zero => {
                assert_eq!(page, [0; PAGE_SIZE]);
                vec![Step::Zero]
            }
            Base::Other { key, lsn } => self.steps(key, lsn, true)?,
            Base::Page if self.images.steps(&page).is_some() => self.images.steps(&page).unwrap(),
            Base::Page => {
                let keys = base_objects()
                    .into_iter()
                    .flat_map(|(object, n)| (0..n).map(move |block| PageKey { object, block }));
                let image =
                    keys.into_iter().find(|key| base_page(*key) == page).expect("the page is one of the base image's");
                vec![Step::Image(image)]
            }
        };
        for record in &found.records {
            assert_eq!(record[..], self.records[&record.lsn()].bytes[..]);
            assert!(record.lsn() <= lsn);
            steps.push(Step::Record(found.key, record.lsn()));
        }
        Ok(steps)
    }

    /// What has the same name is made of the same.
    fn check_version(&self, key: PageKey, lsn: Lsn, found: &Result<Vec<Step>, LookupError>) {
        let version = self.cache.page_version(key, lsn);
        match found {
            Ok(steps) => {
                let Some(version) = version.expect("a page that is found has a history") else { return };
                assert_eq!(
                    self.versions.borrow_mut().entry(version).or_insert_with(|| steps.clone()),
                    steps,
                    "{version:?} at {lsn}"
                );
            }
            // Nobody keeps a page that cannot be made.
            Err(LookupError::NoBase { .. }) => {
                let known = self.versions.borrow();
                assert!(version.expect("a history").is_none_or(|version| !known.contains_key(&version)));
            }
            Err(error) => assert_eq!(version.expect_err("the same error").to_string(), error.to_string()),
        }
    }

    fn check_page(&self, key: PageKey, lsn: Lsn, model: &Model) {
        let found = self.steps(key, lsn, false);
        self.check_version(key, lsn, &found);
        let what = format!("{key} at {lsn}: {found:?}");
        match model.objects.get(&key.object) {
            None => assert!(matches!(found, Err(LookupError::NoObject { .. })), "{what}"),
            Some(pages) => match pages.get(key.block as usize) {
                None => {
                    let expected = pages.len() as u32;
                    assert!(matches!(found, Err(LookupError::Beyond { size, .. }) if size == expected), "{what}");
                }
                Some(page) => match page.steps(false) {
                    None => assert!(matches!(found, Err(LookupError::NoBase { .. })), "{what}"),
                    Some(steps) => assert_eq!(found.expect(&what), steps, "{what}"),
                },
            },
        }
    }

    /// A run of pages is what each of them is alone.
    fn check_run(&self, object: Object, size: u32, lsn: Lsn) {
        let alone: Result<Vec<_>, _> = (0..size)
            .map(|block| {
                let mut page = [0xEE; PAGE_SIZE];
                self.cache.lookup(PageKey { object, block }, lsn, &mut page).map(|found| (page, found))
            })
            .collect();
        let mut pages = vec![[0xEE; PAGE_SIZE]; size as usize];
        let run = self.cache.lookup_run(object, 0, lsn, &mut pages);
        let (alone, run) = match (alone, run) {
            (Ok(alone), Ok(run)) => (alone, run),
            (alone, run) => {
                assert_eq!(alone.map(drop).unwrap_err().to_string(), run.map(drop).unwrap_err().to_string());
                return;
            }
        };
        assert_eq!(run.len(), size as usize);
        for (((page, one), found), in_run) in alone.iter().zip(&run).zip(&pages) {
            assert_eq!((page, one.key, one.base), (in_run, found.key, found.base), "{object} at {lsn}");
            let lsns = |records: &[page_cache::RecordBytes]| records.iter().map(|r| r.lsn()).collect::<Vec<_>>();
            assert_eq!(lsns(&one.records), lsns(&found.records));
        }
    }

    fn check_listings(&self, lsn: Lsn, model: &Model) {
        let expected: Vec<_> = model.objects.iter().map(|(object, pages)| (*object, pages.len() as u32)).collect();
        assert_eq!(self.cache.objects(lsn).unwrap(), expected, "at {lsn}");
        for tag in databases() {
            let relations = expected.iter().filter(|(object, _)| in_db(object, tag));
            let found = self.cache.relations_of(tag, lsn).unwrap();
            assert_eq!(
                found.into_iter().map(|(rel, n)| (rel.into(), n)).collect::<Vec<_>>(),
                relations.copied().collect::<Vec<_>>()
            );
        }
        for db in databases().map(|tag| tag.db).into_iter().collect::<BTreeSet<_>>() {
            let sizes: Vec<u64> = expected
                .iter()
                .filter_map(|(object, n)| matches!(object, Object::Relation(r) if r.db == db).then_some(u64::from(*n)))
                .collect();
            let bytes = (!sizes.is_empty()).then(|| sizes.iter().sum::<u64>() * PAGE_SIZE as u64);
            assert_eq!(self.cache.database_size(db, lsn).unwrap(), bytes);
        }
        assert_eq!(self.cache.blobs(lsn).unwrap(), model.blobs.keys().cloned().collect::<Vec<_>>(), "at {lsn}");
        for (name, content) in &model.blobs {
            assert_eq!(self.cache.blob(name, lsn).unwrap().as_ref(), Some(content), "{name} at {lsn}");
        }
    }

    /// Opens the timeline again, with all that was ingested, and the images that are on disk.
    fn open_again(&mut self) {
        self.cache = open_with(&self.disk, self.options);
        self.batches.iter().for_each(|batch| ingest(&self.cache, batch));
        assert_eq!(self.cache.remove_void_images().unwrap(), 0);
        self.cache.use_images();
    }

    /// Changes one byte in each file of images.
    fn damage_images(&self) {
        for path in self.disk.files().into_iter().filter(|path| path.parent().is_some_and(|p| p.ends_with("images"))) {
            let mut bytes = self.disk.read(&path);
            let at = bytes.len() * 3 / 7;
            bytes[at] ^= 4;
            self.disk.overwrite(&path, bytes);
        }
    }

    fn check(&self) {
        let mut objects: BTreeSet<Object> = base_objects().into_iter().map(|(object, _)| object).collect();
        objects.extend(self.history.iter().flat_map(|(_, model)| model.objects.keys().copied()));
        for (lsn, model) in &self.history {
            self.check_listings(*lsn, model);
            for object in &objects {
                let size = model.objects.get(object).map(|pages| pages.len() as u32);
                assert_eq!(self.cache.size(*object, *lsn).unwrap(), size, "{object} at {lsn}");
                size.into_iter().for_each(|size| self.check_run(*object, size, *lsn));
                (0..7).for_each(|block| self.check_page(PageKey { object: *object, block }, *lsn, model));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_a_model_that_keeps_everything(
        plan in prop::collection::vec((prop::collection::vec(any_change(), 0..4), 0..3000u16), 1..50),
        window in prop_oneof![Just(0usize), Just(20_000), Just(1 << 20)],
        consistent_at in 0..100usize,
        batch_size in 1..8usize,
    ) {
        let mut world = play(&plan, window, consistent_at, batch_size);
        world.check();
        world.open_again();
        world.check();
        world.damage_images();
        world.check();
        world.open_again();
        world.check();
    }
}
