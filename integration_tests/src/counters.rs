//! Clusters whose counters stand shortly before a boundary, so that a test crosses it without burning millions of ids.

use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context, Result};

use crate::pg_install::run;
use crate::{Cluster, RunAs};

/// Transaction ids on a page of `pg_xact` (two bits each), multixacts on one of their offsets (four bytes each), and multixact
/// members on one of theirs (four bytes and a byte of flags each, in groups of four).
const XIDS_A_PAGE: u32 = 32_768;
const MULTIXACTS_A_PAGE: u32 = 2048;
const MEMBERS_A_PAGE: u32 = 1636;
/// Pages in an SLRU segment file (`SLRU_PAGES_PER_SEGMENT`), and bytes in a page.
const SLRU_PAGES: u32 = 32;
const PAGE: u64 = 8192;

/// What a cluster counts, as `pg_resetwal` sets it.
#[derive(Clone, Copy, Debug)]
pub struct Counters {
    /// The next transaction id, and its epoch.
    pub xid: u32,
    /// How often transaction ids have wrapped around.
    pub epoch: u32,
    /// The next multixact.
    pub multixact: u32,
    /// The next multixact's first member.
    pub member: u32,
    /// The WAL's next segment, counted from LSN 0.
    pub wal_segment: u64,
}

impl Cluster {
    /// Sets the counters of a cluster that has just been made and does not run, and starts it. Every row is frozen before, as none of
    /// the ids so far means anything afterwards.
    ///
    /// # Errors
    /// If a server or `pg_resetwal` fails.
    pub fn start_at(&mut self, counters: &Counters, segment_size: u64) -> Result<()> {
        self.start()?;
        self.psql("postgres", "ALTER DATABASE template0 ALLOW_CONNECTIONS true")?;
        self.freeze_everything()?;
        self.stop()?;
        self.reset_to(counters, segment_size)?;
        self.start()?;
        // What the catalogs say about the oldest ids in them lies in the future now; this sets it right.
        self.freeze_everything()
    }

    /// Freezes every row of every database that can be connected to, so that no old id is needed and the SLRUs are truncated.
    ///
    /// # Errors
    /// The server's.
    pub fn freeze_everything(&self) -> Result<()> {
        let databases = self
            .connect("postgres")?
            .query("SELECT datname::text FROM pg_database WHERE datallowconn ORDER BY oid", &[])?;
        for database in databases {
            let name: &str = database.get(0);
            let mut client = self.connect(name)?;
            client
                .batch_execute("SET vacuum_freeze_min_age = 0; SET vacuum_multixact_freeze_min_age = 0")
                .and_then(|()| client.batch_execute("VACUUM (FREEZE)"))
                .with_context(|| format!("freezing {name}"))?;
        }
        Ok(())
    }

    fn reset_to(&self, counters: &Counters, segment_size: u64) -> Result<()> {
        let Counters { xid, epoch, multixact, member, wal_segment } = *counters;
        let per_log = (1 << 32) / segment_size;
        let wal = format!("00000001{:08X}{:08X}", wal_segment / per_log, wal_segment % per_log);
        let mut command = self.install().command("pg_resetwal");
        command
            .args(["-x", &xid.to_string(), "-u", &xid.to_string(), "-e", &epoch.to_string()])
            .args(["-m", &format!("{multixact},{multixact}"), "-O", &member.to_string(), "-l", &wal])
            .arg("-D")
            .arg(self.data());
        run(&mut command)?;
        let slru = |name: &str| self.data().join(name);
        slru_up_to(&slru("pg_xact"), xid / XIDS_A_PAGE)?;
        slru_up_to(&slru("pg_multixact/offsets"), multixact / MULTIXACTS_A_PAGE)?;
        slru_up_to(&slru("pg_multixact/members"), member / MEMBERS_A_PAGE)
    }
}

/// Makes an SLRU of the one segment that holds a page, with zeros up to that page.
fn slru_up_to(dir: &Path, page: u32) -> Result<()> {
    for entry in fs::read_dir(dir)? {
        fs::remove_file(entry?.path())?;
    }
    let path = dir.join(format!("{:04X}", page / SLRU_PAGES));
    File::create_new(&path)?.set_len(u64::from(page % SLRU_PAGES + 1) * PAGE)?;
    Ok(RunAs::server_user().own(&path)?)
}
