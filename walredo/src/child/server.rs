//! What is needed to start a redo process: checked once, used for every start.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use pgdata::{ControlFile, PgVersion};

use super::config::PostgresRedoConfig;
use super::error::StartError;
use super::module::{Module, module_for};
use super::scratch::Scratch;

/// Settings of every version: as small as the server lets them be, nothing outside its own directory.
const SETTINGS: &[&str] = &[
    "shared_buffers=128",
    "wal_buffers=4",
    "max_connections=5",
    "max_wal_senders=0",
    "max_worker_processes=0",
    "max_replication_slots=0",
    "max_prepared_transactions=0",
    "max_locks_per_transaction=10",
    "max_pred_locks_per_transaction=10",
    "autovacuum_max_workers=1",
    "track_activity_query_size=100",
    "min_dynamic_shared_memory=0",
    "dynamic_shared_memory_type=mmap",
    "shared_memory_type=mmap",
    "huge_pages=off",
    "fsync=off",
    "log_min_messages=warning",
    "log_line_prefix=",
];
const SETTINGS_FROM_17: &[&str] = &[
    "commit_timestamp_buffers=16",
    "multixact_member_buffers=16",
    "multixact_offset_buffers=16",
    "notify_buffers=16",
    "serializable_buffers=16",
    "subtransaction_buffers=16",
    "transaction_buffers=16",
];
const SETTINGS_FROM_18: &[&str] = &["io_method=sync", "max_active_replication_origins=0"];

/// A server that can be started as a redo process.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) version: PgVersion,
    pub(super) program: PathBuf,
    pub(super) run_as: Option<(u32, u32)>,
    pub(super) control_file: Vec<u8>,
    pub(super) module: &'static Module,
}

impl Server {
    /// Finds everything out that can be known before a start.
    pub(super) fn find(config: &PostgresRedoConfig) -> Result<Server, StartError> {
        let version = ControlFile::parse(&config.control_file)?.version;
        let module = module_for(version)?;
        let bin_dir = match &config.bin_dir {
            Some(directory) => directory.clone(),
            None => PathBuf::from(format!("/usr/lib/postgresql/{version}/bin")),
        };
        let program = bin_dir.join("postgres");
        if !program.is_file() {
            return Err(StartError::NoServer { version, path: program });
        }
        let run_as = choose_user(config.run_as)?;
        Ok(Server { version, program, run_as, control_file: config.control_file.clone(), module })
    }

    /// The command that starts it.
    pub(super) fn command(&self, scratch: &Scratch) -> Command {
        let mut command = Command::new(&self.program);
        command.env_clear().env("LC_ALL", "C").current_dir("/");
        if let Some(path) = std::env::var_os("LD_LIBRARY_PATH") {
            command.env("LD_LIBRARY_PATH", path);
        }
        if let Some((uid, gid)) = self.run_as {
            command.uid(uid).gid(gid);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.arg("--single").arg("-D").arg(scratch.data());
        command.arg("-c").arg(preload_setting(&scratch.module()));
        for setting in self.settings() {
            command.arg("-c").arg(setting);
        }
        command.arg("postgres");
        command
    }

    fn settings(&self) -> impl Iterator<Item = &'static &'static str> {
        let from_17 = if self.version >= PgVersion::V17 { SETTINGS_FROM_17 } else { &[] };
        let from_18 = if self.version >= PgVersion::V18 { SETTINGS_FROM_18 } else { &[] };
        SETTINGS.iter().chain(from_17).chain(from_18)
    }
}

/// The setting is a list: a path with a comma or a blank in it needs quotes.
fn preload_setting(module: &Path) -> std::ffi::OsString {
    let quoted = module.to_string_lossy().replace('"', "\"\"");
    format!("shared_preload_libraries=\"{quoted}\"").into()
}

/// Root runs the server as someone else, everyone else runs it as himself.
fn choose_user(configured: Option<(u32, u32)>) -> Result<Option<(u32, u32)>, StartError> {
    let is_root = rustix::process::geteuid().is_root();
    match configured {
        Some((uid, gid)) if !is_root => Err(StartError::NotRoot { uid, gid }),
        Some(user) => Ok(Some(user)),
        None if !is_root => Ok(None),
        None => {
            let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
            find_user(&passwd, "postgres").map(Some).ok_or(StartError::NoUser)
        }
    }
}

/// User and group id of a line `name:password:uid:gid:…`.
fn find_user(passwd: &str, name: &str) -> Option<(u32, u32)> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then_some(())?;
        Some((fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_his_whole_name() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\npostgres2:x:1:1::/:\npostgres:x:105:113:,,,:/var/lib/postgresql:/bin/sh\n";
        assert_eq!(find_user(passwd, "postgres"), Some((105, 113)));
        assert_eq!(find_user(passwd, "root"), Some((0, 0)));
        assert_eq!(find_user(passwd, "post"), None);
        assert_eq!(find_user("postgres:x:x:1", "postgres"), None);
    }

    #[test]
    fn odd_paths_are_quoted_in_a_list_setting() {
        let setting = preload_setting(Path::new("/tmp/a, \"b\"/walredo.so"));
        assert_eq!(setting, "shared_preload_libraries=\"/tmp/a, \"\"b\"\"/walredo.so\"");
    }
}
