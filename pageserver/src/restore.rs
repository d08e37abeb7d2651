//! The command `basebackup`: an archive comes from the server and becomes a data directory, or a file.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::path::Path;

use anyhow::{Context, Result};
use flate2::read::GzDecoder;
use flate2::write::GzDecoder as GzChecker;
use page_service::{Client, ClientError, QueryItem, Rows};
use repository::DEFAULT_TENANT;

use crate::basebackup::size_in_notice;
use crate::cli::BasebackupArgs;
use crate::progress::{CopyProgress, Counted};
use crate::remote::{OutputClosed, connect, plain, print, quote};
use crate::tell::tell;
use crate::unpack::Target;

/// Makes a data directory, or an archive of one.
pub fn run(address: &str, args: &BasebackupArgs) -> Result<()> {
    let mut client = connect(address)?;
    backup(&mut client, args).map_err(plain)
}

fn backup(client: &mut Client, args: &BasebackupArgs) -> Result<()> {
    let target = match &args.target {
        Some(dir) => Some(Target::make(dir, &args.tablespace)?),
        None => None,
    };
    let progress = CopyProgress::new();
    let mut copy = CopyReader::new(client.query(&query(args)?)?, &progress);
    let stored = store(&mut copy, args, target.as_ref());
    progress.finish();
    // The server's word for what went wrong says more than that the stream broke off.
    let stored = copy.error.take().map_or(stored, |error| Err(error.into()));
    if let Err(error) = stored {
        target.iter().for_each(Target::clear);
        return Err(error);
    }
    let lsn =
        copy.tag.as_deref().and_then(|tag| tag.split(' ').nth(1)).context("the server did not finish the backup")?;
    match (&args.target, &args.output) {
        (Some(dir), _) => {
            let dir = dir.display();
            let what = if args.kind.standby { "a standby" } else { "the cluster" };
            print(&format!("{dir} is {what} as of {lsn}. Start it with: pg_ctl -D {dir} start -o '-p PORT'\n"))?;
            match (args.kind.standby, &args.kind.primary_conninfo) {
                (true, None) => print(
                    "It follows the server that its own setting primary_conninfo names, if there is one; --primary-conninfo would set it.\n",
                ),
                _ => Ok(()),
            }
        }
        (None, Some(file)) if !is_stdout(file) => print(&format!("{} is the cluster as of {lsn}\n", file.display())),
        _ => Ok(()),
    }
}

fn query(args: &BasebackupArgs) -> Result<String> {
    let at = args.at.map_or("latest".to_owned(), |lsn| lsn.to_string());
    let mut query = format!("basebackup {DEFAULT_TENANT} {} {at} --progress", quote(&args.timeline)?);
    if args.gzip {
        query += " --gzip";
    }
    if args.kind.standby {
        query += " --standby";
    }
    if let Some(conninfo) = &args.kind.primary_conninfo {
        query += &format!(" --primary-conninfo {}", quote(conninfo)?);
    }
    Ok(query)
}

fn is_stdout(file: &Path) -> bool {
    file == Path::new("-")
}

/// Takes the whole copy, also what follows the archive's end.
fn store(copy: &mut CopyReader<'_, '_>, args: &BasebackupArgs, target: Option<&Target>) -> Result<()> {
    let progress = copy.progress;
    match (target, &args.output) {
        (Some(target), _) if args.gzip => target.unpack(Counted { inner: GzDecoder::new(&mut *copy), progress })?,
        (Some(target), _) => target.unpack(Counted { inner: &mut *copy, progress })?,
        (None, Some(file)) if !is_stdout(file) => {
            let context = || format!("cannot write {}", file.display());
            let mut out = File::create_new(file).with_context(context)?;
            copy.write_to(&mut out, args.gzip).and_then(|()| out.sync_all()).with_context(context)?;
        }
        _ => {
            // Not through `Stdout`, which looks for line ends in all of it.
            let mut out = File::from(io::stdout().as_fd().try_clone_to_owned()?);
            match copy.write_to(&mut out, args.gzip) {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Err(OutputClosed.into()),
                result => result.context("cannot write to standard output")?,
            }
        }
    }
    io::copy(copy, &mut io::sink())?;
    Ok(())
}

/// The bytes of a copy, as something to read from.
struct CopyReader<'a, 'c> {
    rows: Rows<'c>,
    piece: Vec<u8>,
    at: usize,
    progress: &'a CopyProgress,
    /// What ended the copy, if it was an error: `Read` has no room for it.
    error: Option<ClientError>,
    /// The command's tag, once it is done.
    tag: Option<String>,
}

impl<'a, 'c> CopyReader<'a, 'c> {
    fn new(rows: Rows<'c>, progress: &'a CopyProgress) -> Self {
        CopyReader { rows, piece: Vec::new(), at: 0, progress, error: None, tag: None }
    }

    /// What is left of the piece at hand, or the next piece; nothing at the end.
    fn piece(&mut self) -> io::Result<&[u8]> {
        while self.at == self.piece.len() {
            match self.rows.next() {
                None => break,
                Some(Ok(QueryItem::Copy(piece))) => (self.piece, self.at) = (piece, 0),
                Some(Ok(QueryItem::Complete(tag))) => self.tag = Some(tag),
                Some(Ok(QueryItem::Notice(notice))) => match size_in_notice(&notice.message) {
                    Some(size) => self.progress.set_total(size),
                    None => tell(notice),
                },
                Some(Ok(_)) => {}
                Some(Err(error)) => {
                    self.error = Some(error);
                    return Err(io::Error::other("the server ended the copy"));
                }
            }
        }
        Ok(&self.piece[self.at..])
    }

    /// Writes all of it as it comes. A compressed archive is decompressed on the way: that shows how far it is, and that it is whole.
    fn write_to(&mut self, out: &mut File, gzip: bool) -> io::Result<()> {
        let progress = self.progress;
        let mut check = gzip.then(|| GzChecker::new(Counted { inner: io::sink(), progress }));
        loop {
            let piece = self.piece()?;
            if piece.is_empty() {
                break;
            }
            out.write_all(piece)?;
            match &mut check {
                Some(check) => check.write_all(piece)?,
                None => progress.add(piece.len() as u64),
            }
            self.at = self.piece.len();
        }
        check.map_or(Ok(()), |mut check| check.try_finish())
    }
}

impl Read for CopyReader<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let piece = self.piece()?;
        let count = buffer.len().min(piece.len());
        buffer[..count].copy_from_slice(&piece[..count]);
        self.at += count;
        Ok(count)
    }
}
