//! A damaged file gives an error that names it, never another page.

use std::path::Path;

use page_cache::{LookupError, Options, PageCache};
use pgdata::{Change, PAGE_SIZE, PageEffect, PageKey};

use crate::disk::Disk;
use crate::wal::{BASE_BLOBS, DIR, append_rest, attach, base_objects, base_page, clog, fresh, info};

/// Everything in the base image is right or an error that names the file.
fn check_or_error(disk: &Disk, file: &Path) -> bool {
    let name = file.file_name().unwrap().to_string_lossy();
    let mut noticed = false;
    let mut error = |error: String| {
        noticed = true;
        assert!(error.contains(&*name) || error.contains("manifest"), "{error}");
    };
    let cache =
        match PageCache::open_on(disk.storage(), Path::new(DIR), Options { window_bytes: 0, ..Options::default() }) {
            Ok(cache) => cache,
            Err(refused) => {
                error(refused.to_string());
                return noticed;
            }
        };
    let lsn = info().start_lsn;
    for (object, blocks) in base_objects() {
        assert_eq!(cache.size(object, lsn).unwrap(), Some(blocks));
        for block in 0..blocks {
            let (key, mut page) = (PageKey { object, block }, [0; PAGE_SIZE]);
            match cache.lookup(key, lsn, &mut page) {
                Ok(_) => assert!(page[..] == base_page(key)[..]),
                Err(refused) => {
                    assert!(matches!(refused, LookupError::Layer { .. }));
                    assert!(refused.to_string().contains(&key.to_string()));
                    error(refused.to_string());
                }
            }
        }
    }
    for (name, content) in BASE_BLOBS {
        match cache.blob(name, lsn) {
            Ok(found) => assert_eq!(found.as_deref(), Some(content)),
            Err(refused) => error(refused.to_string()),
        }
    }
    noticed
}

#[test]
fn every_byte_of_a_layer_is_protected() {
    let disk = Disk::default();
    attach(&disk, info().start_lsn).unwrap();
    let file = disk.files().into_iter().find(|path| path.extension().is_some_and(|e| e == "img")).unwrap();
    let bytes = disk.read(&file);
    let data_end = bytes.len() - 1500;
    // Every byte of header, index and trailer; of the pages and small files a sample.
    let places = (0..64).chain((64..data_end).step_by(1021)).chain(data_end..bytes.len());
    for at in places {
        let mut changed = bytes.clone();
        changed[at] ^= 1 << (at % 8);
        disk.overwrite(&file, changed);
        assert!(check_or_error(&disk, &file), "byte {at} of {}", bytes.len());
    }
    for len in [0, 10, 95, 96, bytes.len() / 2, bytes.len() - 1] {
        disk.overwrite(&file, bytes[..len].to_vec());
        assert!(check_or_error(&disk, &file), "cut to {len}");
    }
    disk.overwrite(&file, bytes);
    assert!(!check_or_error(&disk, &file));
}

#[test]
fn every_byte_of_a_manifest_is_protected_or_means_nothing() {
    let disk = Disk::default();
    attach(&disk, info().start_lsn).unwrap();
    let file = Path::new(DIR).join("timeline.json");
    let bytes = disk.read(&file);
    let mut noticed = 0;
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1 << (at % 8);
        disk.overwrite(&file, changed);
        noticed += usize::from(check_or_error(&disk, &file));
    }
    assert!(noticed > bytes.len() / 2);
}

#[test]
fn every_byte_of_a_record_on_disk_is_protected() {
    let (disk, cache, mut wal) = fresh(0);
    let key = PageKey { object: clog(0), block: 3 };
    let change = Change::Page { key, effect: PageEffect::Modify };
    let records: Vec<_> = [50, 9000, 0, 300].map(|payload| wal.record(payload)).into();
    append_rest(&cache, &wal);
    for record in &records {
        cache.ingest(record.start, record.lsn, record.bytes.len(), std::slice::from_ref(&change)).unwrap();
    }
    cache.advance(wal.end()).unwrap();
    let file = Path::new(DIR).join("wal/000000010000000000000003");
    let mut noticed = 0;
    for at in 0..wal.bytes.len() {
        let mut changed = wal.bytes.clone();
        changed[at] ^= 1 << (at % 8);
        disk.overwrite(&file, changed);
        match cache.lookup(key, wal.end(), &mut [0; PAGE_SIZE]) {
            Ok(found) => {
                for (found, record) in found.records.iter().zip(&records) {
                    assert_eq!(found[..], record.bytes[..]);
                }
            }
            Err(error) => {
                noticed += 1;
                assert!(error.to_string().contains("000000010000000000000003"), "{error}");
            }
        }
    }
    assert!(noticed >= 9000 + 350 + 4 * 24, "{noticed} of {}", wal.bytes.len());
}

#[test]
fn both_files_of_a_record_are_named() {
    let (disk, cache, mut wal) = fresh(0);
    let key = PageKey { object: clog(0), block: 3 };
    let change = Change::Page { key, effect: PageEffect::Modify };
    let record = wal.record(1 << 20);
    append_rest(&cache, &wal);
    cache.wal().sync().unwrap();
    cache.ingest(record.start, record.lsn, record.bytes.len(), &[change]).unwrap();
    cache.advance(wal.end()).unwrap();
    let second = Path::new(DIR).join("wal/000000010000000000000004");
    let mut bytes = disk.read(&second);
    bytes[1000] ^= 1;
    disk.overwrite(&second, bytes);
    let error = cache.lookup(key, wal.end(), &mut [0; PAGE_SIZE]).unwrap_err().to_string();
    assert!(error.contains("000000010000000000000003 or ") && error.contains("000000010000000000000004:"), "{error}");
}
