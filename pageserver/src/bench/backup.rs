//! What `pg_basebackup --format=tar` left in a directory, and a timeline made of it.

use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use pgdata::wal::SegmentSize;
use pgdata::{ControlFile, Lsn};
use repository::{Attach, Repository, Timeline, TimelineInfo};
use serde::Deserialize;

/// The name that a timeline gets here.
const NAME: &str = "bench";

/// A base backup in tar format with its manifest.
pub struct TarBackup {
    dir: PathBuf,
    /// `global/pg_control`.
    pub control_file: Vec<u8>,
    /// What it is of.
    pub info: TimelineInfo,
    /// Where it is consistent.
    pub end_lsn: Lsn,
}

/// The part of `backup_manifest` that says which WAL the backup needs.
#[derive(Deserialize)]
struct Manifest {
    #[serde(rename = "WAL-Ranges")]
    ranges: Vec<Range>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Range {
    timeline: u32,
    #[serde(rename = "Start-LSN")]
    start: String,
    #[serde(rename = "End-LSN")]
    end: String,
}

impl TarBackup {
    pub fn open(dir: &Path) -> Result<TarBackup> {
        let path = dir.join("backup_manifest");
        let text = fs::read(&path).with_context(|| {
            format!("cannot read {}: --backup takes what pg_basebackup --format=tar has made", path.display())
        })?;
        let manifest: Manifest = serde_json::from_slice(&text).with_context(|| format!("in {}", path.display()))?;
        let [range] = &manifest.ranges[..] else {
            anyhow::bail!("{} names {} ranges of WAL: expected one", path.display(), manifest.ranges.len());
        };
        let control_file = member(&dir.join("base.tar"), "global/pg_control")?;
        let control = ControlFile::parse(&control_file)?;
        let info = TimelineInfo {
            version: control.version,
            system_id: control.system_identifier,
            segment_size: SegmentSize::new(control.wal_segment_size)?,
            pg_timeline: range.timeline,
            start_lsn: range.start.parse()?,
        };
        Ok(TarBackup { dir: dir.to_owned(), control_file, info, end_lsn: range.end.parse()? })
    }

    /// Makes a timeline of it, without WAL yet.
    pub fn attach(&self, repository: &Arc<Repository>) -> Result<Arc<Timeline>> {
        let mut attach = repository.reserve(NAME)?.attach(self.info)?;
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("tar") if stem == "base" => feed(&mut attach, &path, "")?,
                Some("tar") if stem.parse::<u32>().is_ok() => feed(&mut attach, &path, &format!("pg_tblspc/{stem}/"))?,
                _ => {}
            }
        }
        Ok(attach.finish(self.end_lsn)?)
    }
}

fn archive(path: &Path) -> Result<tar::Archive<BufReader<File>>> {
    Ok(tar::Archive::new(BufReader::new(File::open(path).with_context(|| path.display().to_string())?)))
}

fn member(tar: &Path, name: &str) -> Result<Vec<u8>> {
    for entry in archive(tar)?.entries()? {
        let mut entry = entry?;
        if entry.path()?.as_os_str() == name {
            let mut content = Vec::new();
            entry.read_to_end(&mut content)?;
            return Ok(content);
        }
    }
    anyhow::bail!("{} holds no {name}", tar.display())
}

fn feed(attach: &mut Attach, tar: &Path, prefix: &str) -> Result<()> {
    let mut buffer = vec![0; 128 << 10];
    for entry in archive(tar)?.entries()? {
        let mut entry = entry?;
        let path = format!("{prefix}{}", entry.path()?.to_str().context("a path that is not UTF-8")?);
        if entry.header().entry_type().is_symlink() {
            let target = entry.link_name()?.context("a link without a target")?.into_owned();
            attach.link(&path, target.to_str().context("a path that is not UTF-8")?)?;
        } else if entry.header().entry_type().is_file() {
            attach.file_begin(&path, entry.size())?;
            let mut left = entry.size();
            while left > 0 {
                let count = entry.read(&mut buffer)?;
                ensure!(count > 0, "{} ends in the middle of {path}", tar.display());
                attach.file_data(&buffer[..count])?;
                left -= count as u64;
            }
            attach.file_end()?;
        }
    }
    Ok(())
}
