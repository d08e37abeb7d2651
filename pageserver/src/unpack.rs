//! A tar stream becomes a data directory.

use std::fs::{self, DirBuilder};
use std::io::{self, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use anyhow::{Context, Result, bail};
use page_service::{ClientError, QueryItem, Rows};

/// The bytes of a copy, as something to read from.
pub struct CopyReader<'a, 'c> {
    rows: Rows<'c>,
    piece: Vec<u8>,
    at: usize,
    progress: &'a dyn Fn(u64),
    /// What ended the copy, if it was an error: `Read` has no room for it.
    pub error: Option<ClientError>,
    /// The command's tag, once it is done.
    pub tag: Option<String>,
}

impl<'a, 'c> CopyReader<'a, 'c> {
    /// `progress` is called with the number of bytes that each piece brings.
    pub fn new(rows: Rows<'c>, progress: &'a dyn Fn(u64)) -> Self {
        CopyReader { rows, piece: Vec::new(), at: 0, progress, error: None, tag: None }
    }
}

impl Read for CopyReader<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.piece.len() {
            match self.rows.next() {
                None => return Ok(0),
                Some(Ok(QueryItem::Copy(piece))) => {
                    (self.progress)(piece.len() as u64);
                    (self.piece, self.at) = (piece, 0);
                }
                Some(Ok(QueryItem::Complete(tag))) => self.tag = Some(tag),
                Some(Ok(_)) => {}
                Some(Err(error)) => {
                    self.error = Some(error);
                    return Err(io::Error::other("the server ended the copy"));
                }
            }
        }
        let count = buffer.len().min(self.piece.len() - self.at);
        buffer[..count].copy_from_slice(&self.piece[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

/// Makes the directory, or takes it if it is empty. PostgreSQL insists on nobody else having access to it.
pub fn make_target(target: &Path) -> Result<()> {
    match fs::read_dir(target) {
        Ok(mut entries) => {
            if entries.next().is_some() {
                bail!("{} is not empty: choose another directory, or empty it", target.display());
            }
            fs::set_permissions(target, std::os::unix::fs::PermissionsExt::from_mode(0o700))
                .with_context(|| format!("cannot close {} to others", target.display()))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(target)
            .with_context(|| format!("cannot make {}", target.display())),
        Err(error) => Err(error).with_context(|| format!("cannot look into {}", target.display())),
    }
}

/// Unpacks an archive and makes everything durable.
pub fn unpack(stream: impl Read, target: &Path) -> Result<()> {
    let mut archive = tar::Archive::new(stream);
    archive.set_preserve_mtime(false);
    for member in archive.entries()? {
        let mut member = member?;
        let path = member.path()?.display().to_string();
        if !member.unpack_in(target).with_context(|| format!("cannot unpack {path} into {}", target.display()))? {
            bail!("the archive has a member outside of the data directory: {path}");
        }
    }
    sync_tree(target).with_context(|| format!("cannot make {} durable", target.display()))
}

fn sync_tree(path: &Path) -> io::Result<()> {
    if path.is_dir() && !path.is_symlink() {
        for entry in fs::read_dir(path)? {
            sync_tree(&entry?.path())?;
        }
    }
    if path.is_symlink() { Ok(()) } else { fs::File::open(path)?.sync_all() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_with_something_in_it_is_left_alone() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let target = directory.path().join("a/b");
        make_target(&target).expect("new");
        make_target(&target).expect("empty");
        fs::write(target.join("x"), "").expect("written");
        let refused = make_target(&target).expect_err("not empty");
        assert!(refused.to_string().contains("not empty"), "{refused}");
    }

    #[test]
    fn an_archive_cannot_climb_out() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let target = directory.path().join("data");
        make_target(&target).expect("new");
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..7].copy_from_slice(b"../evil");
        header.set_size(0);
        header.set_cksum();
        let mut builder = tar::Builder::new(Vec::new());
        builder.append(&header, io::empty()).expect("in memory");
        let bytes = builder.into_inner().expect("in memory");
        assert!(unpack(&bytes[..], &target).is_err());
        assert!(!directory.path().join("evil").exists());
    }
}
