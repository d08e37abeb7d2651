//! Images of pages: when they are wanted, and what becomes of them in crashes, on full and on damaged disks.

use std::path::{Path, PathBuf};

use page_cache::{Base, KeepImagesError, Options, PageCache};
use pgdata::{Change, Fork, Lsn, PAGE_SIZE, Page, PageEffect, PageKey};

use crate::disk::{Disk, Fault, random};
use crate::wal::{DIR, Record, Wal, append_rest, attach, info, open_with, rel};

/// Pages in a file: few, so that there are several files.
const FILE_PAGES: u32 = 4;

fn options() -> Options {
    Options { window_bytes: 0, image_percent: 10_000, image_maker: 3, image_file_pages: FILE_PAGES }
}

fn key(block: u32) -> PageKey {
    PageKey { object: rel(1663, 1, 100, Fork::Main), block }
}

/// A timeline on a disk, and all WAL that it may have.
struct Lab {
    disk: Disk,
    cache: PageCache,
    wal: Wal,
    records: Vec<(Record, u32)>,
}

impl Lab {
    fn new() -> Lab {
        let disk = Disk::default();
        attach(&disk, info().start_lsn).unwrap();
        let cache = open_with(&disk, options());
        cache.use_images();
        Lab { disk, cache, wal: Wal::new(), records: Vec::new() }
    }

    /// A record that changes a page; it is durable and can be seen.
    fn record(&mut self, block: u32) -> Lsn {
        let record = self.wal.record(30 + block as usize);
        append_rest(&self.cache, &self.wal);
        self.cache.wal().sync().unwrap();
        let lsn = record.lsn;
        self.records.push((record, block));
        self.take_up(self.records.len() - 1);
        lsn
    }

    fn take_up(&self, at: usize) {
        let (record, block) = &self.records[at];
        let change = Change::Page { key: key(*block), effect: PageEffect::Modify };
        self.cache.ingest(record.start, record.lsn, record.bytes.len(), &[change]).unwrap();
        self.cache.advance(record.lsn).unwrap();
    }

    /// What the page is: how many of its records have been applied to it.
    fn content(&self, block: u32, lsn: Lsn) -> Page {
        let applied = self.records.iter().filter(|(record, of)| *of == block && record.lsn <= lsn).count();
        page(block, applied)
    }

    fn keep(&self, blocks: &[u32]) -> Result<usize, KeepImagesError> {
        let lsn = self.cache.last_record_lsn();
        let made: Vec<_> = blocks.iter().map(|block| (key(*block), self.content(*block, lsn))).collect();
        let pages: Vec<_> = made.iter().map(|(key, page)| (*key, page)).collect();
        self.cache.keep_images(lsn, &pages)
    }

    fn drop_last_record(&mut self) {
        self.records.pop();
    }

    /// Every page is right at the LSN of every record up to `last`; how many of them were made of images.
    fn check(&self, last: Lsn) -> usize {
        let mut images = 0;
        for (record, _) in self.records.iter().filter(|(record, _)| record.lsn <= last) {
            for block in 0..4 {
                let mut page = [0; PAGE_SIZE];
                let found = self.cache.lookup(key(block), record.lsn, &mut page).unwrap();
                assert_eq!(found.base, Base::Page);
                let (text, applied) = page.split_at(8);
                let from_image = text == b"an image";
                images += usize::from(from_image);
                let before = if from_image { u64::from_le_bytes(applied[..8].try_into().unwrap()) as usize } else { 0 };
                let expected = self.content(block, record.lsn);
                let count = u64::from_le_bytes(expected[8..16].try_into().unwrap()) as usize;
                assert_eq!(before + found.records.len(), count, "block {block} at {}", record.lsn);
                if from_image {
                    assert_eq!(page, self::page(block, before));
                }
            }
        }
        images
    }

    /// The timeline as another process finds it, with all of its WAL taken up that is there.
    fn open_again(&mut self, disk: Disk) -> Lsn {
        self.cache = open_with(&disk, options());
        self.disk = disk;
        let end = self.cache.wal().end();
        let there = self.records.iter().take_while(|(record, _)| record.lsn <= end).count();
        (0..there).for_each(|at| self.take_up(at));
        self.records.truncate(there);
        self.cache.last_record_lsn()
    }

    /// The last segment loses its end.
    fn lose_wal_after(&mut self, keep: Lsn) {
        let in_wal = |path: &PathBuf| path.parent() == Some(&Path::new(DIR).join("wal"));
        let file = self.disk.files().into_iter().rfind(in_wal).unwrap();
        let kept = keep.bytes_since(self.wal.start) as usize;
        self.disk.overwrite(&file, self.disk.read(&file)[..kept].to_vec());
        self.wal.bytes.truncate(kept);
    }

    fn use_images(&self) -> usize {
        let removed = self.cache.remove_void_images().unwrap();
        self.cache.use_images();
        removed
    }

    fn image_files(&self) -> Vec<PathBuf> {
        let files = self.disk.files().into_iter();
        files.filter(|path| path.parent() == Some(&Path::new(DIR).join("images"))).collect()
    }
}

fn page(block: u32, applied: usize) -> Page {
    let mut page = [block as u8; PAGE_SIZE];
    page[..8].copy_from_slice(b"an image");
    page[8..16].copy_from_slice(&(applied as u64).to_le_bytes());
    page
}

/// Some records of each page, with images of some pages after each of them.
fn filled(turns: u32) -> Lab {
    let mut lab = Lab::new();
    let mut seed = 5;
    for turn in 0..turns {
        for block in 0..4 {
            lab.record(block);
        }
        let blocks: Vec<u32> = (0..4).filter(|_| random(&mut seed).is_multiple_of(2)).collect();
        assert_eq!(lab.keep(&blocks).unwrap(), blocks.len(), "turn {turn}");
    }
    lab
}

#[test]
fn images_are_wanted_of_pages_with_many_records() {
    let mut lab = Lab::new();
    for turn in 0..40 {
        lab.record(0);
        if turn % 4 == 0 {
            lab.record(1);
        }
    }
    assert!(lab.cache.has_grown_pages());
    assert_eq!(lab.cache.pages_to_image(), [key(0)]);
    assert!(lab.cache.pages_to_image().is_empty(), "it was said already");
    let before = lab.cache.last_record_lsn();
    assert_eq!(lab.keep(&[0]).unwrap(), 1);
    assert_eq!(lab.cache.pending_records(key(0), before).unwrap(), 0);
    assert_eq!(lab.cache.pending_records(key(0), Lsn(before.0 - 1)).unwrap(), 39);
    // The same again is of no use.
    assert_eq!(lab.keep(&[0]).unwrap(), 0);
    for _ in 0..15 {
        lab.record(0);
    }
    assert!(lab.cache.pages_to_image().is_empty());
    assert_eq!(lab.cache.pending_records(key(0), lab.cache.last_record_lsn()).unwrap(), 15);
    for _ in 0..9 {
        lab.record(0);
    }
    assert_eq!(lab.cache.pages_to_image(), [key(0)]);
    assert!(lab.check(lab.cache.last_record_lsn()) > 20);
    assert_eq!((lab.cache.status().images, lab.cache.status().damaged_images), (1, 0));
}

#[test]
fn a_record_that_makes_the_page_anew_leaves_nothing_to_gain() {
    let mut lab = Lab::new();
    for turn in 0..32 {
        let record = lab.wal.record(10);
        append_rest(&lab.cache, &lab.wal);
        let effect = if turn == 20 { PageEffect::Replace } else { PageEffect::Modify };
        lab.cache
            .ingest(record.start, record.lsn, record.bytes.len(), &[Change::Page { key: key(2), effect }])
            .unwrap();
        lab.cache.advance(record.lsn).unwrap();
    }
    assert!(lab.cache.pages_to_image().is_empty());
}

#[test]
fn without_disk_for_images_none_are_wanted() {
    let disk = Disk::default();
    attach(&disk, info().start_lsn).unwrap();
    let cache = open_with(&disk, Options { image_percent: 0, ..options() });
    let mut lab = Lab { disk, cache, wal: Wal::new(), records: Vec::new() };
    lab.cache.use_images();
    for _ in 0..100 {
        lab.record(0);
    }
    assert!(!lab.cache.has_grown_pages() && lab.cache.pages_to_image().is_empty());
}

#[test]
fn images_are_there_after_a_restart() {
    let mut lab = filled(20);
    let (images, bytes) = (lab.cache.status().images, lab.cache.status().image_bytes);
    let read = lab.check(lab.cache.last_record_lsn());
    assert!(images > 30 && read > 100 && lab.image_files().len() > 7, "{images} {read}");
    for _ in 0..2 {
        let last = lab.open_again(lab.disk.clone());
        // Not before all WAL was taken up.
        assert_eq!(lab.check(last), 0);
        assert!(matches!(lab.keep(&[0]), Err(KeepImagesError::NotInUse)));
        assert_eq!(lab.use_images(), 0);
        assert_eq!((lab.check(last), lab.cache.status().images), (read, images));
        assert_eq!(lab.cache.status().image_bytes, bytes);
    }
    lab.record(3);
    lab.keep(&[3]).unwrap();
    let last = lab.open_again(lab.disk.clone());
    lab.use_images();
    assert!(lab.check(last) > read);
    assert_eq!(lab.cache.status().images, images + 1);
}

#[test]
fn no_crash_leaves_an_image_that_is_wrong() {
    let (mut crashes, mut read) = (0, 0);
    for step in 1.. {
        let mut finished = false;
        for seed in 0..3 {
            let mut lab = filled(6);
            lab.disk.fault_at(lab.disk.steps() + step, Fault::Crash);
            finished = (1..4).all(|count| lab.keep(&[0, 1, 2, 3][..count]).is_ok());
            let last = lab.open_again(lab.disk.after_crash(seed * 7919 + step as u64));
            assert_eq!(lab.use_images(), 0);
            read += lab.check(last);
            // It goes on from there.
            lab.record(1);
            lab.keep(&[0, 1, 2, 3]).unwrap();
            let last = lab.open_again(lab.disk.after_crash(seed));
            lab.use_images();
            read += lab.check(last);
        }
        if finished {
            break;
        }
        crashes += 1;
    }
    assert!(crashes > 5 && read > 100, "{crashes} crashes, {read} images");
}

/// The WAL that images were made of is gone, and what comes in its place is other WAL.
#[test]
fn images_of_wal_that_is_gone_are_never_seen_again() {
    let mut crashes = 0;
    for step in 1.. {
        let mut lab = filled(8);
        let all = lab.cache.status().images;
        let keep = lab.records[lab.records.len() / 2].0.lsn;
        lab.lose_wal_after(keep);
        let last = lab.open_again(lab.disk.copy());
        assert_eq!(last, keep);
        lab.disk.fault_at(lab.disk.steps() + step, Fault::Crash);
        let finished = lab.cache.remove_void_images().is_ok();
        lab.disk.fault_at(0, Fault::Fail);
        if !finished {
            // Nothing else is done before it has succeeded, by whichever process.
            let disk = lab.disk.after_crash(step as u64);
            lab.open_again(disk);
            lab.use_images();
            crashes += 1;
        } else {
            lab.cache.use_images();
        }
        assert!(lab.cache.status().images < all && lab.cache.status().images > 0);
        assert!(lab.check(last) > 0);
        // The same LSNs again, for other pages.
        for turn in 0..40 {
            lab.record(turn % 2);
        }
        let last = lab.open_again(lab.disk.after_crash(step as u64 * 31));
        assert_eq!(lab.use_images(), 0);
        lab.check(last);
        if finished {
            break;
        }
    }
    assert!(crashes > 2, "{crashes}");
}

/// After a power loss some file systems give a file what its blocks held before it was written: here, a removed file of the same number, with images of
/// WAL that is gone.
#[test]
fn what_a_removed_file_held_is_not_believed_in_a_new_one() {
    for blocks in [&[0, 1, 2][..], &[0, 1, 2, 3]] {
        let mut lab = Lab::new();
        for turn in 0..12 {
            lab.record(turn % 4);
        }
        lab.keep(blocks).unwrap();
        let [file] = &lab.image_files()[..] else { panic!("{:?}", lab.image_files()) };
        let before = lab.disk.read(file);
        let keep = lab.records[4].0.lsn;
        lab.lose_wal_after(keep);
        let last = lab.open_again(lab.disk.copy());
        assert_eq!((last, lab.use_images(), lab.image_files().len()), (keep, blocks.len(), 0));
        lab.open_again(lab.disk.copy());
        lab.use_images();
        for turn in 0..40 {
            lab.record(turn % 2);
        }
        lab.keep(&[3]).unwrap();
        assert_eq!(&lab.image_files()[..], std::slice::from_ref(file));
        for seed in 0..20 {
            let crashed = lab.disk.after_crash(seed);
            let durable = !crashed.files().contains(file) || crashed.read(file).len() >= 64;
            assert!(durable, "the header is what was there before");
        }
        let mut bytes = lab.disk.read(file);
        bytes.extend_from_slice(&before[bytes.len()..]);
        lab.disk.overwrite(file, bytes);
        let last = lab.open_again(lab.disk.copy());
        lab.use_images();
        assert!(lab.check(last) > 0);
    }
}

#[test]
fn a_damaged_image_is_not_believed_and_not_needed() {
    let mut lab = filled(12);
    let last = lab.cache.last_record_lsn();
    let (disk, files, read) = (lab.disk.clone(), lab.image_files(), lab.check(last));
    let (mut found_when_opened, mut found_when_read) = (0, 0);
    for file in &files {
        let bytes = disk.read(file);
        // Every byte of the header, the first image's name, and the index; of the pages some.
        let behind = bytes.len() - bytes.len() % PAGE_SIZE % 2000;
        for at in (0..100).step_by(3).chain((100..behind).step_by(1511)).chain((behind..bytes.len()).step_by(3)) {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << (at % 8);
            let damaged = disk.copy();
            damaged.overwrite(file, changed);
            assert_eq!(lab.open_again(damaged), last);
            lab.use_images();
            assert!(lab.check(last) > read / 2);
            found_when_read += lab.cache.status().damaged_images;
            let put_aside = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "damaged");
            if lab.image_files().iter().any(put_aside) {
                found_when_opened += 1;
                // The next file is not given its name.
                lab.record(0);
                lab.keep(&[0, 1, 2, 3]).unwrap();
                let last = lab.open_again(lab.disk.copy());
                lab.use_images();
                lab.check(last);
                assert!(lab.image_files().iter().any(put_aside));
                lab.drop_last_record();
            }
        }
    }
    assert!(found_when_opened > 50 && found_when_read > 50, "{found_when_opened} {found_when_read}");
}

#[test]
fn an_image_in_the_place_of_another_is_not_believed() {
    const ENTRY: usize = 32 + PAGE_SIZE;
    let lab = filled(12);
    for file in lab.image_files() {
        let mut bytes = lab.disk.read(&file);
        let (first, rest) = bytes[64..].split_at_mut(ENTRY);
        if let Some(second) = rest.get_mut(..ENTRY) {
            first.swap_with_slice(second);
        }
        lab.disk.overwrite(&file, bytes);
    }
    lab.check(lab.cache.last_record_lsn());
    assert!(lab.cache.status().damaged_images > 4);
}

#[test]
fn an_image_changes_neither_a_page_nor_its_name() {
    let mut lab = Lab::new();
    for turn in 0..40 {
        lab.record(turn % 4);
    }
    let last = lab.cache.last_record_lsn();
    let names = |lab: &Lab| [0, 1, 2, 3].map(|block| lab.cache.page_version(key(block), last).unwrap().unwrap());
    let before = names(&lab);
    lab.keep(&[0, 1, 2, 3]).unwrap();
    assert_eq!(names(&lab), before);
}

/// Neighbours whose images lie side by side, and neighbours whose images do not.
#[test]
fn a_run_of_pages_with_images_is_what_each_page_is() {
    let lab = filled(12);
    for (record, _) in &lab.records {
        for count in 1..=4 {
            let mut pages = vec![[0; PAGE_SIZE]; count];
            let found = lab.cache.lookup_run(key(0).object, 0, record.lsn, &mut pages).unwrap();
            for (block, (found, in_run)) in (0..).zip(found.iter().zip(&pages)) {
                let mut alone = [0; PAGE_SIZE];
                let single = lab.cache.lookup(key(block), record.lsn, &mut alone).unwrap();
                assert_eq!((&alone, single.records.len()), (in_run, found.records.len()));
            }
        }
    }
    assert_eq!(lab.cache.status().damaged_images, 0);
}

#[test]
fn pages_that_grew_before_the_timeline_can_be_read_are_not_forgotten() {
    let mut wal = Wal::new();
    let consistent = (0..20).map(|_| wal.record(30).lsn).last().unwrap();
    let disk = Disk::default();
    attach(&disk, consistent).unwrap();
    let cache = open_with(&disk, options());
    let mut lab = Lab { disk, cache, wal: Wal::new(), records: Vec::new() };
    lab.cache.use_images();
    for _ in 0..19 {
        lab.record(0);
        assert!(lab.cache.pages_to_image().is_empty());
    }
    assert_eq!(lab.record(0), consistent);
    assert_eq!(lab.cache.pages_to_image(), [key(0)]);
}

#[test]
fn an_image_that_changes_while_it_is_in_use_is_replaced_by_its_records() {
    let lab = filled(12);
    let last = lab.cache.last_record_lsn();
    let images = lab.cache.status().images;
    let file = &lab.image_files()[2];
    let mut bytes = lab.disk.read(file);
    bytes[5000] ^= 1;
    lab.disk.overwrite(file, bytes);
    lab.check(last);
    assert_eq!((lab.cache.status().images, lab.cache.status().damaged_images), (images - 1, 1));
    // A run of pages, too.
    let file = &lab.image_files()[3];
    lab.disk.overwrite(file, Vec::new());
    let object = key(0).object;
    for (record, _) in &lab.records {
        let mut pages = vec![[0; PAGE_SIZE]; 4];
        let found = lab.cache.lookup_run(object, 0, record.lsn, &mut pages).unwrap();
        for (block, (found, in_run)) in (0..).zip(found.iter().zip(&pages)) {
            let mut alone = [0; PAGE_SIZE];
            let single = lab.cache.lookup(key(block), record.lsn, &mut alone).unwrap();
            assert_eq!((&alone, single.records.len()), (in_run, found.records.len()));
        }
    }
    assert!(lab.cache.status().damaged_images > 1);
    lab.check(last);
}

/// What redo made wrong does not outlive the redo that is put right.
#[test]
fn images_of_another_maker_are_removed() {
    let mut lab = filled(12);
    let last = lab.open_again(lab.disk.copy());
    assert!(lab.image_files().len() > 3);
    lab.cache = open_with(&lab.disk, Options { image_maker: 4, ..options() });
    assert!(lab.image_files().is_empty());
    (0..lab.records.len()).for_each(|at| lab.take_up(at));
    lab.use_images();
    assert_eq!((lab.check(last), lab.cache.status().images), (0, 0));
    lab.keep(&[0, 1]).unwrap();
    assert!(lab.check(last) > 0);
    // The one before finds none of its own either.
    lab.open_again(lab.disk.copy());
    lab.use_images();
    assert_eq!(lab.check(last), 0);
}

/// Who reads one page does not try all that cannot be read, one after the other.
#[test]
fn a_file_that_cannot_be_read_is_given_up_at_once() {
    let mut lab = Lab::new();
    lab.cache = open_with(&lab.disk, Options { image_percent: u32::MAX, image_file_pages: 100, ..options() });
    lab.cache.use_images();
    for _ in 0..20 {
        for block in 0..2 {
            lab.record(block);
        }
        lab.keep(&[0, 1]).unwrap();
    }
    let last = lab.cache.last_record_lsn();
    lab.disk.overwrite(&lab.image_files()[0], Vec::new());
    let mut page = [0; PAGE_SIZE];
    assert_eq!(lab.cache.lookup(key(0), last, &mut page).unwrap().records.len(), 20);
    assert_eq!((lab.cache.status().images, lab.cache.status().damaged_images), (20, 20));
    lab.check(last);
    // New ones take their place.
    assert_eq!(lab.cache.pages_to_image(), [key(0), key(1)]);
    assert!(lab.cache.pages_to_image().is_empty());
    lab.cache.look_again(&[key(1)]);
    assert_eq!(lab.cache.pages_to_image(), [key(1)]);
}

#[test]
fn a_full_disk_costs_images_and_nothing_else() {
    let mut lab = filled(4);
    lab.disk.set_capacity(Some(lab.disk.used() + 3 * PAGE_SIZE));
    lab.record(0);
    let error = lab.keep(&[0, 1, 2, 3]).unwrap_err();
    assert!(matches!(error, KeepImagesError::NotWritten(_)), "{error}");
    lab.check(lab.cache.last_record_lsn());
    lab.disk.set_capacity(None);
    lab.record(1);
    assert!(lab.keep(&[0, 1]).unwrap() > 0);
    let last = lab.cache.last_record_lsn();
    let read = lab.check(last);
    lab.open_again(lab.disk.clone());
    lab.use_images();
    assert!(lab.check(last) >= read);
}

/// What the kernel dropped once it does not write later.
#[test]
fn after_a_failed_sync_no_more_images_are_kept() {
    let (mut stopped, mut not_written) = (0, 0);
    for step in 1.. {
        let mut lab = filled(6);
        lab.record(0);
        lab.disk.fault_at(lab.disk.steps() + step, Fault::Fail);
        // More than a file takes, so that one is completed.
        let result = (0..3).try_for_each(|_| lab.keep(&[0, 1, 2]).map(drop));
        let last = lab.cache.last_record_lsn();
        lab.check(last);
        match result {
            Ok(()) => break,
            Err(KeepImagesError::Stopped(_)) => {
                stopped += 1;
                assert!(matches!(lab.keep(&[0]), Err(KeepImagesError::Stopped(_))));
            }
            Err(KeepImagesError::NotWritten(_)) => {
                not_written += 1;
                lab.keep(&[0, 1, 2]).unwrap();
            }
            Err(error) => panic!("{error}"),
        }
        lab.open_again(lab.disk.copy());
        lab.use_images();
        assert!(lab.check(last) > 0);
        lab.keep(&[0, 1, 2, 3]).unwrap();
    }
    assert!(stopped >= 2 && not_written >= 3, "{stopped} {not_written}");
}

/// Nobody comes so far, but a file can have any name.
#[test]
fn a_file_with_the_last_number_is_kept() {
    let mut lab = filled(4);
    let last_file = Path::new(DIR).join("images/FFFFFFFF.img");
    lab.disk.storage().create(&last_file).unwrap();
    let last = lab.open_again(lab.disk.copy());
    lab.use_images();
    lab.record(0);
    let error = lab.keep(&[0]).unwrap_err();
    assert!(matches!(error, KeepImagesError::NotWritten(_)), "{error}");
    assert!(lab.check(last) > 0);
}
