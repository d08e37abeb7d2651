//! Files of the pageserver are damaged behind its back, between two runs and during one. Each answer is what it was before, or an error that names the
//! file; the other timeline does not notice.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use integration_tests::{
    ClusterOptions, DataFiles, Lab, PageSource, Random, StreamSource, TIMELINE, in_scratch, until,
};
use page_service::{Answer, Operation, ReadLsn};
use pgdata::{Lsn, Object, Page, RelTag};

/// The timeline that nothing happens to.
const OTHER: &str = "other";
/// Pages that are asked for at a time.
const BATCH: usize = 256;

#[test]
fn damaged_files_are_named_and_never_believed() {
    in_scratch("damage", |dir| {
        let mut lab = Lab::start(dir, &ClusterOptions { wal_segment_mb: 1, ..ClusterOptions::default() })?;
        // All pages and records are read back from the files.
        lab.configure("wal_window_mib = 0\npage_cache_mib = 0\nimage_percent = 0")?;
        lab.attach()?;
        lab.pageserver.attach(OTHER, &lab.primary.conninfo())?;
        let lsns = work(&lab)?;
        let data = DataFiles::scan(lab.primary.data())?;
        let known = lsns.iter().map(|lsn| Known::read(&lab, &data, *lsn)).collect::<Result<Vec<_>>>()?;
        let files = Files::find(&lab.pageserver.timeline_dir(TIMELINE)?)?;

        lab.primary.stop()?;
        let mut random = Random::new(lsns[0].0);
        while_it_runs(&lab, &files, &known, &mut random)?;
        lab.pageserver.sigterm()?;
        for file in [&files.layer, &files.complete, &files.last] {
            for damage in [Damage::Flip(40), Damage::Cut, Damage::Remove, Damage::Forbid] {
                let whole = damage.inflict(file, &mut random)?;
                after_a_start(&mut lab, file, &known).with_context(|| format!("{damage:?} of {}", file.display()))?;
                whole.restore()?;
            }
        }

        Damage::Cut.inflict(&files.last, &mut random)?;
        comes_again(&mut lab, &files.last, &known)
    });
}

/// An image says what WAL says as well: whatever happens to it, every page is right.
#[test]
fn damaged_images_of_pages_are_named_and_not_needed() {
    in_scratch("damaged-images", |dir| {
        let mut lab = Lab::start(dir, &ClusterOptions::default())?;
        lab.configure("page_cache_mib = 0\nimage_percent = 10000")?;
        lab.attach()?;
        let mut lsns = work(&lab)?;
        for _ in 0..20 {
            lab.primary.psql("postgres", "UPDATE t SET n = n + 1 WHERE id % 3 = 0")?;
        }
        lsns.push(lab.primary.current_lsn()?);
        let data = DataFiles::scan(lab.primary.data())?;
        let known = lsns.iter().map(|lsn| Known::read(&lab, &data, *lsn)).collect::<Result<Vec<_>>>()?;
        lab.primary.stop()?;
        until("images are made", || Ok(lab.ensure_images().ok()))?;
        let all_right = |lab: &Lab| known.iter().map(|known| known.check(lab, TIMELINE, "")).sum::<Result<usize>>();
        ensure!(all_right(&lab)? == 0);
        let images = lab.pageserver.timeline_dir(TIMELINE)?.join("versions/images/00000001.img");
        let mut random = Random::new(lsns[0].0);
        for damage in [Damage::Flip(400), Damage::Cut] {
            let whole = damage.inflict(&images, &mut random)?;
            ensure!(all_right(&lab)? == 0, "{damage:?} of {} while it is in use", images.display());
            whole.restore()?;
        }
        for damage in [Damage::Flip(400), Damage::Flip(100_000), Damage::Cut, Damage::Remove, Damage::Forbid] {
            lab.pageserver.sigterm()?;
            let whole = damage.inflict(&images, &mut random)?;
            lab.pageserver.start()?;
            ensure!(all_right(&lab)? == 0, "{damage:?} of {}", images.display());
            lab.pageserver.sigterm()?;
            whole.restore()?;
            lab.pageserver.start()?;
        }
        Ok(())
    });
}

/// Changes pages again and again, over many segments, and tells LSNs on the way.
fn work(lab: &Lab) -> Result<Vec<Lsn>> {
    lab.primary.psql("postgres", "CREATE TABLE t (id int PRIMARY KEY, n int, x text)")?;
    lab.primary.psql("postgres", "INSERT INTO t SELECT i, 0, repeat('x', 100) FROM generate_series(1, 4000) i")?;
    let mut lsns = Vec::new();
    for _ in 0..2 {
        lab.primary.psql("postgres", "UPDATE t SET n = n + 1; UPDATE t SET n = n + 1 WHERE id % 7 = 0; CHECKPOINT")?;
        lsns.push(lab.primary.current_lsn()?);
    }
    Ok(lsns)
}

/// What the pages are at an LSN.
struct Known {
    lsn: Lsn,
    relations: Vec<(RelTag, Vec<Page>)>,
}

impl Known {
    fn read(lab: &Lab, data: &DataFiles, lsn: Lsn) -> Result<Known> {
        let mut pages = lab.pages()?;
        let mut relations = Vec::new();
        for object in data.objects() {
            let Object::Relation(rel) = object else { continue };
            if let Some(blocks) = pages.relation_blocks(rel, lsn)? {
                relations.push((rel, pages.relation_pages(rel, 0, blocks, lsn)?));
            }
        }
        Ok(Known { lsn, relations })
    }

    /// Compares every page of a timeline; how many were answered with an error. Each error has to name `file`.
    fn check(&self, lab: &Lab, timeline: &str, file: &str) -> Result<usize> {
        let mut source = StreamSource::connect(lab.pageserver.address()?, timeline)?;
        let (stream, mut errors, mut right) = (source.stream(), 0, 0);
        for (rel, pages) in &self.relations {
            let (rel, at) = (*rel, ReadLsn::at(self.lsn));
            for (batch, pages) in pages.chunks(BATCH).enumerate() {
                let blocks = (batch * BATCH) as u32..;
                for (block, _) in blocks.clone().zip(pages) {
                    let request = stream.request(Operation::Page { rel, block }, at);
                    stream.send(&request)?;
                }
                for (block, known) in blocks.zip(pages) {
                    match stream.recv()?.answer {
                        Answer::Page(page) => {
                            ensure!(page == known, "{rel} block {block} at {} has changed", self.lsn);
                            right += 1;
                        }
                        Answer::Error(text) => {
                            ensure!(text.contains(file), "{rel} block {block}: no word of {file} in {text:?}");
                            errors += 1;
                        }
                        other => anyhow::bail!("{rel} block {block} is answered with {other:?}"),
                    }
                }
            }
        }
        ensure!(right > errors, "{errors} errors, and {right} pages that are right");
        Ok(errors)
    }
}

/// What can be damaged.
struct Files {
    layer: PathBuf,
    /// A segment of WAL in the middle.
    complete: PathBuf,
    /// The one that was being written.
    last: PathBuf,
}

impl Files {
    fn find(timeline: &Path) -> Result<Files> {
        let list = |dir: &str| -> Result<Vec<PathBuf>> {
            let entries = fs::read_dir(timeline.join("versions").join(dir))?;
            let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
            paths.sort();
            Ok(paths)
        };
        let (layers, segments) = (list("layers")?, list("wal")?);
        ensure!(segments.len() > 4, "there are {} segments only", segments.len());
        let complete = segments[segments.len() / 2].clone();
        let last = segments.last().context("no WAL")?.clone();
        Ok(Files { layer: layers.into_iter().next().context("no layer")?, complete, last })
    }
}

#[derive(Clone, Copy, Debug)]
enum Damage {
    /// Some bits, anywhere.
    Flip(usize),
    /// The second half is gone.
    Cut,
    Remove,
    /// Nobody may read it.
    Forbid,
}

/// A file as it was.
struct Whole {
    path: PathBuf,
    bytes: Vec<u8>,
    permissions: Permissions,
}

impl Damage {
    fn inflict(self, path: &Path, random: &mut Random) -> Result<Whole> {
        let (mut bytes, permissions) = (fs::read(path)?, fs::metadata(path)?.permissions());
        let whole = Whole { path: path.to_owned(), bytes: bytes.clone(), permissions };
        match self {
            Damage::Flip(bits) => {
                for _ in 0..bits {
                    let at = random.below(bytes.len());
                    bytes[at] ^= 1 << random.below(8);
                }
                fs::write(path, &bytes)?;
            }
            Damage::Cut => File::options().write(true).open(path)?.set_len(bytes.len() as u64 / 2)?,
            Damage::Remove => fs::remove_file(path)?,
            Damage::Forbid => fs::set_permissions(path, Permissions::from_mode(0o000))?,
        }
        Ok(whole)
    }
}

impl Whole {
    /// Puts it back, for whom the servers run as.
    fn restore(&self) -> Result<()> {
        fs::write(&self.path, &self.bytes)?;
        fs::set_permissions(&self.path, self.permissions.clone())?;
        Ok(integration_tests::RunAs::server_user().own(&self.path)?)
    }
}

fn name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

/// An open file loses nothing by its name, so it is only changed and cut here. Afterwards it is as if nothing had happened.
fn while_it_runs(lab: &Lab, files: &Files, known: &[Known], random: &mut Random) -> Result<()> {
    for file in [&files.layer, &files.complete] {
        for damage in [Damage::Flip(400), Damage::Cut] {
            let whole = damage.inflict(file, random)?;
            let errors = known.iter().map(|known| known.check(lab, TIMELINE, name(file)));
            let errors: usize =
                errors.sum::<Result<usize>>().with_context(|| format!("{damage:?} of {}", file.display()))?;
            println!("{damage:?} of {} while it is in use: {errors} pages are answered with an error", name(file));
            ensure!(errors > 0, "{damage:?} of {} is not noticed", file.display());
            whole.restore()?;
            for known in known {
                ensure!(known.check(lab, TIMELINE, "nothing")? == 0 && known.check(lab, OTHER, "nothing")? == 0);
            }
        }
    }
    Ok(())
}

/// Starts the server on damaged files, without a primary. Something must be said of the file; and what is said must be right.
fn after_a_start(lab: &mut Lab, file: &Path, known: &[Known]) -> Result<()> {
    lab.pageserver.start()?;
    let status = lab.pageserver.timeline(TIMELINE)?;
    let mut noticed = usize::from(status.detail.contains(name(file)));
    if status.state == "broken" {
        ensure!(noticed > 0, "the status does not name the file: {status:?}");
        let refused = lab.pages().err().context("a broken timeline is read")?;
        ensure!(format!("{refused:#}").contains(name(file)), "{refused:#}");
    }
    for known in known {
        if status.state != "broken" && known.lsn <= status.last_record_lsn {
            noticed += known.check(lab, TIMELINE, name(file))?;
        }
        ensure!(known.check(lab, OTHER, "nothing")? == 0);
    }
    ensure!(noticed > 0, "nothing is said of the file: {status:?}");
    println!("{} is {} at {}: {}", name(file), status.state, status.last_record_lsn, status.detail);
    lab.pageserver.sigterm()
}

/// The end of the log is lost. That is said until the primary has sent it again.
fn comes_again(lab: &mut Lab, file: &Path, known: &[Known]) -> Result<()> {
    lab.relay.refuse(true);
    lab.primary.start()?;
    lab.pageserver.start()?;
    let lost = lab.pageserver.timeline(TIMELINE)?;
    ensure!(lost.detail.contains(name(file)) && lost.detail.contains("asked for again"), "{lost:?}");
    lab.relay.refuse(false);
    until("what was lost has come again", || {
        let status = lab.pageserver.timeline(TIMELINE)?;
        Ok((status.state == "streaming" && status.detail.is_empty()).then_some(()))
    })?;
    let errors = known.iter().map(|known| known.check(lab, TIMELINE, "nothing")).sum::<Result<usize>>()?;
    ensure!(errors == 0, "{errors} pages are not there");
    Ok(())
}
