//! Reads of pages that the operating system does not have in memory.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use pgdata::PAGE_SIZE;
use rustix::fs::{Advice, fadvise};

use super::load::Target;
use super::report::{Figure, median};

/// Pages read in a turn: few, because each turn makes the operating system forget, and what it reads ahead would make the next ones warm.
const PAGES: usize = 50;

/// Reads some pages after the operating system was told to forget the server's files, next to reading 8 KiB straight from the
/// largest of these files.
pub fn measure(data: &Path, target: &mut dyn Target, pages: usize, rounds: usize) -> Result<Figure> {
    let files = files(&data.join("tenants"))?;
    let largest = files.iter().max_by_key(|(_, size)| *size).context("the data directory holds no files")?;
    let (mut ours, mut floor) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        forget(&files)?;
        let times = (0..PAGES.min(pages)).map(|_| {
            let start = Instant::now();
            target.ask()?;
            target.answer()?;
            Ok(start.elapsed().as_secs_f64() * 1e6)
        });
        ours.push(median(&times.collect::<Result<Vec<_>>>()?));
        forget(&files)?;
        floor.push(median(&read_some(largest, round)?));
    }
    Ok(Figure::paired(
        "0 records, 1 client, cold, one at a time, p50",
        "µs",
        "pread of 8 KiB from the file",
        &ours,
        &floor,
    ))
}

/// Random reads from a file, in microseconds.
fn read_some((path, size): &(PathBuf, u64), round: usize) -> Result<Vec<f64>> {
    let file = File::open(path).with_context(|| path.display().to_string())?;
    let places = (size / PAGE_SIZE as u64).max(1);
    let mut page = [0; PAGE_SIZE];
    let read = |number: usize| {
        let place = (number as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) % places;
        let start = Instant::now();
        file.read_at(&mut page, place * PAGE_SIZE as u64)?;
        Ok(start.elapsed().as_secs_f64() * 1e6)
    };
    (round * PAGES..(round + 1) * PAGES).map(read).collect()
}

/// Every file below a directory with its size.
fn files(dir: &Path) -> Result<Vec<(PathBuf, u64)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| format!("cannot list {}: is it a data directory?", dir.display()))? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => found.extend(files(&entry.path())?),
            false => found.push((entry.path(), entry.metadata()?.len())),
        }
    }
    Ok(found)
}

fn forget(files: &[(PathBuf, u64)]) -> Result<()> {
    for (path, _) in files {
        let file = File::open(path).with_context(|| path.display().to_string())?;
        fadvise(&file, 0, None, Advice::DontNeed).with_context(|| path.display().to_string())?;
    }
    Ok(())
}
