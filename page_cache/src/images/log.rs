//! The files of images: opening, appending, reading back, cutting off.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use pgdata::{Lsn, Page, PageKey};

use super::format::{
    ENTRY, FileHeader, HEADER, ImageName, TRAILER, footer, offset, parse_entry, parse_footer, parse_trailer, put_entry,
};
use crate::index::{ImageNumber, KeptImage};
use crate::layer::LayerFormatError;
use crate::storage::{Context, Storage, StorageError, StorageFile, read_exact_at, write_all_at};

/// The directory of image files in a timeline's directory.
const IMAGES: &str = "images";
const SUFFIX: &str = ".img";
/// What is put behind the name of a file that is not used.
const UNUSED: &str = ".damaged";
/// Pages in a file: 256 MiB.
pub(crate) const DEFAULT_FILE_PAGES: u32 = 32 << 10;
/// How many files are kept open for reading: 32 GiB of images.
const OPEN_FILES: usize = 128;
/// Images that are read by one system call at most.
const RUN: usize = 32;

thread_local! {
    /// What was read and is not believed yet. It is kept, for clearing a new one each time takes long.
    static ENTRIES: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Why an image is not kept, or not believed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImageLogError {
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error("the image file {} is damaged at offset {offset}: {source}", path.display())]
    Format { path: PathBuf, offset: u64, source: LayerFormatError },
    #[error("the image file {} has at offset {offset} page {} at {}, not {} at {}", path.display(), got.key, got.lsn, expected.key, expected.lsn)]
    Other { path: PathBuf, offset: u64, got: ImageName, expected: ImageName },
    #[error("the images are of another maker, {0}")]
    Maker(u32),
    /// Making images durable failed before.
    #[error("no images are kept since making them durable failed: {0}")]
    Stopped(Arc<StorageError>),
    #[error("there are no more numbers for images")]
    Numbers,
}

/// A file and the number of its first image; the others follow.
#[derive(Clone, Copy, Debug)]
struct Place {
    first: u32,
    file: u32,
    salt: u64,
}

/// The file that is written now.
#[derive(Debug)]
struct Last {
    number: u32,
    salt: u64,
    file: Arc<dyn StorageFile>,
    names: Vec<ImageName>,
}

#[derive(Debug)]
struct Writer {
    last: Option<Last>,
    next_file: u32,
    next_image: u32,
    buffer: Vec<u8>,
    stopped: Option<Arc<StorageError>>,
}

/// A timeline's images on disk. One thread appends, any number of threads read.
#[derive(Debug)]
pub(crate) struct ImageLog {
    storage: Arc<dyn Storage>,
    dir: PathBuf,
    system_id: u64,
    maker: u32,
    file_pages: u32,
    places: RwLock<Vec<Place>>,
    open_files: RwLock<BTreeMap<u32, Arc<dyn StorageFile>>>,
    writer: Mutex<Writer>,
    bytes: AtomicU64,
}

/// What a file holds.
struct Found {
    number: u32,
    salt: u64,
    file: Arc<dyn StorageFile>,
    names: Vec<ImageName>,
    complete: bool,
}

impl ImageLog {
    /// Opens the log in a timeline's directory. Answers also with all images in it.
    ///
    /// A file that is damaged is renamed and not used: its pages are made of their records. One of another maker is removed.
    pub fn open(
        storage: Arc<dyn Storage>,
        timeline: &Path,
        system_id: u64,
        maker: u32,
        file_pages: u32,
    ) -> Result<(ImageLog, Vec<KeptImage>), StorageError> {
        let dir = timeline.join(IMAGES);
        let writer = Writer { last: None, next_file: 1, next_image: 0, buffer: Vec::new(), stopped: None };
        let mut log = ImageLog {
            storage,
            dir,
            system_id,
            maker,
            file_pages: file_pages.max(1),
            places: RwLock::default(),
            open_files: RwLock::default(),
            writer: Mutex::new(writer),
            bytes: AtomicU64::new(0),
        };
        let mut images = Vec::new();
        for number in log.file_numbers()? {
            match log.find(number) {
                Ok(found) => log.adopt(found, &mut images)?,
                Err(ImageLogError::Maker(_)) => log.remove(number)?,
                Err(error) => log.set_aside(number, &error)?,
            }
        }
        Ok((log, images))
    }

    /// The numbers of all files, in order.
    fn file_numbers(&mut self) -> Result<Vec<u32>, StorageError> {
        let names = match self.storage.list(&self.dir) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            names => names.context("list", &self.dir)?,
        };
        let mut numbers = Vec::new();
        for name in names {
            let number = file_number(name.strip_suffix(UNUSED).unwrap_or(&name));
            match number {
                Some(number) if !name.ends_with(UNUSED) => numbers.push(number),
                Some(_) => {}
                None => tracing::warn!(path = %self.dir.join(&name).display(), "not a file of images: left alone"),
            }
            let writer = self.writer.get_mut().unwrap_or_else(PoisonError::into_inner);
            writer.next_file = writer.next_file.max(number.map_or(1, |number| number.saturating_add(1)));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    fn path(&self, number: u32) -> PathBuf {
        self.dir.join(format!("{number:08X}{SUFFIX}"))
    }

    /// Reads what a file holds.
    fn find(&self, number: u32) -> Result<Found, ImageLogError> {
        let path = self.path(number);
        let file = self.storage.open(&path).context("open", &path)?;
        let length = file.size().context("read the size of", &path)?;
        let format = |offset, source| ImageLogError::Format { path: path.clone(), offset, source };
        let mut start = [0; HEADER];
        if length < HEADER as u64 {
            // Made, and not yet written to.
            return Ok(Found { number, salt: new_salt(), file, names: Vec::new(), complete: false });
        }
        read_exact_at(&*file, &mut start, 0).context("read", &path)?;
        let header = FileHeader::parse(&start, self.system_id, number).map_err(|source| format(0, source))?;
        let salt = header.salt;
        if header.maker != self.maker {
            return Err(ImageLogError::Maker(header.maker));
        }
        if length >= (HEADER + TRAILER) as u64 {
            let mut trailer = [0; TRAILER];
            read_exact_at(&*file, &mut trailer, length - TRAILER as u64).context("read", &path)?;
            if let Some((entries, len)) = parse_trailer(&trailer, length) {
                let mut bytes = vec![0; len + TRAILER];
                read_exact_at(&*file, &mut bytes, offset(entries)).context("read", &path)?;
                let names = parse_footer(&bytes).map_err(|source| format(offset(entries), source))?;
                return Ok(Found { number, salt, file, names, complete: true });
            }
        }
        let names = self.whole_entries(&*file, salt, length).context("read", &path)?;
        Ok(Found { number, salt, file, names, complete: false })
    }

    /// The entries of a file without an index, up to the first that is not whole.
    fn whole_entries(&self, file: &dyn StorageFile, salt: u64, length: u64) -> std::io::Result<Vec<ImageName>> {
        let mut names = Vec::new();
        let mut entry = [0; ENTRY];
        for slot in 0..self.file_pages {
            if offset(slot + 1) > length {
                break;
            }
            read_exact_at(file, &mut entry, offset(slot))?;
            match parse_entry(salt, &entry) {
                Ok((name, _)) => names.push(name),
                Err(_) => break,
            }
        }
        Ok(names)
    }

    /// Takes a file's images into use. The last file is written on, if it is not complete.
    fn adopt(&mut self, found: Found, images: &mut Vec<KeptImage>) -> Result<(), StorageError> {
        let Found { number, salt, file, names, complete } = found;
        let writer = self.writer.get_mut().unwrap_or_else(PoisonError::into_inner);
        let first = writer.next_image;
        images.extend((first..).zip(&names).map(|(image, name)| KeptImage {
            number: ImageNumber(image),
            key: name.key,
            lsn: name.lsn,
        }));
        writer.next_image += names.len() as u32;
        *self.bytes.get_mut() += offset(names.len() as u32);
        self.places.get_mut().unwrap_or_else(PoisonError::into_inner).push(Place { first, file: number, salt });
        writer.last = None;
        if !complete && number.checked_add(1) == Some(writer.next_file) {
            let path = self.dir.join(format!("{number:08X}{SUFFIX}"));
            if file.size().context("read the size of", &path)? > offset(names.len() as u32) {
                // Durably, so that nothing of it is found behind what is appended now.
                file.set_len(offset(names.len() as u32)).context("shorten", &path)?;
                file.sync().context("sync", &path)?;
            }
            writer.last = Some(Last { number, salt, file, names });
        }
        Ok(())
    }

    /// Removes a file whose pages would be made in another way today.
    fn remove(&self, number: u32) -> Result<(), StorageError> {
        let path = self.path(number);
        tracing::info!(path = %path.display(), "this file of page images was made by an older redo: it is removed, and the images are made again");
        self.storage.remove(&path).context("remove", &path)?;
        self.storage.sync_dir(&self.dir).context("sync", &self.dir)
    }

    /// Gives a file that is not used another name, so that it is not believed later either.
    fn set_aside(&self, number: u32, error: &ImageLogError) -> Result<(), StorageError> {
        let path = self.path(number);
        tracing::error!(
            path = %path.display(), %error,
            "this file of page images is not used, and gets another name; its pages are made of their records"
        );
        let mut unused = path.clone().into_os_string();
        unused.push(UNUSED);
        self.storage.rename(&path, Path::new(&unused)).context("rename", &path)?;
        self.storage.sync_dir(&self.dir).context("sync", &self.dir)
    }

    fn lock(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes on disk, without the indexes of files.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Keeps images of pages at an LSN. Answers with the number of the first; those of the others follow.
    ///
    /// After an error none of them is kept, and it can be tried again but for [`ImageLogError::Stopped`].
    pub fn append(&self, lsn: Lsn, pages: &[(PageKey, &Page)]) -> Result<ImageNumber, ImageLogError> {
        let mut writer = self.lock();
        let writer = &mut *writer;
        if let Some(error) = &writer.stopped {
            return Err(ImageLogError::Stopped(Arc::clone(error)));
        }
        let first = writer.next_image;
        if u64::from(first) + pages.len() as u64 > u64::from(ImageNumber::LIMIT) {
            return Err(ImageLogError::Numbers);
        }
        let mut rest = pages;
        let mut buffer = std::mem::take(&mut writer.buffer);
        while !rest.is_empty() {
            let last = self.file_with_room(writer)?;
            let room = self.file_pages as usize - last.names.len();
            let (these, behind) = rest.split_at(rest.len().min(room));
            buffer.clear();
            for (key, page) in these {
                put_entry(&mut buffer, last.salt, ImageName { key: *key, lsn }, page);
            }
            let at = offset(last.names.len() as u32);
            write_all_at(&*last.file, &buffer, at).with_context("write", || self.path(last.number))?;
            last.names.extend(these.iter().map(|(key, _)| ImageName { key: *key, lsn }));
            self.bytes.fetch_add((these.len() * ENTRY) as u64, Ordering::Relaxed);
            // Those of an earlier file stay, though nobody asks for them, if the rest fails: numbers are not given twice.
            writer.next_image += these.len() as u32;
            rest = behind;
        }
        writer.buffer = buffer;
        Ok(ImageNumber(first))
    }

    /// The last file, or the next if there is none or it is full.
    fn file_with_room<'a>(&self, writer: &'a mut Writer) -> Result<&'a mut Last, ImageLogError> {
        if writer.last.as_ref().is_some_and(|last| last.names.len() >= self.file_pages as usize) {
            self.complete(writer)?;
        }
        if writer.last.is_none() {
            let number = writer.next_file;
            // The last number of all is not used: a file of that name would be emptied.
            let next_file = number.checked_add(1).ok_or(ImageLogError::Numbers)?;
            let path = self.path(number);
            self.storage.create_dir(&self.dir).context("create", &self.dir)?;
            let file = self.storage.create(&path).context("create", &path)?;
            writer.next_file = next_file;
            let salt = new_salt();
            self.places.write().unwrap_or_else(PoisonError::into_inner).push(Place {
                first: writer.next_image,
                file: number,
                salt,
            });
            self.keep_open(number, &file);
            self.bytes.fetch_add(HEADER as u64, Ordering::Relaxed);
            writer.last = Some(Last { number, salt, file, names: Vec::new() });
        }
        let last = writer.last.as_ref().expect("there is one now");
        if last.names.is_empty() {
            let path = self.path(last.number);
            let (system_id, maker) = (self.system_id, self.maker);
            let header = FileHeader { system_id, number: last.number, salt: last.salt, maker };
            write_all_at(&*last.file, &header.to_bytes(), 0).context("write", &path)?;
            // Before there is any image, so that the salt is never one that the file's blocks had before.
            durable(&mut writer.stopped, last.file.sync().context("sync", &path))?;
        }
        Ok(writer.last.as_mut().expect("there is one now"))
    }

    /// Completes the last file and makes it durable.
    fn complete(&self, writer: &mut Writer) -> Result<(), ImageLogError> {
        let Some(last) = &writer.last else { return Ok(()) };
        let path = self.path(last.number);
        write_all_at(&*last.file, &footer(&last.names), offset(last.names.len() as u32)).context("write", &path)?;
        let synced = last.file.sync().context("sync", &path);
        let synced = synced.and_then(|()| self.storage.sync_dir(&self.dir).context("sync", &self.dir));
        durable(&mut writer.stopped, synced)?;
        writer.last = None;
        Ok(())
    }

    fn keep_open(&self, number: u32, file: &Arc<dyn StorageFile>) {
        let mut open = self.open_files.write().unwrap_or_else(PoisonError::into_inner);
        if open.len() >= OPEN_FILES {
            open.pop_first();
        }
        open.insert(number, Arc::clone(file));
    }

    fn file(&self, number: u32) -> Result<Arc<dyn StorageFile>, StorageError> {
        let open = self.open_files.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = open.get(&number) {
            return Ok(Arc::clone(file));
        }
        drop(open);
        let path = self.path(number);
        let file = self.storage.open(&path).context("open", &path)?;
        self.keep_open(number, &file);
        Ok(file)
    }

    /// Reads images whose numbers follow one another, of pages of one object that do so too.
    pub fn read_run(&self, first: KeptImage, lsns: &[Lsn], pages: &mut [Page]) -> Result<(), ImageLogError> {
        let mut number = first.number.0;
        let mut names = (first.key.block..)
            .zip(lsns)
            .map(|(block, lsn)| ImageName { key: PageKey { block, ..first.key }, lsn: *lsn });
        let mut rest = pages;
        while !rest.is_empty() {
            let (place, in_file) = self.place(number);
            let (these, behind) = rest.split_at_mut(rest.len().min(RUN).min(in_file as usize));
            let file = self.file(place.file)?;
            let at = offset(number - place.first);
            ENTRIES.with_borrow_mut(|buffer| {
                buffer.resize(RUN * ENTRY, 0);
                let entries = &mut buffer[..these.len() * ENTRY];
                read_exact_at(&*file, entries, at).with_context("read", || self.path(place.file))?;
                let (entries, _) = entries.as_chunks::<ENTRY>();
                for (((offset, entry), page), expected) in
                    (at..).step_by(ENTRY).zip(entries).zip(these.iter_mut()).zip(&mut names)
                {
                    let path = || self.path(place.file);
                    let (got, content) = parse_entry(place.salt, entry).map_err(|source| ImageLogError::Format {
                        path: path(),
                        offset,
                        source,
                    })?;
                    if got != expected {
                        return Err(ImageLogError::Other { path: path(), offset, got, expected });
                    }
                    *page = *content;
                }
                Ok(())
            })?;
            number += these.len() as u32;
            rest = behind;
        }
        Ok(())
    }

    /// Which images are not to be asked for any more after an error of [`ImageLog::read_run`] for one of them: if it is not what was written, itself; if its
    /// file cannot be read, all of the file.
    pub fn unusable(&self, image: ImageNumber, error: &ImageLogError) -> Range<ImageNumber> {
        let number = image.0;
        match error {
            ImageLogError::Storage(_) => {
                let (place, behind) = self.place(number);
                ImageNumber(place.first)..ImageNumber(number.saturating_add(behind))
            }
            _ => image..ImageNumber(number + 1),
        }
    }

    /// The file that an image is in, and how many follow in it, itself included.
    fn place(&self, number: u32) -> (Place, u32) {
        let places = self.places.read().unwrap_or_else(PoisonError::into_inner);
        let next = places.partition_point(|place| place.first <= number);
        let behind = places.get(next).map_or(u32::MAX, |next| next.first - number);
        // The first file begins with the first number.
        (places[next.saturating_sub(1)], behind)
    }

    /// Removes, durably, all images of an LSN after `last`, and those behind them: the WAL that they are made of is not there, and what
    /// comes in its place may be other WAL. `images` are all that were found by [`ImageLog::open`]; nothing was appended since. Answers with how
    /// many went.
    pub fn remove_after(&self, last: Lsn, images: &mut Vec<KeptImage>) -> Result<usize, StorageError> {
        let Some(void) = images.iter().find(|image| image.lsn > last).map(|image| image.number.0) else { return Ok(0) };
        let mut writer = self.lock();
        let mut places = self.places.write().unwrap_or_else(PoisonError::into_inner);
        self.open_files.write().unwrap_or_else(PoisonError::into_inner).clear();
        // The next image begins a new file.
        writer.last = None;
        let mut end = writer.next_image;
        while end > void
            && let Some(Place { first, file: number, .. }) = places.last().copied()
        {
            let path = self.path(number);
            if first >= void {
                self.storage.remove(&path).context("remove", &path)?;
                self.storage.sync_dir(&self.dir).context("sync", &self.dir)?;
                places.pop();
            } else {
                let file = self.storage.open(&path).context("open", &path)?;
                file.set_len(offset(void - first)).context("shorten", &path)?;
                file.sync().context("sync", &path)?;
            }
            end = first;
        }
        let removed = images.len() - void as usize;
        images.truncate(void as usize);
        writer.next_image = void;
        self.bytes.fetch_sub((removed * ENTRY) as u64, Ordering::Relaxed);
        Ok(removed)
    }
}

/// Stops the log if something could not be made durable.
fn durable(stopped: &mut Option<Arc<StorageError>>, synced: Result<(), StorageError>) -> Result<(), ImageLogError> {
    synced.map_err(|error| ImageLogError::Stopped(Arc::clone(stopped.insert(Arc::new(error)))))
}

/// What no file had before: the standard library's hashers begin with random numbers.
fn new_salt() -> u64 {
    RandomState::new().hash_one(())
}

/// The number of a file of images, if its name is that of one.
fn file_number(name: &str) -> Option<u32> {
    let digits = name.strip_suffix(SUFFIX)?;
    let number = u32::from_str_radix(digits, 16).ok()?;
    (number > 0 && format!("{number:08X}{SUFFIX}") == name).then_some(number)
}
