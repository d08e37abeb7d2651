//! The pageserver's disk loses what was written and says so when it is to be made durable: the server ends rather than go on as if it had it.

use anyhow::{Context, Result, ensure};
use integration_tests::{ClusterOptions, Lab, Mount, TIMELINE, in_scratch};
use pgdata::Lsn;

#[test]
fn the_server_ends_and_goes_on_from_what_is_on_disk() {
    in_scratch("failed-sync", |dir| {
        let Some(below) = Mount::memory(&dir.join("disk"), 80)? else { return Ok(()) };
        let (image, point) = (below.path().join("image"), dir.join("pageserver"));
        let disk = Mount::image(&image, &point, 256)?;
        let mut lab = Lab::start(dir, &ClusterOptions::default())?;
        lab.primary.psql("postgres", "CREATE TABLE t (i int, x text)")?;
        lab.attach()?;
        lab.primary.psql("postgres", "CHECKPOINT; INSERT INTO t VALUES (0, 'early')")?;
        let early = lab.primary.current_lsn()?;
        lab.primary.psql("postgres", "CHECKPOINT")?;
        lab.pages()?.stream().size("1663/5/1259".parse()?, page_service::ReadLsn::at(early))?;

        let ballast = below.fill(0)?;
        lab.primary.psql("postgres", "INSERT INTO t SELECT i, repeat('x', 500) FROM generate_series(1, 2000) i")?;
        let (status, log) = lab.pageserver.ended()?;
        let last = log.lines().last().unwrap_or_default();
        ensure!(!status.success(), "the server ended with {status}");
        ensure!(
            last.contains("cannot sync") && last.contains("versions/wal/0000") && last.contains("os error"),
            "its last words do not name the file and the error: {last}"
        );

        // What the primary may have forgotten must be there without it, and not in memory only.
        ballast.drop_it()?;
        disk.unmount()?;
        let _disk = Mount::again(&image, &point)?;
        lab.relay.refuse(true);
        lab.pageserver.start()?;
        let (told, found) = (told(&lab)?, lab.pageserver.timeline(TIMELINE)?);
        ensure!(found.last_record_lsn >= told, "the primary was told {told}, and there is {found:?}");
        lab.relay.refuse(false);
        lab.primary.psql("postgres", "INSERT INTO t VALUES (1, 'later')")?;
        let later = lab.primary.current_lsn()?;
        lab.primary.psql("postgres", "CHECKPOINT")?;
        lab.compare(&[early, later], 0).map(drop)
    });
}

/// Up to where the primary thinks that it need not keep WAL any more: what it was told to be durable.
fn told(lab: &Lab) -> Result<Lsn> {
    let text = lab.primary.psql("postgres", "SELECT restart_lsn FROM pg_replication_slots")?;
    text.trim().parse().context("the slot's position")
}
