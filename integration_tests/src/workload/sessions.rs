//! The parts of the work that need several sessions at once.

use anyhow::{Context, Result};
use postgres::Client;

use super::{DATABASE, execute_all};
use crate::Cluster;

/// Row locks of several transactions on the same rows, which make multixacts: one new multixact for each row, because each is
/// locked by a subtransaction of its own, so that pages of their offsets (2048 a page) and members (1636) are crossed.
pub fn lock_rows(cluster: &Cluster, round: u32) -> Result<()> {
    let mut first = cluster.connect(DATABASE)?;
    let mut second = cluster.connect(DATABASE)?;
    let mut third = cluster.connect(DATABASE)?;
    execute_all(
        &mut first,
        &[
            "BEGIN",
            "DO $$ BEGIN FOR i IN 1..1100 LOOP BEGIN PERFORM 1 FROM locked WHERE id = i FOR KEY SHARE; \
             EXCEPTION WHEN division_by_zero THEN NULL; END; END LOOP; END $$",
        ],
    )?;
    // Another share lock on the same rows, and updates that the locks allow: they leave the key alone.
    execute_all(
        &mut second,
        &[
            "BEGIN",
            "SELECT count(*) FROM (SELECT 1 FROM locked WHERE id <= 900 FOR KEY SHARE) AS l",
            "UPDATE locked SET n = n + 1 WHERE id BETWEEN 800 AND 1100",
        ],
    )?;
    execute_all(
        &mut third,
        &[
            "BEGIN",
            "SELECT count(*) FROM (SELECT 1 FROM locked WHERE id <= 300 FOR SHARE) AS l",
            "SAVEPOINT s",
            "SELECT count(*) FROM (SELECT 1 FROM locked WHERE id BETWEEN 200 AND 400 FOR KEY SHARE) AS l",
            "ROLLBACK TO s",
            // These have newer versions, not yet committed: they are locked too.
            "SELECT count(*) FROM (SELECT 1 FROM locked WHERE id BETWEEN 850 AND 900 FOR KEY SHARE) AS l",
        ],
    )?;
    execute_all(&mut first, &[&format!("INSERT INTO locked_child VALUES ({round})"), "COMMIT"])?;
    execute_all(&mut second, &[if round.is_multiple_of(2) { "ROLLBACK" } else { "COMMIT" }])?;
    execute_all(&mut third, &["COMMIT", "VACUUM locked"])?;
    if round.is_multiple_of(2) {
        execute_all(&mut third, &["VACUUM (FREEZE) locked"])?;
    }
    Ok(())
}

/// A session whose transaction has changed rows, made a table and is still open.
pub fn open_transaction(cluster: &Cluster, round: u32) -> Result<Client> {
    let mut client = cluster.connect(DATABASE)?;
    execute_all(
        &mut client,
        &[
            "BEGIN",
            &format!(
                "INSERT INTO prepared SELECT i, 'never committed' FROM generate_series(-{round}000 - 300, -{round}000) i"
            ),
            &format!("CREATE TABLE open_{round} AS SELECT generate_series(1, 2000) AS n"),
            &format!("CREATE INDEX open_index_{round} ON open_{round} (n)"),
        ],
    )?;
    Ok(client)
}

/// Rolls the open transaction back.
pub fn abandon(mut client: Client) -> Result<()> {
    client.batch_execute("ROLLBACK").context("ROLLBACK of the open transaction")
}

/// Two prepared transactions that stay open until [`settle_prepared`].
pub fn prepare(cluster: &Cluster, round: u32) -> Result<()> {
    let mut client = cluster.connect(DATABASE)?;
    for (name, base) in [("commit", 1), ("rollback", 2)] {
        let first = round * 1000 + base * 300;
        let insert =
            |from: u32| format!("INSERT INTO prepared SELECT i, '{name}' FROM generate_series({from}, {from} + 99) i");
        execute_all(
            &mut client,
            &[
                "BEGIN",
                &insert(first),
                "SAVEPOINT s",
                &insert(first + 100),
                "RELEASE s",
                &format!("CREATE TABLE prepared_{name}_{round} (n int PRIMARY KEY)"),
                &format!("INSERT INTO prepared_{name}_{round} VALUES (1)"),
                &format!("PREPARE TRANSACTION '{name} {round}'"),
            ],
        )?;
    }
    Ok(())
}

/// Commits one prepared transaction and rolls the other back.
pub fn settle_prepared(cluster: &Cluster, round: u32) -> Result<()> {
    let mut client = cluster.connect(DATABASE)?;
    execute_all(
        &mut client,
        &[&format!("COMMIT PREPARED 'commit {round}'"), &format!("ROLLBACK PREPARED 'rollback {round}'")],
    )
}
