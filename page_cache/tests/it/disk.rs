//! A disk in memory that forgets what was not synced when it crashes, and fails when told to.

use std::collections::BTreeMap;
use std::io::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use page_cache::{Storage, StorageFile};

/// What happens at a step. Every call that changes something is a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The machine stops: this call and all later ones fail; of this one anything or nothing may survive.
    Crash,
    /// This call fails, the next ones do not. A failed sync loses what it should have made durable.
    Fail,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Node {
    Dir,
    File(usize),
}

#[derive(Clone, Debug)]
enum NameOp {
    Link(PathBuf, Node),
    Rename(PathBuf, PathBuf),
    Unlink(PathBuf),
}

#[derive(Clone, Debug)]
enum FileOp {
    Write(u64, Vec<u8>),
    SetLen(u64),
}

#[derive(Clone, Debug, Default)]
struct Content {
    now: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<FileOp>,
}

#[derive(Debug, Default)]
struct Inner {
    files: Vec<Content>,
    names: BTreeMap<PathBuf, Node>,
    durable_names: BTreeMap<PathBuf, Node>,
    pending: Vec<NameOp>,
    steps: usize,
    fault: Option<(usize, Fault)>,
    crashed: bool,
    /// Bytes that all files may have together.
    capacity: Option<usize>,
    /// Bytes that one call writes at most.
    short: Option<usize>,
}

/// Handles on one disk share it.
#[derive(Clone, Debug, Default)]
pub struct Disk(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Handle(Disk, usize);

fn apply_name(names: &mut BTreeMap<PathBuf, Node>, op: &NameOp) {
    match op {
        NameOp::Link(path, node) => drop(names.insert(path.clone(), *node)),
        NameOp::Unlink(path) => drop(names.remove(path)),
        NameOp::Rename(from, to) => {
            if let Some(node) = names.remove(from) {
                names.insert(to.clone(), node);
            }
        }
    }
}

fn apply_file(bytes: &mut Vec<u8>, op: &FileOp) {
    match op {
        FileOp::SetLen(len) => bytes.resize(*len as usize, 0),
        FileOp::Write(offset, data) => {
            let end = *offset as usize + data.len();
            bytes.resize(bytes.len().max(end), 0);
            bytes[*offset as usize..end].copy_from_slice(data);
        }
    }
}

fn parent(op: &NameOp) -> &Path {
    let (NameOp::Link(path, _) | NameOp::Unlink(path) | NameOp::Rename(path, _)) = op;
    path.parent().unwrap_or(Path::new(""))
}

/// A row of numbers that looks random.
pub fn random(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*seed >> 33) ^ (*seed >> 13)
}

impl Inner {
    fn step(&mut self) -> Result<Option<Fault>> {
        if self.crashed {
            return Err(Error::other("the machine has crashed"));
        }
        self.steps += 1;
        let fault = self.fault.filter(|(at, _)| *at == self.steps).map(|(_, fault)| fault);
        self.crashed |= fault == Some(Fault::Crash);
        Ok(fault)
    }

    fn name(&mut self, op: NameOp) -> Result<()> {
        match self.step()? {
            Some(Fault::Fail) => Err(Error::other("told to fail")),
            fault => {
                apply_name(&mut self.names, &op);
                self.pending.push(op);
                if fault.is_some() { Err(Error::other("crash")) } else { Ok(()) }
            }
        }
    }

    fn file(&mut self, file: usize, op: FileOp) -> Result<()> {
        match self.step()? {
            Some(Fault::Fail) => Err(Error::other("told to fail")),
            fault => {
                apply_file(&mut self.files[file].now, &op);
                self.files[file].pending.push(op);
                if fault.is_some() { Err(Error::other("crash")) } else { Ok(()) }
            }
        }
    }
}

impl Disk {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }

    pub fn storage(&self) -> Arc<dyn Storage> {
        Arc::new(self.clone())
    }

    /// Steps done so far.
    pub fn steps(&self) -> usize {
        self.inner().steps
    }

    /// Something goes wrong at a step, counted from the disk's first.
    pub fn fault_at(&self, step: usize, fault: Fault) {
        self.inner().fault = Some((step, fault));
    }

    pub fn set_capacity(&self, bytes: Option<usize>) {
        self.inner().capacity = bytes;
    }

    pub fn set_short_writes(&self, bytes: usize) {
        self.inner().short = Some(bytes);
    }

    pub fn used(&self) -> usize {
        self.inner().files.iter().map(|file| file.now.len()).sum()
    }

    /// Everything that is not durable is there, or half there, or not, as it comes.
    pub fn after_crash(&self, mut seed: u64) -> Disk {
        let inner = self.inner();
        let mut names = inner.durable_names.clone();
        for op in &inner.pending {
            if random(&mut seed).is_multiple_of(2) {
                apply_name(&mut names, op);
            }
        }
        let mut files = inner.files.clone();
        for file in &mut files {
            let mut bytes = std::mem::take(&mut file.durable);
            for op in &file.pending {
                match (op, random(&mut seed) % 3) {
                    (_, 0) => {}
                    (FileOp::Write(offset, data), 1) => {
                        let kept = random(&mut seed) as usize % (data.len() + 1);
                        apply_file(&mut bytes, &FileOp::Write(*offset, data[..kept].to_vec()));
                    }
                    _ => apply_file(&mut bytes, op),
                }
            }
            *file = Content { now: bytes.clone(), durable: bytes, pending: Vec::new() };
        }
        let all = names.clone();
        names.retain(|path, _| {
            path.ancestors()
                .skip(1)
                .all(|dir| dir == Path::new("/") || dir.as_os_str().is_empty() || all.contains_key(dir))
        });
        Disk(Arc::new(Mutex::new(Inner { files, durable_names: names.clone(), names, ..Inner::default() })))
    }

    /// The process ends and the machine does not: another disk with all that was written.
    pub fn copy(&self) -> Disk {
        let inner = self.inner();
        let names = inner.names.clone();
        let now = |file: &Content| Content { now: file.now.clone(), durable: file.now.clone(), pending: Vec::new() };
        let files = inner.files.iter().map(now).collect();
        Disk(Arc::new(Mutex::new(Inner { files, durable_names: names.clone(), names, ..Inner::default() })))
    }

    /// A file's bytes.
    pub fn read(&self, path: &Path) -> Vec<u8> {
        let inner = self.inner();
        match inner.names[path] {
            Node::File(file) => inner.files[file].now.clone(),
            Node::Dir => panic!("{} is a directory", path.display()),
        }
    }

    /// Changes a file behind everybody's back.
    pub fn overwrite(&self, path: &Path, bytes: Vec<u8>) {
        let mut inner = self.inner();
        let Node::File(file) = inner.names[path] else { panic!("{} is a directory", path.display()) };
        inner.files[file].now = bytes;
    }

    pub fn files(&self) -> Vec<PathBuf> {
        self.inner().names.iter().filter(|(_, node)| matches!(node, Node::File(_))).map(|(p, _)| p.clone()).collect()
    }
}

impl Storage for Disk {
    fn create_dir(&self, path: &Path) -> Result<()> {
        let mut inner = self.inner();
        let missing: Vec<_> =
            path.ancestors().filter(|dir| dir.parent().is_some() && !inner.names.contains_key(*dir)).collect();
        missing.into_iter().rev().try_for_each(|dir| inner.name(NameOp::Link(dir.to_owned(), Node::Dir)))
    }

    fn list(&self, dir: &Path) -> Result<Vec<String>> {
        let inner = self.inner();
        if inner.names.get(dir) != Some(&Node::Dir) {
            return Err(ErrorKind::NotFound.into());
        }
        let inside = inner.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(inside.map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect())
    }

    fn create(&self, path: &Path) -> Result<Arc<dyn StorageFile>> {
        let mut inner = self.inner();
        if inner.names.get(path.parent().unwrap()) != Some(&Node::Dir) {
            return Err(ErrorKind::NotFound.into());
        }
        let file = match inner.names.get(path) {
            Some(Node::File(file)) => {
                let file = *file;
                inner.file(file, FileOp::SetLen(0))?;
                file
            }
            _ => {
                inner.files.push(Content::default());
                let file = inner.files.len() - 1;
                inner.name(NameOp::Link(path.to_owned(), Node::File(file)))?;
                file
            }
        };
        Ok(Arc::new(Handle(self.clone(), file)))
    }

    fn open(&self, path: &Path) -> Result<Arc<dyn StorageFile>> {
        match self.inner().names.get(path) {
            Some(Node::File(file)) => Ok(Arc::new(Handle(self.clone(), *file))),
            _ => Err(ErrorKind::NotFound.into()),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        self.inner().name(NameOp::Rename(from.to_owned(), to.to_owned()))
    }

    fn remove(&self, path: &Path) -> Result<()> {
        let mut inner = self.inner();
        if !inner.names.contains_key(path) {
            return Err(ErrorKind::NotFound.into());
        }
        inner.name(NameOp::Unlink(path.to_owned()))
    }

    fn sync_dir(&self, dir: &Path) -> Result<()> {
        let mut inner = self.inner();
        let fault = inner.step()?;
        let (synced, rest): (Vec<_>, Vec<_>) = inner.pending.drain(..).partition(|op| parent(op) == dir);
        inner.pending = rest;
        if fault.is_some() {
            return Err(Error::other("sync failed"));
        }
        synced.iter().for_each(|op| apply_name(&mut inner.durable_names, op));
        Ok(())
    }
}

impl StorageFile for Handle {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        let inner = self.0.inner();
        let rest = inner.files[self.1].now.get(offset as usize..).unwrap_or(&[]);
        let n = rest.len().min(buf.len());
        buf[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<usize> {
        let used = self.0.used();
        let mut inner = self.0.inner();
        let mut n = inner.short.map_or(buf.len(), |short| buf.len().min(short));
        if let Some(capacity) = inner.capacity {
            let growth = (offset as usize + n).saturating_sub(inner.files[self.1].now.len());
            n -= growth.saturating_sub(capacity.saturating_sub(used)).min(n);
            if n == 0 {
                return Err(ErrorKind::StorageFull.into());
            }
        }
        inner.file(self.1, FileOp::Write(offset, buf[..n].to_vec()))?;
        Ok(n)
    }

    fn sync(&self) -> Result<()> {
        let mut inner = self.0.inner();
        let fault = inner.step()?;
        if fault == Some(Fault::Crash) {
            return Err(Error::other("crash"));
        }
        let file = &mut inner.files[self.1];
        let pending = std::mem::take(&mut file.pending);
        if fault.is_some() {
            return Err(Error::other("sync failed"));
        }
        pending.iter().for_each(|op| apply_file(&mut file.durable, op));
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<()> {
        self.0.inner().file(self.1, FileOp::SetLen(len))
    }

    fn size(&self) -> Result<u64> {
        Ok(self.0.inner().files[self.1].now.len() as u64)
    }
}
