//! The data directory, member by member.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use pgdata::wal::SegmentSize;
use pgdata::{CheckPoint, ClusterState, Lsn, Object, PAGE_SIZE, Timelines};
use wal_decoder::WalIdentity;

use crate::archive::Archive;
use crate::standby::Replay;
use crate::wal::Place;
use crate::{BackupError, DataSource, SourceError, checkpoint, config, layout, objects, segment, twophase};

/// Files that every data directory has from `initdb` on.
const NEEDED: [&str; 2] = ["PG_VERSION", "global/pg_filenode.map"];
const CONTROL_FILE: &str = "global/pg_control";
const STANDBY_SIGNAL: &str = "standby.signal";
const BACKUP_LABEL: &str = "backup_label";

/// Choices about a backup.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Tablespaces to be symbolic links, each to the absolute path given here; their files are in archives of their own
    /// ([`Backup::write_tablespace`]), to be unpacked there. All others are plain directories in `pg_tblspc`.
    pub links: BTreeMap<u32, String>,
    /// Makes a standby of the origin, which replays its WAL and goes on with it, instead of a cluster of its own.
    pub standby: Option<StandbyOptions>,
}

/// Choices about a standby.
#[derive(Clone, Debug, Default)]
pub struct StandbyOptions {
    /// The setting `primary_conninfo`, as libpq reads it; the origin's own, if it has one, where this is `None`.
    pub primary_conninfo: Option<String>,
}

/// How a server that starts from the backup goes on.
enum Start {
    /// As one that was shut down at the LSN by this checkpoint.
    ShutDown(CheckPoint),
    Standby(Replay, StandbyOptions),
}

/// A data directory at one LSN, ready to be written. See the crate's documentation.
pub struct Backup<'a> {
    pub(crate) source: &'a dyn DataSource,
    pub(crate) state: ClusterState,
    pub(crate) identity: WalIdentity,
    pub(crate) place: Place,
    lsn: Lsn,
    start: Start,
    links: BTreeMap<u32, String>,
    tablespaces: BTreeSet<u32>,
    files: Vec<String>,
    objects: Vec<(Object, u32)>,
}

impl<'a> Backup<'a> {
    /// Asks the source what there is, and checks that a data directory can be made of it.
    ///
    /// # Errors
    /// [`BackupError`] if the source fails, or what it has is no cluster that could start, or the options do not fit it.
    pub fn new(source: &'a dyn DataSource, options: &Options) -> Result<Backup<'a>, BackupError> {
        let lsn = source.lsn();
        let from = |what: &str, source| source_error(lsn, what, source);
        let state = source.cluster().map_err(|error| from("the cluster's state", error))?;
        let version = state.control.version;
        let segment_size = SegmentSize::new(state.control.wal_segment_size)?;
        let place = Place::at(lsn, segment_size).ok_or(BackupError::Lsn { lsn })?;
        let names = source.blobs().map_err(|error| from("the list of files", error))?;
        let mut objects = source.objects().map_err(|error| from("the list of relations", error))?;
        objects.sort_unstable();
        let identity = WalIdentity {
            version,
            timeline: state.counters.timeline,
            system_id: state.control.system_identifier,
            segment_size,
        };
        let start = match &options.standby {
            None => Start::ShutDown(checkpoint::check_point(&state, place.start)),
            Some(standby) => Start::Standby(Replay::find(source, &state, identity, place)?, standby.clone()),
        };
        let backup = Backup {
            source,
            place,
            lsn,
            identity,
            start,
            state,
            links: options.links.clone(),
            tablespaces: layout::tablespaces(version, &names, &objects),
            files: layout::kept_files(version, &names)?,
            objects,
        };
        backup.check()?;
        Ok(backup)
    }

    fn check(&self) -> Result<(), BackupError> {
        let lsn = self.lsn;
        if let Start::Standby(_, StandbyOptions { primary_conninfo: Some(conninfo) }) = &self.start {
            config::check_conninfo(conninfo)?;
        }
        if let Some(path) = NEEDED.into_iter().find(|&path| !self.has_file(path)) {
            return Err(BackupError::Missing { lsn, path });
        }
        for (&oid, target) in &self.links {
            if !self.tablespaces.contains(&oid) {
                return Err(BackupError::NoTablespace { lsn, oid });
            }
            if !target.starts_with('/') {
                return Err(BackupError::LinkTarget { oid, target: target.clone() });
            }
        }
        self.files.iter().try_for_each(|path| twophase::check(path, &self.state, lsn))
    }

    fn has_file(&self, path: &str) -> bool {
        self.files.binary_search_by(|file| file.as_str().cmp(path)).is_ok()
    }

    /// The backup's LSN: where a server that starts from it goes on writing, and from where its WAL is to be streamed. Inside a page
    /// header, the page's start.
    #[must_use]
    pub fn lsn(&self) -> Lsn {
        self.place.end
    }

    /// The checkpoint that the backup ends with, its `redo` is where its record starts; for a standby the one that it begins to replay
    /// from.
    #[must_use]
    pub fn check_point(&self) -> &CheckPoint {
        match &self.start {
            Start::ShutDown(check_point) => check_point,
            Start::Standby(replay, _) => &replay.check_point,
        }
    }

    /// Whether a server that starts from it replays WAL first, and so makes the main forks of unlogged relations itself.
    pub(crate) fn recovers(&self) -> bool {
        matches!(self.start, Start::Standby(..))
    }

    /// The tablespaces beside the two that every cluster has, each with the path that it is a link to.
    pub fn tablespaces(&self) -> impl Iterator<Item = (u32, Option<&str>)> {
        self.tablespaces.iter().map(|oid| (*oid, self.links.get(oid).map(String::as_str)))
    }

    /// About how many bytes all archives have together: pages and WAL are counted, other files are taken for small.
    #[must_use]
    pub fn size(&self) -> u64 {
        const MEMBER: u64 = 512;
        const SMALL_FILE: u64 = MEMBER + 1024;
        let pages: u64 = self.objects.iter().map(|(_, blocks)| MEMBER + u64::from(*blocks) * PAGE_SIZE as u64).sum();
        let size = self.identity.segment_size;
        let first = match &self.start {
            Start::ShutDown(_) => self.place.end,
            Start::Standby(replay, _) => replay.check_point.redo,
        };
        let segments = size.segment_of(self.place.end) - size.segment_of(first) + 1;
        pages + self.files.len() as u64 * SMALL_FILE + segments * u64::from(size.bytes())
    }

    /// Writes the data directory, but for the tablespaces that are links, and gives the writer back. Memory does not depend on how
    /// large the cluster is, but for the list of its relations.
    ///
    /// `pg_control` comes last: what is unpacked of a stream that broke off does not start.
    ///
    /// # Errors
    /// [`BackupError`]; the archive has no end then.
    pub fn write<W: Write>(&self, out: W) -> Result<W, BackupError> {
        let mut archive = self.archive(out);
        self.write_part(&mut archive, None)?;
        for (&oid, target) in &self.links {
            archive.link(&layout::tablespace_path(oid), target)?;
        }
        for (path, content) in config::defaults(&self.state.control) {
            if !self.has_file(path) {
                archive.small_file(path, content.as_bytes())?;
            }
        }
        self.write_history(&mut archive)?;
        let control = match &self.start {
            Start::ShutDown(check_point) => {
                segment::write(self, check_point, &mut archive)?;
                checkpoint::control_file(&self.state, check_point)
            }
            Start::Standby(replay, options) => {
                self.write_standby(&mut archive, replay, options)?;
                replay.control_file(&self.state, self.identity, self.place.end)
            }
        };
        archive.small_file(CONTROL_FILE, &control.to_bytes())?;
        archive.finish()
    }

    /// What a standby has that another cluster does not.
    fn write_standby<W: Write>(
        &self,
        archive: &mut Archive<W>,
        replay: &Replay,
        options: &StandbyOptions,
    ) -> Result<(), BackupError> {
        let before = if self.has_file(config::AUTO_CONF) { Some(self.content(config::AUTO_CONF)?) } else { None };
        let in_place = self.tablespaces.iter().any(|oid| !self.links.contains_key(oid));
        let settings = config::standby_auto_conf(before, options.primary_conninfo.as_deref(), in_place);
        archive.small_file(config::AUTO_CONF, &settings)?;
        archive.small_file(STANDBY_SIGNAL, b"")?;
        archive.small_file(BACKUP_LABEL, replay.backup_label(self.identity.segment_size).as_bytes())?;
        segment::write_history(self, replay, archive)
    }

    /// Whether a file is written as the source has it.
    fn is_copied(&self, file: &str) -> bool {
        match &self.start {
            Start::ShutDown(_) => true,
            Start::Standby(replay, _) => file != config::AUTO_CONF && replay.keeps(file),
        }
    }

    /// Writes the history file of the cluster's timeline, if it is known.
    fn write_history<W: Write>(&self, archive: &mut Archive<W>) -> Result<(), BackupError> {
        let (timeline, name) = (self.identity.timeline, Timelines::file_name(self.identity.timeline));
        let history = self.source.history_file(timeline).map_err(|error| self.source_error(&name, error))?;
        history.map_or(Ok(()), |history| archive.small_file(&format!("pg_wal/{name}"), &history))
    }

    /// Writes the files of a tablespace that is a link; paths begin at where the link leads to. Gives the writer back.
    ///
    /// # Errors
    /// [`BackupError::NotLinked`] if its files are in the main archive; else as [`Backup::write`].
    pub fn write_tablespace<W: Write>(&self, oid: u32, out: W) -> Result<W, BackupError> {
        if !self.links.contains_key(&oid) {
            return Err(BackupError::NotLinked { oid });
        }
        let mut archive = self.archive(out);
        self.write_part(&mut archive, Some(oid))?;
        archive.finish()
    }

    fn archive<W: Write>(&self, out: W) -> Archive<W> {
        Archive::new(out, u64::try_from(self.check_point().time).unwrap_or(0))
    }

    /// Directories, files kept whole, relations and SLRUs: of one linked tablespace, or of all else.
    fn write_part<W: Write>(&self, archive: &mut Archive<W>, part: Option<u32>) -> Result<(), BackupError> {
        archive.directory("")?;
        for path in layout::directories(self.identity.version, &self.tablespaces, &self.files, &self.objects) {
            match self.place_in(part, &path) {
                Some("") | None => {}
                Some(path) => archive.directory(path)?,
            }
        }
        for file in self.files.iter().filter(|file| self.is_copied(file)) {
            if let Some(path) = self.place_in(part, file) {
                archive.small_file(path, &self.content(file)?)?;
            }
        }
        objects::write(self, archive, part, &self.objects)
    }

    /// A path as it is in a part's archive, or `None` if it belongs into another one.
    pub(crate) fn place_in<'p>(&self, part: Option<u32>, path: &'p str) -> Option<&'p str> {
        let linked = layout::tablespace_of(path).filter(|(oid, _)| self.links.contains_key(oid));
        match (linked, part) {
            (None, None) => Some(path),
            (Some((oid, rest)), Some(part)) if oid == part => Some(rest),
            _ => None,
        }
    }

    fn content(&self, file: &str) -> Result<Vec<u8>, BackupError> {
        self.source.blob(file).map_err(|error| self.source_error(file, error))
    }

    pub(crate) fn source_error(&self, what: &str, source: SourceError) -> BackupError {
        source_error(self.lsn, what, source)
    }
}

fn source_error(lsn: Lsn, what: &str, source: SourceError) -> BackupError {
    BackupError::Source { lsn, what: what.to_owned(), source }
}
