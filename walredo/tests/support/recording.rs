//! WAL written under `wal_consistency_checking = all`: each record carries the pages as the primary had them after it.
//!
//! A recording is made once by a single-user server that works through `workload.sql`. With `WALREDO_RECORDINGS` naming a directory it is
//! kept there and used again, so that who works on redo waits only for redo. Any other WAL can be put there as well: a directory
//! `VERSION-NAME` with `pg_control` as it was before the work, the data directory's `pg_wal` in `data`, and its `base` and `global` as they
//! were before in `start`.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use pgdata::{ControlFile, Lsn, Object, PAGE_SIZE, Page, PageKey, PgVersion, SEGMENT_BLOCKS, relation_path};
use tempfile::TempDir;
use wal_decoder::{Record, WalStream};
use walredo::{PostgresRedo, PostgresRedoConfig, RedoRecord};

/// What `postgresql.conf` says whatever else it says.
const SETTINGS: &str =
    "wal_consistency_checking = all\nfsync = off\nmax_wal_size = 10GB\nwal_keep_size = 10GB\ncheckpoint_timeout = 1h\n";

/// What a cluster wrote, and its control file as it was before.
pub struct Recording {
    pub version: PgVersion,
    pub control: Vec<u8>,
    dir: PathBuf,
    scratch: Option<TempDir>,
}

impl Recording {
    /// The recording of that name, made now if it is not kept from earlier.
    pub fn get(version: PgVersion, name: &str, initdb_options: &[&str], config: &str) -> Recording {
        let Some(kept) = std::env::var_os("WALREDO_RECORDINGS") else {
            return Self::make(version, super::scratch(), initdb_options, config);
        };
        let kept = PathBuf::from(kept);
        fs::create_dir_all(&kept).unwrap();
        let dir = kept.join(format!("{version}-{name}"));
        if !dir.exists() {
            let scratch = tempfile::Builder::new().prefix("making-").tempdir_in(&kept).unwrap();
            fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o755)).unwrap();
            let mut made = Self::make(version, scratch, initdb_options, config);
            fs::rename(made.scratch.take().unwrap().keep(), &dir).unwrap();
        }
        Self::open(version, dir)
    }

    /// A recording that something else made, in the directory that `WALREDO_RECORDINGS` names.
    pub fn kept(version: PgVersion, name: &str) -> Recording {
        let kept = std::env::var_os("WALREDO_RECORDINGS").expect("WALREDO_RECORDINGS names a directory");
        Self::open(version, PathBuf::from(kept).join(format!("{version}-{name}")))
    }

    fn open(version: PgVersion, dir: PathBuf) -> Recording {
        let control = fs::read(dir.join("pg_control")).unwrap();
        Recording { version, control, dir, scratch: None }
    }

    fn make(version: PgVersion, scratch: TempDir, initdb_options: &[&str], config: &str) -> Recording {
        let dir = scratch.path().to_owned();
        if let Some((uid, gid)) = server_user() {
            std::os::unix::fs::chown(&dir, Some(uid), Some(gid)).unwrap();
        }
        let data = dir.join("data");
        let mut initdb = command(version, "initdb", &dir);
        initdb.args(["-N", "--no-locale", "-E", "UTF8", "-U", "postgres", "-D"]).arg(&data).args(initdb_options);
        succeed(initdb, "");
        let control = fs::read(data.join("global/pg_control")).unwrap();
        fs::write(dir.join("pg_control"), &control).unwrap();
        fs::create_dir(dir.join("start")).unwrap();
        for part in ["base", "global"] {
            let mut copy = Command::new("cp");
            copy.arg("-r").arg(data.join(part)).arg(dir.join("start"));
            succeed(copy, "");
        }
        let mut file = fs::File::options().append(true).open(data.join("postgresql.conf")).unwrap();
        writeln!(file, "{SETTINGS}{config}").unwrap();
        let mut single = command(version, "postgres", &dir);
        single.args(["--single", "-j", "-D"]).arg(&data).arg("postgres");
        succeed(single, include_str!("../workload.sql"));
        Recording { version, control, dir, scratch: Some(scratch) }
    }

    /// A page as it was before the work; `None` if it was not there, or nothing was kept of that time.
    pub fn first_page(&self, key: PageKey) -> Option<Box<Page>> {
        let Object::Relation(rel) = key.object else { return None };
        let (segment, block) = (key.block / SEGMENT_BLOCKS, key.block % SEGMENT_BLOCKS);
        let file = fs::File::open(self.dir.join("start").join(relation_path(self.version, rel, segment))).ok()?;
        let mut page = Box::new([0; PAGE_SIZE]);
        file.read_exact_at(&mut *page, u64::from(block) * PAGE_SIZE as u64).ok()?;
        Some(page)
    }

    /// Gives every record to `each`, to the end of the WAL.
    pub fn replay(&self, mut each: impl FnMut(&Record<'_>, RedoRecord<'_>)) {
        let control = ControlFile::parse(&self.control).unwrap();
        let start = control.check_point_copy.redo;
        let mut stream = WalStream::new(start, control.wal_segment_size, self.version).unwrap();
        let mut skip = (start.0 % u64::from(control.wal_segment_size)) as usize;
        'files: for file in self.wal_files(start, control.wal_segment_size) {
            let wal = fs::read(&file).unwrap();
            let mut whole = stream.feed(&wal[skip..]);
            skip = 0;
            loop {
                match whole.next_record() {
                    Ok(Some(raw)) => {
                        let record = Record::parse(self.version, raw.lsn, raw.bytes).unwrap();
                        each(&record, RedoRecord { lsn: raw.lsn, bytes: raw.bytes });
                    }
                    Ok(None) => break,
                    // The end of the WAL.
                    Err(_) => break 'files,
                }
            }
        }
        let end = fs::read(self.dir.join("data/global/pg_control"));
        let end = end.map_or(start, |bytes| ControlFile::parse(&bytes).unwrap().check_point);
        assert!(stream.decoded_to() > end, "read to {}, the last checkpoint is at {end}", stream.decoded_to());
    }

    /// The WAL files in their order, from the one that `start` is in.
    fn wal_files(&self, start: Lsn, segment_size: u32) -> Vec<PathBuf> {
        let segno = start.0 / u64::from(segment_size);
        let per_log = (1_u64 << 32) / u64::from(segment_size);
        let first = format!("00000001{:08X}{:08X}", segno / per_log, segno % per_log);
        let mut files: Vec<_> = fs::read_dir(self.dir.join("data/pg_wal"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.is_file() && path.file_name().is_some_and(|name| name.len() == 24 && name >= &*first))
            .collect();
        files.sort();
        files
    }

    /// The stock server as a redo process.
    pub fn pool(&self) -> PostgresRedo {
        self.pool_of(self.version, self.control.clone())
    }

    /// Another version's server, to judge records and pages that are the same in both.
    pub fn foreign_pool(&self, version: PgVersion) -> PostgresRedo {
        self.pool_of(version, ControlFile::initial(version, 42).to_bytes())
    }

    fn pool_of(&self, version: PgVersion, control: Vec<u8>) -> PostgresRedo {
        let scratch_parent = self.scratch.as_ref().map_or_else(std::env::temp_dir, |dir| dir.path().to_owned());
        let config = PostgresRedoConfig {
            bin_dir: Some(super::bin_dir(version)),
            scratch_parent,
            max_children: 1,
            request_timeout: Duration::from_secs(60),
            ..PostgresRedoConfig::new(control)
        };
        PostgresRedo::start(config).expect("the server starts as a redo process")
    }
}

fn command(version: PgVersion, program: &str, dir: &Path) -> Command {
    let mut command = Command::new(super::bin_dir(version).join(program));
    command.env("LC_ALL", "C").env_remove("PGDATA").current_dir(dir);
    if let Some((uid, gid)) = server_user() {
        command.uid(uid).gid(gid);
    }
    command
}

/// The user that servers run as, if this is root.
fn server_user() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let passwd = fs::read_to_string("/etc/passwd").unwrap();
    let line = passwd.lines().find(|line| line.starts_with("postgres:")).expect("there is a user named postgres");
    let field = |index| line.split(':').nth(index).and_then(|field| field.parse().ok()).expect("a number");
    Some((field(2), field(3)))
}

fn succeed(mut command: Command, input: &str) {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{errors}", output.status);
    assert!(!errors.contains("ERROR:"), "{command:?}:\n{errors}");
}
