//! What `pg_waldump` says about the WAL of a stopped or running primary.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use pgdata::wal::SegmentSize;
use pgdata::{Lsn, Object, PageKey};

use crate::{PgInstall, run};

/// Bytes in a WAL page, and in the headers of a segment's first page and of the others (`access/xlog_internal.h`).
const WAL_PAGE: u64 = 8192;
const LONG_HEADER: u64 = 40;
const SHORT_HEADER: u64 = 24;

/// A record as `pg_waldump` prints it.
#[derive(Clone, Debug)]
pub struct DumpedRecord {
    /// Where it starts.
    pub start: Lsn,
    /// The whole line.
    pub line: String,
}

impl DumpedRecord {
    /// The resource manager's name and the record's, as `CLOG TRUNCATE`.
    #[must_use]
    pub fn kind(&self) -> String {
        let word = |before| {
            let rest = self.line.split(before).nth(1).unwrap_or_default();
            rest.split_whitespace().next().unwrap_or_default()
        };
        format!("{} {}", word("rmgr: "), word(", desc: "))
    }

    /// Whether this is the record of a checkpoint that was taken while the server ran.
    #[must_use]
    pub fn is_online_checkpoint(&self) -> bool {
        self.line.contains("CHECKPOINT_ONLINE")
    }

    /// Whether full page images are written from here on, if this record says that.
    #[must_use]
    pub fn full_page_writes(&self) -> Option<bool> {
        (self.kind() == "XLOG FPW_CHANGE").then(|| self.line.trim_end().ends_with("true"))
    }

    /// Whether this is the record of any checkpoint.
    #[must_use]
    pub fn is_checkpoint(&self) -> bool {
        self.is_online_checkpoint() || self.line.contains("CHECKPOINT_SHUTDOWN")
    }
}

/// A directory of WAL segments to be dumped.
#[derive(Clone, Debug)]
pub struct WalDump {
    install: PgInstall,
    wal: PathBuf,
    timeline: u32,
}

impl WalDump {
    /// The WAL in `wal`, usually a primary's `pg_wal`.
    #[must_use]
    pub fn new(install: &PgInstall, wal: &Path) -> WalDump {
        WalDump { install: install.clone(), wal: wal.to_owned(), timeline: 1 }
    }

    /// The files of another timeline than the first one.
    #[must_use]
    pub fn on_timeline(mut self, timeline: u32) -> WalDump {
        self.timeline = timeline;
        self
    }

    /// The start of the oldest segment that is there.
    ///
    /// # Errors
    /// If there is none.
    pub fn first_lsn(&self) -> Result<Lsn> {
        let mut oldest: Option<(String, u64)> = None;
        for entry in fs::read_dir(&self.wal)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_segment = name.len() == 24 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
            if is_segment && oldest.as_ref().is_none_or(|(known, _)| name < *known) {
                oldest = Some((name, entry.metadata()?.len()));
            }
        }
        let (name, size) = oldest.with_context(|| format!("no WAL segment in {}", self.wal.display()))?;
        let (high, low) = (u64::from_str_radix(&name[8..16], 16)?, u64::from_str_radix(&name[16..], 16)?);
        Ok(Lsn((high << 32) + low * size))
    }

    /// All records that start in `from..to`. There must be a record at or after `to`, as `pg_waldump` stops there.
    ///
    /// # Errors
    /// If `pg_waldump` cannot be run, fails or prints what is not understood.
    pub fn records(&self, from: Lsn, to: Lsn) -> Result<Vec<DumpedRecord>> {
        let output = run(&mut self.command(from, to))?;
        String::from_utf8_lossy(&output.stdout).lines().map(parse_line).collect()
    }

    /// The records before `to` that refer to a block, one a line; for messages.
    ///
    /// # Errors
    /// If `pg_waldump` cannot be run.
    pub fn history(&self, key: PageKey, from: Lsn, to: Lsn) -> Result<String> {
        let Object::Relation(rel) = key.object else {
            return Ok(format!("(pg_waldump cannot look for pages of {})", key.object));
        };
        let relation = format!("--relation={}/{}/{}", rel.spc, rel.db, rel.rel);
        let (fork, block) = (format!("--fork={}", rel.fork.name()), format!("--block={}", key.block));
        let mut command = self.command(from, to);
        command.args([&relation, &fork, &block]);
        // It ends in an error when it meets the end of the WAL; what it printed before that counts.
        let output = command.output().with_context(|| format!("running {command:?}"))?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn command(&self, from: Lsn, to: Lsn) -> Command {
        let mut command = self.install.command("pg_waldump");
        command.arg("--path").arg(&self.wal).arg(format!("--start={from}")).arg(format!("--end={to}"));
        command.arg(format!("--timeline={}", self.timeline));
        // Of a directory alone it would take any file to learn the segments' size, perhaps one that has been made and not written to yet.
        if let (Some(first), Some(last)) = (self.file_of(from), self.file_of(to)) {
            command.args([first, last]);
        }
        command
    }

    /// The name of the segment file that `lsn` lies in, if it is there.
    fn file_of(&self, lsn: Lsn) -> Option<String> {
        let lengths = fs::read_dir(&self.wal).ok()?.filter_map(|entry| {
            let entry = entry.ok()?;
            let is_segment = entry.file_name().len() == 24;
            is_segment.then(|| entry.metadata().ok().map(|file| file.len())).flatten()
        });
        let size = lengths.max().and_then(|length| SegmentSize::new(u32::try_from(length).ok()?).ok())?;
        let name = size.file_name(self.timeline, size.segment_of(lsn));
        self.wal.join(&name).exists().then_some(name)
    }
}

/// The end of the record before one that starts at `start`: `start` itself, or the start of the WAL page when nothing but its
/// header lies between.
#[must_use]
pub fn end_of_record_before(start: Lsn, segment_size: u64) -> Lsn {
    let page = start.0 - start.0 % WAL_PAGE;
    let header = if page.is_multiple_of(segment_size) { LONG_HEADER } else { SHORT_HEADER };
    if start.0 - page == header { Lsn(page) } else { start }
}

/// Finds `lsn: X/X` in a line.
fn parse_line(line: &str) -> Result<DumpedRecord> {
    let lsn = line.split(" lsn: ").nth(1).and_then(|rest| rest.split(',').next());
    let start = lsn.with_context(|| format!("pg_waldump printed a line without an LSN: {line}"))?.trim().parse()?;
    Ok(DumpedRecord { start, line: line.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_ends_before_the_header_that_follows_it() {
        let segment = 1 << 24;
        assert_eq!(end_of_record_before(Lsn(0x200_0028), segment), Lsn(0x200_0000));
        assert_eq!(end_of_record_before(Lsn(0x200_2018), segment), Lsn(0x200_2000));
        assert_eq!(end_of_record_before(Lsn(0x200_2028), segment), Lsn(0x200_2028));
        assert_eq!(end_of_record_before(Lsn(0x200_2100), segment), Lsn(0x200_2100));
    }

    #[test]
    fn lines_have_a_start() -> Result<()> {
        let line = "rmgr: Heap        len (rec/tot):     54/    54, tx:        740, lsn: 0/015F0F18, prev 0/015F0EE0, desc: LOCK off 1";
        let record = parse_line(line)?;
        assert_eq!(record.start, "0/15F0F18".parse()?);
        assert_eq!(record.kind(), "Heap LOCK");
        Ok(())
    }
}
