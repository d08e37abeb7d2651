//! A tar stream becomes a data directory.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use tar::EntryType;

use crate::tell::tell;

/// Files are written in pieces of this many bytes.
const PIECE: usize = 256 << 10;
const TABLESPACES: &str = "pg_tblspc";

/// Where an archive is unpacked: a data directory, and directories for tablespaces that lie elsewhere.
pub struct Target {
    data: PathBuf,
    tablespaces: BTreeMap<u32, PathBuf>,
}

impl Target {
    /// Makes the directories, or takes them if they are empty.
    pub fn make(data: &Path, tablespaces: &[(u32, PathBuf)]) -> Result<Target> {
        let mut map = BTreeMap::new();
        for (oid, dir) in tablespaces {
            ensure!(map.insert(*oid, dir.clone()).is_none(), "tablespace {oid} is given two directories");
        }
        make_empty(data)?;
        map.values().try_for_each(|dir| make_empty(dir))?;
        Ok(Target { data: data.to_owned(), tablespaces: map })
    }

    /// Unpacks an archive and makes everything durable.
    pub fn unpack(&self, stream: impl Read) -> Result<()> {
        let mut archive = tar::Archive::new(stream);
        let mut buffer = vec![0; PIECE];
        let mut links = BTreeSet::new();
        for member in archive.entries()? {
            let mut member = member?;
            let path = member.path()?.into_owned();
            let place = self.place(&path)?;
            let context = || format!("cannot make {}", place.path().display());
            match (member.header().entry_type(), &place) {
                (EntryType::Directory, Place::Tablespace(oid, dir)) => {
                    symlink(dir, self.data.join(TABLESPACES).join(oid.to_string())).with_context(context)?;
                    links.insert(*oid);
                }
                // The data directory's own member.
                (EntryType::Directory, Place::In(path)) if path == &self.data => {}
                (EntryType::Directory, Place::In(path)) => {
                    DirBuilder::new().mode(0o700).create(path).with_context(context)?;
                }
                (EntryType::Regular, Place::In(path)) => {
                    // All directories stand before the first file: nobody waits for the whole archive to hear of a wrong number.
                    self.check_links(&links)?;
                    write_file(&mut member, path, &mut buffer).with_context(context)?;
                }
                (kind, _) => bail!("the archive has {} as a {kind:?}, which no data directory has", path.display()),
            }
        }
        self.check_links(&links)?;
        for tree in self.tablespaces.values().chain([&self.data]) {
            sync_tree(tree).with_context(|| format!("cannot make {} durable", tree.display()))?;
        }
        Ok(())
    }

    fn check_links(&self, links: &BTreeSet<u32>) -> Result<()> {
        match self.tablespaces.keys().find(|oid| !links.contains(oid)) {
            None => Ok(()),
            Some(oid) => {
                bail!("there is no tablespace {oid} to be put elsewhere: SELECT oid, spcname FROM pg_tablespace")
            }
        }
    }

    /// Empties the directories again, as far as that is possible: what is not whole is of no use, and would be in the way of the next attempt.
    pub fn clear(&self) {
        for dir in self.tablespaces.values().chain([&self.data]) {
            for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
                let path = entry.path();
                let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
                let removed = if is_dir { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
                if let Err(error) = removed {
                    tell(format_args!("pageserver: cannot remove {}: {error}", path.display()));
                }
            }
        }
    }

    /// Where a member belongs.
    fn place(&self, path: &Path) -> Result<Place> {
        let mut inside = PathBuf::new();
        for component in path.components() {
            match component {
                Component::Normal(name) => inside.push(name),
                Component::CurDir => {}
                _ => bail!("the archive has a member outside of the data directory: {}", path.display()),
            }
        }
        let Ok(rest) = inside.strip_prefix(TABLESPACES) else { return Ok(Place::In(self.data.join(inside))) };
        let mut rest = rest.components();
        let oid = rest.next().and_then(|oid| oid.as_os_str().to_str()?.parse::<u32>().ok());
        match oid.and_then(|oid| Some((oid, self.tablespaces.get(&oid)?))) {
            None => Ok(Place::In(self.data.join(inside))),
            Some((oid, dir)) if rest.as_path().as_os_str().is_empty() => Ok(Place::Tablespace(oid, dir.clone())),
            Some((_, dir)) => Ok(Place::In(dir.join(rest.as_path()))),
        }
    }
}

enum Place {
    In(PathBuf),
    /// The directory of a tablespace that lies elsewhere: there.
    Tablespace(u32, PathBuf),
}

impl Place {
    fn path(&self) -> &Path {
        let (Place::In(path) | Place::Tablespace(_, path)) = self;
        path
    }
}

/// Makes a directory, or takes it if it is empty. PostgreSQL insists on nobody else having access to it.
fn make_empty(dir: &Path) -> Result<()> {
    match fs::read_dir(dir) {
        Ok(mut entries) => {
            if entries.next().is_some() {
                bail!("{} is not empty: choose another directory, or empty it", dir.display());
            }
            fs::set_permissions(dir, fs::Permissions::from_mode(0o700))
                .with_context(|| format!("cannot close {} to others", dir.display()))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .with_context(|| format!("cannot make {}", dir.display())),
        Err(error) => Err(error).with_context(|| format!("cannot look into {}", dir.display())),
    }
}

/// Writes a new file, for its owner alone.
fn write_file(content: &mut impl Read, path: &Path, buffer: &mut [u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    loop {
        match content.read(buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => file.write_all(&buffer[..count])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
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

    /// An archive of directories, which end in a slash, and empty files.
    fn archive(members: &[&str]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for path in members {
            let mut header = tar::Header::new_gnu();
            header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
            header.set_entry_type(if path.ends_with('/') { EntryType::Directory } else { EntryType::Regular });
            header.set_size(0);
            header.set_cksum();
            builder.append(&header, io::empty()).expect("in memory");
        }
        builder.into_inner().expect("in memory")
    }

    #[test]
    fn a_target_with_something_in_it_is_left_alone() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let target = directory.path().join("a/b");
        make_empty(&target).expect("new");
        make_empty(&target).expect("empty");
        fs::write(target.join("x"), "").expect("written");
        let refused = make_empty(&target).expect_err("not empty");
        assert!(refused.to_string().contains("not empty"), "{refused}");
    }

    #[test]
    fn an_archive_cannot_climb_out() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let target = Target::make(&directory.path().join("data"), &[]).expect("new");
        for path in ["../evil", "base/../../evil", "/evil"] {
            assert!(target.unpack(&archive(&[path])[..]).is_err(), "{path}");
        }
        assert!(!directory.path().join("evil").exists());
    }

    #[test]
    fn a_tablespace_is_put_elsewhere() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let (data, elsewhere) = (directory.path().join("data"), directory.path().join("elsewhere"));
        let target = Target::make(&data, &[(16400, elsewhere.clone())]).expect("new");
        let members = ["./", "pg_tblspc/", "pg_tblspc/16400/", "pg_tblspc/16400/PG_15/", "pg_tblspc/16400/PG_15/1"];
        target
            .unpack(&archive(&[&members[..], &["pg_tblspc/16401/", "pg_tblspc/16401/2"]].concat())[..])
            .expect("unpacked");
        assert_eq!(fs::read_link(data.join("pg_tblspc/16400")).expect("a link"), elsewhere);
        assert!(elsewhere.join("PG_15/1").is_file() && data.join("pg_tblspc/16401/2").is_file());
    }

    #[test]
    fn a_tablespace_that_is_not_there_is_an_error_before_the_first_file() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let (data, elsewhere) = (directory.path().join("d"), directory.path().join("e"));
        let target = Target::make(&data, &[(7, elsewhere.clone())]).expect("new");
        for members in [&["./"][..], &["./", "base/", "PG_VERSION"]] {
            let error = target.unpack(&archive(members)[..]).expect_err("no tablespace");
            assert!(error.to_string().contains("no tablespace 7"), "{error}");
            assert!(!data.join("PG_VERSION").exists());
        }
        fs::write(elsewhere.join("x"), "").expect("written");
        target.clear();
        make_empty(&data).expect("empty again");
        make_empty(&elsewhere).expect("empty again");
    }
}
