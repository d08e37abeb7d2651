//! A clone made with `--standby` follows the primary: it starts as of an LSN in the past, catches up, streams, and can be promoted.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use integration_tests::{Cluster, ClusterOptions, Lab, RunAs, TIMELINE, in_scratch};
use pgdata::Lsn;

/// Everything that replay from before the backup's LSN has to cope with: relations dropped, truncated and rewritten since, databases
/// copied and dropped, transactions prepared before and after the last checkpoint, unlogged tables, a tablespace.
const BEFORE_CHECKPOINT: &str = "
    CREATE TABLE dropped AS SELECT i FROM generate_series(1, 5000) i;
    CREATE TABLE truncated AS SELECT i FROM generate_series(1, 5000) i;
    CREATE TABLE rewritten AS SELECT i, md5(i::text) AS v FROM generate_series(1, 5000) i;
    CREATE UNLOGGED TABLE unlogged AS SELECT i FROM generate_series(1, 100) i;
    CREATE DATABASE old STRATEGY file_copy;
    BEGIN; INSERT INTO t VALUES (-1); PREPARE TRANSACTION 'early kept';
    BEGIN; INSERT INTO t VALUES (-2); PREPARE TRANSACTION 'early ended';
    CHECKPOINT;";
const AFTER_CHECKPOINT: &str = "
    UPDATE dropped SET i = 0; DROP TABLE dropped;
    DELETE FROM truncated; VACUUM truncated;
    ALTER TABLE rewritten ALTER i TYPE bigint;
    INSERT INTO t SELECT i FROM generate_series(1001, 2000) i;
    INSERT INTO in_ts SELECT i FROM generate_series(1, 1000) i;
    CREATE UNLOGGED TABLE unlogged_later AS SELECT i FROM generate_series(1, 100) i;
    BEGIN; INSERT INTO t VALUES (-3); PREPARE TRANSACTION 'late kept';
    BEGIN; INSERT INTO t VALUES (-4); PREPARE TRANSACTION 'late ended';
    COMMIT PREPARED 'early ended'; ROLLBACK PREPARED 'late ended';
    DROP DATABASE old;
    CREATE DATABASE logged STRATEGY wal_log;";

const COUNTS: &str = "SELECT (SELECT count(*) || ' ' || sum(id) FROM t), (SELECT count(*) FROM in_ts),
    (SELECT count(*) FROM truncated), (SELECT count(*) || max(v) FROM rewritten), to_regclass('dropped')";

#[test]
fn a_standby_made_at_an_lsn_follows_its_primary() {
    in_scratch("standby", |dir| {
        let mut lab = Lab::start(dir, &ClusterOptions::default().with_checksums().with("autovacuum", "off"))?;
        let location = lab.primary.tablespace_location("ts")?;
        lab.primary.psql("template1", "CREATE EXTENSION amcheck")?;
        lab.primary.psql(
            "postgres",
            &format!(
                "CREATE EXTENSION amcheck;
                 CREATE TABLE t (id int PRIMARY KEY);
                 INSERT INTO t SELECT generate_series(1, 1000);
                 CREATE TABLESPACE ts LOCATION '{}';
                 CREATE TABLE in_ts (id int PRIMARY KEY) TABLESPACE ts;",
                location.display()
            ),
        )?;
        lab.attach()?;
        let first = lab.primary.current_lsn()?;
        lab.primary.psql("postgres", BEFORE_CHECKPOINT)?;
        let between = lab.primary.current_lsn()?;
        lab.primary.psql("postgres", AFTER_CHECKPOINT)?;
        let last = lab.primary.current_lsn()?;
        lab.primary.psql("postgres", "INSERT INTO t SELECT generate_series(2001, 3000)")?;

        let oid = lab.primary.psql("postgres", "SELECT oid FROM pg_tablespace WHERE spcname = 'ts'")?;
        let mapped = format!("{}={}", oid.trim_end(), dir.join("last/elsewhere").display());
        let mut standbys = Vec::new();
        for (name, lsn, more) in
            [("first", first, &[][..]), ("between", between, &["--gzip"]), ("last", last, &["--tablespace", &mapped])]
        {
            let standby = start(&lab, &dir.join(name), lsn, more).with_context(|| format!("the standby of {name}"))?;
            standbys.push((name, standby));
        }
        // They go on with what the primary writes now.
        lab.primary.psql("postgres", "DELETE FROM t WHERE id % 10 = 0; INSERT INTO in_ts VALUES (0); CHECKPOINT")?;
        let expected = lab.primary.psql("postgres", COUNTS)?;
        for (name, mut standby) in standbys {
            standby.wait_for_replay(&lab.primary)?;
            follow_and_promote(&lab.primary, &mut standby, &expected)
                .with_context(|| format!("the standby of {name}"))?;
        }
        Ok(())
    });
}

fn start(lab: &Lab, dir: &Path, lsn: Lsn, more: &[&str]) -> Result<Cluster> {
    RunAs::server_user().make_dir(dir)?;
    let data = dir.join("data");
    let (at, conninfo) = (lsn.to_string(), lab.primary.conninfo());
    let mut arguments = vec!["basebackup", TIMELINE, "--at", &at, "--standby", "--primary-conninfo", &conninfo];
    arguments.extend(["-D", data.to_str().context("a strange path")?]);
    arguments.extend(more);
    lab.pageserver.cli(&arguments)?;
    expect_tablespace(&data, !more.is_empty() && more[0] == "--tablespace")?;
    let mut standby = Cluster::adopt(lab.primary.install(), dir)?;
    standby.start()?;
    // It is consistent where the backup was made, not before, and not later.
    let log = standby.log_text()?;
    ensure!(log.contains("completed backup recovery"), "the backup label was not used:\n{log}");
    let at = log.split("consistent recovery state reached at ").nth(1).and_then(|rest| rest.split_whitespace().next());
    ensure!(at.is_some_and(|at| at.parse() == Ok(lsn)), "consistent at {at:?}, not at {lsn}:\n{log}");
    ensure!(!log.contains("already been restored from disk"), "a transaction's state was there twice:\n{log}");
    Ok(standby)
}

fn expect_tablespace(data: &Path, linked: bool) -> Result<()> {
    for entry in std::fs::read_dir(data.join("pg_tblspc"))? {
        let path: PathBuf = entry?.path();
        ensure!(path.is_symlink() == linked, "{} is a link: {}", path.display(), !linked);
    }
    Ok(())
}

/// It has what the primary has, all of it whole; then it goes its own way.
fn follow_and_promote(primary: &Cluster, standby: &mut Cluster, expected: &str) -> Result<()> {
    standby.expect("postgres", "SELECT status FROM pg_stat_wal_receiver", "streaming")?;
    let found = standby.psql("postgres", COUNTS)?;
    ensure!(found == expected, "it has {found}, the primary {expected}");
    ensure!(primary.psql("postgres", COUNTS)? == expected);
    standby.amcheck(false)?;
    // Stopped and started, it goes on from its own restartpoint.
    standby.restart()?;
    standby.expect("postgres", "SELECT pg_is_in_recovery()", "t")?;
    standby.promote()?;
    // A standby shows none.
    let prepared = "SELECT string_agg(gid, ',' ORDER BY gid) FROM pg_prepared_xacts";
    standby.expect("postgres", prepared, "early kept,late kept")?;
    standby.psql(
        "postgres",
        "COMMIT PREPARED 'early kept'; ROLLBACK PREPARED 'late kept';
         INSERT INTO unlogged SELECT generate_series(1, 10);
         INSERT INTO in_ts SELECT generate_series(5000, 6000);
         UPDATE t SET id = -id - 100000;",
    )?;
    standby.expect("postgres", "SELECT count(*) FROM unlogged", "10")?;
    standby.expect("postgres", "SELECT count(*) FROM unlogged_later", "0")?;
    standby.amcheck(true)?;
    standby.restart()?;
    standby.amcheck(true)?;
    standby.stop()?;
    ensure!(standby.verify_checksums()?, "it has no checksums any more");
    Ok(())
}
