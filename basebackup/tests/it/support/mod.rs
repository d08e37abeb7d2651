//! A stock server on both sides of a backup: sources to make one of, and a clone that is started from it.

mod clone;
mod files;
mod history;

pub use clone::{controldata, restore, start, waldump};
pub use files::FileSource;
pub use history::{TimelineAt, WithoutWal, follow};

use anyhow::Result;
use integration_tests::Cluster;

/// Something of everything that a backup treats in a way of its own, in a cluster with a tablespace at `location`.
pub fn populate(cluster: &Cluster, location: &std::path::Path) -> Result<()> {
    let location = location.display();
    cluster.psql(
        "postgres",
        &format!(
            "CREATE EXTENSION amcheck;
             CREATE TABLE t (id int PRIMARY KEY, v text, n int[]);
             INSERT INTO t SELECT i, md5(i::text), ARRAY[i % 7, i % 11] FROM generate_series(1, 20000) i;
             CREATE INDEX t_hash ON t USING hash (v);
             CREATE INDEX t_gin ON t USING gin (n);
             CREATE INDEX t_brin ON t USING brin (id);
             CREATE UNLOGGED TABLE u (id serial PRIMARY KEY, v text, p point);
             CREATE INDEX u_hash ON u USING hash (v);
             CREATE INDEX u_gist ON u USING gist (p);
             INSERT INTO u (v, p) SELECT md5(i::text), point(i, i) FROM generate_series(1, 5000) i;
             CREATE TABLE empty ();
             CREATE TABLESPACE ts LOCATION '{location}';
             CREATE TABLESPACE in_place LOCATION '';
             CREATE TABLE in_ts (id int PRIMARY KEY) TABLESPACE ts;
             CREATE UNLOGGED TABLE unlogged_in_ts (id int) TABLESPACE ts;
             INSERT INTO in_ts SELECT generate_series(1, 1000);
             INSERT INTO unlogged_in_ts SELECT generate_series(1, 1000);
             CREATE DATABASE logged STRATEGY wal_log;
             CREATE DATABASE copied TABLESPACE ts STRATEGY file_copy;
             VACUUM ANALYZE;"
        ),
    )?;
    cluster.psql("copied", "CREATE TABLE c AS SELECT generate_series(1, 100) i")?;
    // A row that two transactions lock makes a multixact; the subtransactions of a prepared transaction are in its state file.
    cluster.psql(
        "postgres",
        "BEGIN; SELECT * FROM t WHERE id = 1 FOR KEY SHARE; SAVEPOINT a; UPDATE t SET n = '{}' WHERE id = 1; COMMIT;
         BEGIN; INSERT INTO t VALUES (-1, 'prepared'); SAVEPOINT b; INSERT INTO t VALUES (-2, 'prepared');
         PREPARE TRANSACTION 'p1';",
    )?;
    Ok(())
}

/// Looks at what [`populate`] made, in a server that was started from a backup, and works on it.
pub fn check(restored: &mut Cluster) -> Result<()> {
    restored.expect("postgres", "SELECT count(*), min(id) FROM t", "20000|1")?;
    restored.expect("postgres", "SELECT count(*) FROM u", "0")?;
    restored.expect("postgres", "SELECT count(*) FROM unlogged_in_ts", "0")?;
    restored.expect("postgres", "SELECT count(*) FROM in_ts", "1000")?;
    restored.expect("copied", "SELECT count(*) FROM c", "100")?;
    restored.expect("logged", "SELECT count(*) > 300 FROM pg_class", "t")?;
    restored.expect("postgres", "SELECT gid FROM pg_prepared_xacts", "p1")?;
    restored.amcheck(false)?;
    work(restored)?;
    restored.expect("postgres", "SELECT count(*) FROM t WHERE id < 0", "2")?;
    restored.stop()?;
    start(restored)?;
    restored.amcheck(true)?;
    // Recovery from a crash replays what was written since, tablespaces as plain directories included.
    restored.psql("postgres", "INSERT INTO in_ts SELECT generate_series(1001, 2000)")?;
    restored.stop_immediately()?;
    start(restored)?;
    restored.expect("postgres", "SELECT count(*) FROM in_ts", "2000")?;
    restored.amcheck(true)
}

fn work(restored: &Cluster) -> Result<()> {
    restored.psql(
        "postgres",
        "COMMIT PREPARED 'p1';
         INSERT INTO u (v, p) SELECT md5(i::text), point(i, i) FROM generate_series(1, 1000) i;
         SET enable_seqscan = off;
         DO $$ BEGIN ASSERT (SELECT count(*) FROM u WHERE v = md5('77')) = 1; END $$;
         DO $$ BEGIN ASSERT (SELECT count(*) FROM u WHERE p <@ box '((0,0),(10,10))') = 10; END $$;
         RESET enable_seqscan;
         UPDATE t SET v = v || 'x' WHERE id % 3 = 0;
         DELETE FROM t WHERE id % 10 = 0 AND id > 0;
         INSERT INTO t SELECT i, md5(i::text) FROM generate_series(30001, 40000) i;
         BEGIN; SELECT FROM t WHERE id = 7 FOR KEY SHARE; SAVEPOINT a; UPDATE t SET n = '{}' WHERE id = 7; COMMIT;
         CREATE TABLE new_in_ts (id int) TABLESPACE ts;
         CREATE TABLE new (LIKE t INCLUDING ALL);
         INSERT INTO new SELECT * FROM t;
         CREATE DATABASE another TEMPLATE copied;
         VACUUM (FREEZE) t;
         CHECKPOINT;",
    )?;
    Ok(())
}
