//! A base backup from the server's messages into a sink.

use bytes::Bytes;
use postgres_protocol::message::backend::Message;

use crate::command;
use crate::connection::Connection;
use crate::error::{BoxError, Error};
use crate::options::BackupOptions;
use crate::primary::Primary;
use crate::protocol::{BackupMessage, ProtocolError, ServerMessage, parse_backup_message};
use crate::rows::{self, Row};
use crate::server_error::Asked;
use crate::sink::{BackupEnd, BackupSink, BackupStart, Tablespace};
use crate::stop::StopHandle;
use crate::tar::{TarError, TarEvent, TarReader};

const COMMAND: &str = "BASE_BACKUP";
const ASKED: Asked<'static> = Asked::Command(COMMAND);
/// The archive of the data directory itself; those of tablespaces are named by their Oid.
const MAIN_ARCHIVE: &str = "base.tar";
const ARCHIVE_SUFFIX: &str = ".tar";

/// Takes a base backup into `sink` over a connection of its own. Nothing of it is held in memory beyond one message of the server.
///
/// The WAL that makes the files consistent is not part of it: create a slot first, and [stream](crate::stream()) from [`BackupStart::start_lsn`].
///
/// # Errors
/// See [`Error`]; nothing is tried twice, because the sink would have to begin anew.
pub fn base_backup(
    primary: &Primary,
    options: &BackupOptions,
    sink: &mut dyn BackupSink,
    stop: &StopHandle,
) -> Result<(BackupStart, BackupEnd), Error> {
    let mut connection = Connection::connect(primary, stop)?;
    let result = connection.base_backup(options, sink);
    connection.close();
    result
}

impl Connection {
    /// Takes a base backup into `sink`, as the [function](base_backup) of this name does.
    ///
    /// # Errors
    /// See [`Error`]. The connection is of no use afterwards.
    pub fn base_backup(
        &mut self,
        options: &BackupOptions,
        sink: &mut dyn BackupSink,
    ) -> Result<(BackupStart, BackupEnd), Error> {
        let start = self.begin_backup(options)?;
        sink.begin(&start).map_err(Error::Sink)?;
        self.wire.doing = "receiving a base backup";
        let mut receiver = Archives::new(sink, &start);
        loop {
            match self.next(ASKED)? {
                ServerMessage::Other(Message::CopyData(body)) => receiver.message(body.into_bytes())?,
                ServerMessage::Other(Message::CopyDone) => break,
                other => return Err(self.wire.unexpected(&other)),
            }
        }
        receiver.finish()?;
        let end = self.end_backup(options)?;
        sink.end(&end).map_err(Error::Sink)?;
        Ok((start, end))
    }

    /// Everything before the first archive.
    fn begin_backup(&mut self, options: &BackupOptions) -> Result<BackupStart, Error> {
        let identity = self.identify_system()?;
        if let Some(expected) = options.system_id
            && expected != identity.system_id
        {
            return Err(Error::WrongSystem { expected, got: identity.system_id });
        }
        let segment_size = self.wal_segment_size()?;
        let data_checksums = self.data_checksums()?;
        // A spread checkpoint takes as long as it takes; a dead server is noticed by TCP.
        self.wire.timeout = None;
        self.send(COMMAND, &command::base_backup(options))?;
        let first = self.rows_until(COMMAND, ASKED, |message| matches!(message, Message::CommandComplete(_)))?;
        let (start_lsn, timeline) = rows::position(&rows::only(COMMAND, first)?)?;
        self.wire.timeout = Some(options.receiver_timeout);
        let list = self.rows_until(COMMAND, ASKED, |message| matches!(message, Message::CopyOutResponse(_)))?;
        let (tablespaces, total_bytes) = read_tablespaces(&list)?;
        Ok(BackupStart {
            system_id: identity.system_id,
            version: self.version(),
            server_version_num: self.server_version_num(),
            start_lsn,
            timeline,
            segment_size,
            data_checksums,
            tablespaces,
            total_bytes,
        })
    }

    /// Everything after the last archive.
    fn end_backup(&mut self, options: &BackupOptions) -> Result<BackupEnd, Error> {
        if options.wait_for_archive {
            self.wire.timeout = None;
        }
        let last = self.rows_until(COMMAND, ASKED, |message| matches!(message, Message::ReadyForQuery(_)))?;
        let (end_lsn, timeline) = rows::position(&rows::only(COMMAND, last)?)?;
        Ok(BackupEnd { end_lsn, timeline })
    }
}

/// The tablespaces with an Oid, and the estimate of all bytes. The data directory itself has a row too, without Oid.
fn read_tablespaces(list: &[Row]) -> Result<(Vec<Tablespace>, u64), ProtocolError> {
    let mut tablespaces = Vec::new();
    let mut total = 0u64;
    for row in list {
        // In KiB; the server reckons in signed numbers of bytes.
        let size = row.optional::<u64>(2)?.unwrap_or(0).saturating_mul(1024);
        total = total.saturating_add(size);
        if let Some(oid) = row.optional(0)? {
            tablespaces.push(Tablespace { oid, location: row.text(1)?.to_owned(), size });
        }
    }
    Ok((tablespaces, total))
}

/// The archive that is being received.
struct Archive {
    name: String,
    /// What its paths are relative to: empty, or `pg_tblspc/OID/`.
    prefix: String,
    tar: TarReader,
}

/// Takes the messages apart into archives, and these into entries.
struct Archives<'a> {
    sink: &'a mut dyn BackupSink,
    start: &'a BackupStart,
    archive: Option<Archive>,
    /// How many archives of tablespaces have begun, and whether the main one has.
    tablespaces_begun: usize,
    main_begun: bool,
    bytes_done: u64,
}

impl<'a> Archives<'a> {
    fn new(sink: &'a mut dyn BackupSink, start: &'a BackupStart) -> Self {
        Archives { sink, start, archive: None, tablespaces_begun: 0, main_begun: false, bytes_done: 0 }
    }

    fn message(&mut self, body: Bytes) -> Result<(), Error> {
        match parse_backup_message(body)? {
            BackupMessage::Archive { name } => self.begin_archive(name),
            BackupMessage::Data(data) => self.data(&data),
            BackupMessage::Progress => {
                self.sink.progress(self.bytes_done, self.start.total_bytes);
                Ok(())
            }
            BackupMessage::Manifest => Err(unexpected("a manifest, which was not asked for").into()),
        }
    }

    fn begin_archive(&mut self, name: String) -> Result<(), Error> {
        self.end_archive()?;
        let prefix = self.prefix(&name)?;
        if let Some(tablespace) = self.present_tablespace(&prefix) {
            let link = prefix.trim_end_matches('/');
            self.sink.link(link, &tablespace.location).map_err(Error::Sink)?;
        }
        self.archive = Some(Archive { name, prefix, tar: TarReader::new() });
        Ok(())
    }

    /// Checks that the archive is the next one announced. The main one comes last.
    fn prefix(&mut self, name: &str) -> Result<String, ProtocolError> {
        let expected = self.start.tablespaces.get(self.tablespaces_begun);
        match expected {
            Some(Tablespace { oid, .. }) if name == format!("{oid}{ARCHIVE_SUFFIX}") => {
                self.tablespaces_begun += 1;
                Ok(format!("pg_tblspc/{oid}/"))
            }
            _ if name == MAIN_ARCHIVE && !self.main_begun => {
                self.main_begun = true;
                Ok(String::new())
            }
            _ => Err(unexpected(&format!("archive {name:?}, which was not announced"))),
        }
    }

    /// The tablespace whose archive has just begun, if it is one's.
    fn present_tablespace(&self, prefix: &str) -> Option<&'a Tablespace> {
        if prefix.is_empty() { None } else { self.start.tablespaces.get(self.tablespaces_begun - 1) }
    }

    fn data(&mut self, data: &[u8]) -> Result<(), Error> {
        let Some(archive) = &mut self.archive else {
            return Err(unexpected("data outside of an archive").into());
        };
        self.bytes_done += data.len() as u64;
        let mut input = data;
        loop {
            match archive.tar.next(&mut input) {
                Ok(Some(event)) => give(self.sink, &archive.prefix, event).map_err(Error::Sink)?,
                Ok(None) => return Ok(()),
                Err(source) => return Err(archive_error(archive, source)),
            }
        }
    }

    fn end_archive(&mut self) -> Result<(), Error> {
        match self.archive.take() {
            Some(archive) => archive.tar.finish().map_err(|source| archive_error(&archive, source)),
            None => Ok(()),
        }
    }

    fn finish(mut self) -> Result<(), Error> {
        self.end_archive()?;
        if !self.main_begun || self.tablespaces_begun != self.start.tablespaces.len() {
            return Err(unexpected("the end before all archives were sent").into());
        }
        self.sink.progress(self.bytes_done, self.start.total_bytes);
        Ok(())
    }
}

fn give(sink: &mut dyn BackupSink, prefix: &str, event: TarEvent<'_>) -> Result<(), BoxError> {
    let full = |path: String| if prefix.is_empty() { path } else { format!("{prefix}{path}") };
    match event {
        TarEvent::Directory(path) => sink.directory(&full(path)),
        TarEvent::Link { path, target } => sink.link(&full(path), &target),
        TarEvent::FileBegin { path, size } => sink.file_begin(&full(path), size),
        TarEvent::FileData(data) => sink.file_data(data),
        TarEvent::FileEnd => sink.file_end(),
    }
}

fn archive_error(archive: &Archive, source: TarError) -> Error {
    Error::Archive { archive: archive.name.clone(), source }
}

fn unexpected(got: &str) -> ProtocolError {
    ProtocolError::Unexpected { doing: "receiving a base backup", got: got.to_owned() }
}
