//! Stock PostgreSQL that replays the WAL, and `pg_waldump` that reads it.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use integration_tests::{Process, RunAs, Standby, run};
use pgdata::Lsn;

use crate::stage::Stage;

/// How long the replay may take.
const LIMIT: Duration = Duration::from_secs(600);

/// Millions of bytes a second, by the clock and by the time that a processor worked.
#[derive(Clone, Copy, Debug)]
pub struct Speed {
    pub wall: f64,
    pub processor: f64,
}

/// How the replaying server is set up.
#[derive(Clone, Copy, Debug)]
pub enum Settings {
    /// As it comes.
    Default,
    /// 256 MB of buffers, no fsync, no checkpoints.
    Favourable,
}

/// Replays everything on a server restored from the backup; answers how fast the replay alone was, as the server's own log has it
/// ("redo done … elapsed").
///
/// It is the replay of a standby with what favours it: all WAL in its own `pg_wal`, no archive, no queries. It ends with the WAL, unlike a
/// standby's, and so can be timed.
pub fn standby(stage: &Stage, number: usize, settings: Settings) -> Result<Speed> {
    let dir = stage.dir.join(format!("standby-{number}"));
    let standby = Standby::unpack(&stage.backup(), &dir, &stage.primary)?;
    copy_wal(&stage.wal(), &standby.data().join("pg_wal"))?;
    fs::remove_file(standby.data().join("recovery.signal"))?;
    fs::write(standby.data().join("postgresql.conf"), config(&dir, settings))?;
    let mut command = stage.primary.install().command("postgres");
    command.arg("-D").arg(standby.data());
    let mut server = Process::start("the standby", &mut command, &dir.join("log"))?;
    let log = server.wait_until("the end of its recovery", LIMIT, |server| {
        Ok(Some(server.log_text()?).filter(|log| log.contains("ready to accept connections")))
    })?;
    drop(server);
    let speed =
        speed_in(&log).with_context(|| format!("the standby's log does not tell how long redo took:\n{log}"))?;
    fs::remove_dir_all(&dir)?;
    Ok(speed)
}

fn config(dir: &Path, settings: Settings) -> String {
    let favourable = match settings {
        Settings::Default => "",
        Settings::Favourable => {
            "fsync = off\nautovacuum = off\nshared_buffers = 256MB\nmax_wal_size = 100GB\ncheckpoint_timeout = 1d\n"
        }
    };
    format!("listen_addresses = ''\nunix_socket_directories = '{}'\n{favourable}", dir.display())
}

fn copy_wal(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        if entry.file_type()?.is_file() && entry.file_name().len() == 24 {
            let copy = to.join(entry.file_name());
            fs::copy(entry.path(), &copy)?;
            RunAs::server_user().own(&copy)?;
        }
    }
    Ok(())
}

/// `redo starts at 0/2000028`, `redo done at 0/15F0F18 system usage: CPU: user: 1.35 s, system: 0.12 s, elapsed: 1.48 s`
fn speed_in(log: &str) -> Option<Speed> {
    let after = |text: &str| log.split(text).nth(1)?.split_whitespace().next().map(str::to_owned);
    let start: Lsn = after("redo starts at ")?.parse().ok()?;
    let end: Lsn = after("redo done at ")?.parse().ok()?;
    let usage = log.split("redo done at ").nth(1)?;
    let seconds = |what: &str| usage.split(what).nth(1)?.split(' ').next()?.parse::<f64>().ok();
    let megabytes = end.bytes_since(start) as f64 / 1e6;
    let worked = seconds("user: ")? + seconds("system: ")?;
    Some(Speed { wall: megabytes / seconds("elapsed: ")?, processor: megabytes / worked })
}

/// `pg_waldump --quiet` over all of the WAL: reading and checking alone, by PostgreSQL's own code.
pub fn waldump(stage: &Stage, start: Lsn, end: Lsn) -> Result<f64> {
    let mut command = stage.primary.install().command("pg_waldump");
    command.arg("--quiet").arg("--path").arg(stage.wal());
    command.arg(format!("--start={start}")).arg(format!("--end={end}"));
    let begun = Instant::now();
    run(&mut command)?;
    let seconds = begun.elapsed().as_secs_f64();
    ensure!(end > start, "there is no WAL");
    Ok(end.bytes_since(start) as f64 / 1e6 / seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_speed_is_in_the_log() {
        let log = "LOG:  redo starts at 0/2000028\nLOG:  redo done at 0/C000028 system usage: CPU: user: 1.35 s, system: 0.12 s, \
                   elapsed: 2.00 s\n";
        let speed = speed_in(log).expect("a speed");
        assert!((speed.wall - 83.886).abs() < 0.001, "{speed:?}");
        assert!((speed.processor - 167.772 / 1.47).abs() < 0.001, "{speed:?}");
        assert!(speed_in("redo starts at 0/2000028").is_none());
    }
}
