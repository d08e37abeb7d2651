//! What was acknowledged survives a crash at any step.

use std::path::Path;

use page_cache::{Options, PageCache, WalLogError};
use pgdata::Lsn;

use crate::disk::{Disk, Fault, random};
use crate::wal::{DIR, attach, info, open};

const START: Lsn = Lsn(3 << 20);

/// What the sender was told to be safe, and what the log should hold.
struct Sent {
    bytes: Vec<u8>,
    acknowledged: usize,
}

/// Appends, syncs and cuts off, as it comes, on a disk that is full now and then. What is acknowledged is never cut off. Records, as far as there are any,
/// end wherever the number is a multiple of eight.
fn work(disk: &Disk, cache: &PageCache, seed: u64, sent: &mut Sent) -> Result<(), WalLogError> {
    let mut random = {
        let mut seed = seed;
        move |below: usize| random(&mut seed) as usize % below
    };
    for _ in 0..30 {
        match random(6) {
            0 => {
                sent.acknowledged = cache.wal().sync()?.bytes_since(START) as usize;
                if sent.acknowledged >= 48 {
                    cache.advance(Lsn(START.0 + sent.acknowledged as u64 / 8 * 8)).unwrap();
                }
                cache.note_flushed()?;
            }
            1 => {
                let keep = sent.acknowledged + random(sent.bytes.len() - sent.acknowledged + 1);
                sent.bytes.truncate(keep);
                cache.wal().truncate_to(Lsn(START.0 + keep as u64))?;
            }
            choice => {
                let len = if random(4) == 0 { 700_000 } else { 5000 };
                let piece: Vec<u8> = (0..len).map(|i| (seed as usize + i / 7 + sent.bytes.len()) as u8).collect();
                sent.bytes.extend_from_slice(&piece);
                if choice == 5 {
                    disk.set_capacity(Some(disk.used() + random(len)));
                }
                append(disk, cache, sent)?;
            }
        }
    }
    Ok(())
}

/// Appends what the log does not have; if the disk is full, once more when it is not any longer.
fn append(disk: &Disk, cache: &PageCache, sent: &Sent) -> Result<(), WalLogError> {
    let rest = || &sent.bytes[cache.wal().end().bytes_since(START) as usize..];
    match cache.wal().append(cache.wal().end(), rest()) {
        Err(WalLogError::Storage(error)) if error.is_full() => {
            disk.set_capacity(None);
            cache.wal().append(cache.wal().end(), rest())
        }
        result => result,
    }
}

fn log_bytes(cache: &PageCache) -> Vec<u8> {
    let mut reader = cache.wal().read_from(START).unwrap();
    let mut bytes = Vec::new();
    while let Some((_, chunk)) = reader.next_chunk().unwrap() {
        bytes.extend_from_slice(chunk);
    }
    bytes
}

#[test]
fn acknowledged_wal_survives_a_crash_at_any_step() {
    let mut crashes = 0;
    for seed in 0..12 {
        for step in 1.. {
            let disk = Disk::default();
            attach(&disk, info().start_lsn).unwrap();
            let cache = open(&disk, 0);
            disk.fault_at(disk.steps() + step, Fault::Crash);
            let mut sent = Sent { bytes: Vec::new(), acknowledged: 0 };
            let finished = work(&disk, &cache, seed, &mut sent).is_ok();
            let after = disk.after_crash(seed * 7919 + step as u64);
            let again = open(&after, 0);
            let found = log_bytes(&again);
            let safe = sent.acknowledged;
            assert!(found.len() >= safe && found[..safe] == sent.bytes[..safe], "seed {seed} step {step}");
            // The mark says less than there is, or nothing.
            let noted = again.noted_flushed();
            assert!(noted <= again.wal().end() && noted.0 <= START.0 + safe as u64, "seed {seed} step {step}: {noted}");
            // The sender starts again behind what is safe.
            again.wal().truncate_to(Lsn(START.0 + safe as u64)).unwrap();
            again.wal().append(again.wal().end(), &[9; 3000]).unwrap();
            again.wal().sync().unwrap();
            let last = log_bytes(&open(&after.after_crash(step as u64), 0));
            assert!(last.len() == safe + 3000 && last[..safe] == sent.bytes[..safe], "seed {seed} step {step}");
            if finished {
                break;
            }
            crashes += 1;
        }
    }
    assert!(crashes > 200, "{crashes}");
}

/// The process ends and the machine does not: then the mark is exact.
#[test]
fn the_mark_is_exact_without_a_loss_of_power() {
    for seed in 0..12 {
        let disk = Disk::default();
        attach(&disk, info().start_lsn).unwrap();
        let cache = open(&disk, 0);
        let mut sent = Sent { bytes: Vec::new(), acknowledged: 0 };
        work(&disk, &cache, seed, &mut sent).unwrap();
        drop(cache);
        let noted = open(&disk, 0).noted_flushed().bytes_since(START) as usize;
        assert!(sent.acknowledged > 48 && noted == sent.acknowledged / 8 * 8, "{noted} of {}", sent.acknowledged);
    }
}

/// Opening writes, too: the last segment is written again, and what a crash left is cut off.
#[test]
fn a_crash_while_the_log_is_opened_loses_nothing() {
    let mut crashes = 0;
    for seed in 0..4 {
        let disk = Disk::default();
        attach(&disk, info().start_lsn).unwrap();
        let cache = open(&disk, 0);
        let mut sent = Sent { bytes: Vec::new(), acknowledged: 0 };
        work(&disk, &cache, seed, &mut sent).unwrap();
        drop(cache);
        let safe = sent.acknowledged;
        for step in 1.. {
            let crashed = disk.after_crash(seed);
            crashed.fault_at(crashed.steps() + step, Fault::Crash);
            let opened = PageCache::open_on(crashed.storage(), Path::new(DIR), Options::default());
            let finished = opened.is_ok_and(|cache| cache.wal().truncate_to(Lsn(START.0 + safe as u64)).is_ok());
            let again = open(&crashed.after_crash(seed * 7919 + step as u64), 0);
            let found = log_bytes(&again);
            assert!(found.len() >= safe && found[..safe] == sent.bytes[..safe], "seed {seed} step {step}");
            assert!(again.noted_flushed().0 <= START.0 + safe as u64, "seed {seed} step {step}");
            if finished {
                break;
            }
            crashes += 1;
        }
    }
    assert!(crashes > 8, "{crashes}");
}

/// One thread appends, another makes durable what is there, as when WAL comes at full speed.
#[test]
fn what_one_thread_makes_durable_while_another_appends_survives() {
    let bytes: Vec<u8> = (0..5 << 20).map(|i| (i / 3 + i / 70_000) as u8).collect();
    for step in (1..120).step_by(3) {
        let disk = Disk::default();
        attach(&disk, info().start_lsn).unwrap();
        let cache = open(&disk, 0);
        disk.fault_at(disk.steps() + step, Fault::Crash);
        let appends = || {
            bytes.chunks(100_000).try_for_each(|piece| {
                std::thread::yield_now();
                cache.wal().append(cache.wal().end(), piece)
            })
        };
        let safe = std::thread::scope(|scope| {
            let appending = scope.spawn(appends);
            let mut safe = START;
            loop {
                let ended = appending.is_finished();
                let Ok(durable) = cache.wal().sync_to(Lsn(cache.wal().end().0 >> 20 << 20)) else { break };
                safe = safe.max(durable);
                if ended {
                    break;
                }
            }
            let _ = appending.join().unwrap();
            safe.bytes_since(START) as usize
        });
        let found = log_bytes(&open(&disk.after_crash(step as u64), 0));
        assert!(found.len() >= safe && found[..safe] == bytes[..safe], "step {step}: {} of {safe}", found.len());
    }
}
