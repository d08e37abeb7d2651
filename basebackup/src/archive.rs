//! A tar archive as it is written: headers, contents, padding.

use std::io::{self, Write};

use tar::{EntryType, Header};

use crate::BackupError;

/// Members begin at multiples of this.
const BLOCK: u64 = 512;
/// Only the owner may look into a data directory, or a server refuses it.
const DIRECTORY_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// Writes members one after the other. Without [`Archive::finish`] the archive has no end, and readers see that it is not whole.
pub(crate) struct Archive<W> {
    out: W,
    time: u64,
}

/// A file whose content is being written.
pub(crate) struct File<'a, W> {
    archive: &'a mut Archive<W>,
    path: String,
    size: u64,
    written: u64,
}

impl<W: Write> Archive<W> {
    /// An archive all of whose members were made at `time`, in seconds since 1970.
    pub fn new(out: W, time: u64) -> Archive<W> {
        Archive { out, time }
    }

    /// A directory; the empty path is the archive's own.
    pub fn directory(&mut self, path: &str) -> Result<(), BackupError> {
        let path = if path.is_empty() { "./".to_owned() } else { format!("{path}/") };
        let header = self.header(&path, EntryType::Directory, DIRECTORY_MODE, 0)?;
        self.member(&path, header)
    }

    /// A symbolic link.
    pub fn link(&mut self, path: &str, target: &str) -> Result<(), BackupError> {
        let mut header = self.header(path, EntryType::Symlink, 0o777, 0)?;
        header.set_link_name_literal(target).map_err(|source| name_error(path, source))?;
        self.member(path, header)
    }

    /// A file of `size` bytes, which follow.
    pub fn file(&mut self, path: &str, size: u64) -> Result<File<'_, W>, BackupError> {
        let header = self.header(path, EntryType::Regular, FILE_MODE, size)?;
        self.member(path, header)?;
        Ok(File { archive: self, path: path.to_owned(), size, written: 0 })
    }

    /// A file whose content is at hand.
    pub fn small_file(&mut self, path: &str, content: &[u8]) -> Result<(), BackupError> {
        let mut file = self.file(path, content.len() as u64)?;
        file.write(content)?;
        file.finish()
    }

    /// Writes the end of the archive.
    pub fn finish(mut self) -> Result<W, BackupError> {
        let path = "the end";
        self.put(path, &[0; 2 * BLOCK as usize])?;
        self.out.flush().map_err(|source| write_error(path, source))?;
        Ok(self.out)
    }

    fn header(&self, path: &str, kind: EntryType, mode: u32, size: u64) -> Result<Header, BackupError> {
        let mut header = Header::new_ustar();
        // The empty path would be refused, and the archive's own directory is written as it is everywhere.
        header.set_path(path).map_err(|source| name_error(path, source))?;
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(self.time);
        header.set_size(size);
        Ok(header)
    }

    fn member(&mut self, path: &str, mut header: Header) -> Result<(), BackupError> {
        header.set_cksum();
        self.put(path, header.as_bytes())
    }

    fn put(&mut self, path: &str, bytes: &[u8]) -> Result<(), BackupError> {
        self.out.write_all(bytes).map_err(|source| write_error(path, source))
    }
}

impl<W: Write> File<'_, W> {
    /// The next bytes of the content.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), BackupError> {
        self.written += bytes.len() as u64;
        assert!(self.written <= self.size, "{}: more than the {} bytes announced", self.path, self.size);
        self.archive.put(&self.path, bytes)
    }

    /// Zeros up to the announced size.
    pub fn fill(&mut self) -> Result<(), BackupError> {
        static ZEROS: [u8; 1 << 16] = [0; 1 << 16];
        while self.written < self.size {
            let count = (self.size - self.written).min(ZEROS.len() as u64);
            self.write(&ZEROS[..count as usize])?;
        }
        Ok(())
    }

    /// The content is complete.
    pub fn finish(self) -> Result<(), BackupError> {
        assert_eq!(self.written, self.size, "{}: fewer bytes than announced", self.path);
        let padding = self.size.next_multiple_of(BLOCK) - self.size;
        self.archive.put(&self.path, &[0; BLOCK as usize][..padding as usize])
    }
}

fn write_error(path: &str, source: io::Error) -> BackupError {
    BackupError::Write { path: path.to_owned(), source }
}

fn name_error(path: &str, source: io::Error) -> BackupError {
    BackupError::Name { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn what_is_written_is_read_again() {
        let mut archive = Archive::new(Vec::new(), 77);
        archive.directory("").unwrap();
        archive.directory("pg_wal").unwrap();
        archive.link("pg_tblspc/16400", "/some/where").unwrap();
        archive.small_file("PG_VERSION", b"15\n").unwrap();
        let mut file = archive.file("zeros", 100_000).unwrap();
        file.write(b"x").unwrap();
        file.fill().unwrap();
        file.finish().unwrap();
        let bytes = archive.finish().unwrap();
        assert_eq!(bytes.len() % 512, 0);

        let mut seen = Vec::new();
        for entry in tar::Archive::new(&bytes[..]).entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            assert_eq!(entry.header().mtime().unwrap(), 77);
            seen.push((entry.path().unwrap().display().to_string(), entry.header().mode().unwrap(), content.len()));
        }
        let expected =
            [("./", 0o700, 0), ("pg_wal/", 0o700, 0), ("pg_tblspc/16400", 0o777, 0), ("PG_VERSION", 0o600, 3)];
        assert_eq!(seen[..4], expected.map(|(path, mode, len)| (path.to_owned(), mode, len)));
        assert_eq!(seen[4], ("zeros".to_owned(), 0o600, 100_000));
    }

    #[test]
    fn names_without_room_are_refused() {
        let mut archive = Archive::new(Vec::new(), 0);
        let long = "x".repeat(101);
        assert!(matches!(archive.small_file(&long, b""), Err(BackupError::Name { path, .. }) if path == long));
        assert!(matches!(archive.link("pg_tblspc/1", &format!("/{long}")), Err(BackupError::Name { .. })));
    }

    #[test]
    fn a_writer_that_fails_is_heard() {
        let mut archive = Archive::new(&mut [][..], 0);
        assert!(matches!(archive.directory("base"), Err(BackupError::Write { path, .. }) if path == "base/"));
    }
}
