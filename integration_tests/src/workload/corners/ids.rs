//! Transaction ids and multixacts over the boundaries of their pages and segments.

use anyhow::{Context, Result};
use postgres::Client;

use super::super::{DATABASE, execute_all, sessions};
use crate::Cluster;

/// Transaction ids on a page of `pg_xact`.
const XIDS_A_PAGE: i64 = 32_768;
/// How far before the boundary the transactions begin that cross it.
const MARGIN: i64 = 150;
/// Subtransactions in each of them; together more than the margin.
const SUBTRANSACTIONS: usize = 150;

/// Crosses a boundary of `pg_xact` with transactions whose subtransactions lie on both sides, one to be committed, one rolled back
/// and two that stay prepared, and then uses many multixacts.
pub fn cross(cluster: &Cluster) -> Result<()> {
    let mut client = cluster.connect(DATABASE)?;
    let next: i64 = client.query_one("SELECT txid_current()", &[])?.get(0);
    let left = XIDS_A_PAGE - next % XIDS_A_PAGE;
    if left > MARGIN {
        burn(cluster, left - MARGIN)?;
    }
    let mut sessions = Vec::new();
    for _ in 0..4 {
        let mut session = cluster.connect(DATABASE)?;
        session.batch_execute("BEGIN")?;
        sessions.push(session);
    }
    for i in 0..SUBTRANSACTIONS {
        for (number, session) in sessions.iter_mut().enumerate() {
            subtransaction(session, i * 10 + number)?;
        }
    }
    for (session, end) in
        sessions.iter_mut().zip(["COMMIT", "ROLLBACK", "PREPARE TRANSACTION 'one'", "PREPARE TRANSACTION 'two'"])
    {
        session.batch_execute(end)?;
    }
    burn(cluster, 1000)?;
    sessions::lock_rows(cluster, 1)
}

/// One subtransaction; every third is rolled back.
fn subtransaction(session: &mut Client, n: usize) -> Result<()> {
    let end = if n.is_multiple_of(3) { "ROLLBACK TO s" } else { "RELEASE s" };
    execute_all(session, &["SAVEPOINT s", &format!("INSERT INTO subs VALUES ({n}, 'sub')"), end])
}

/// Ends the prepared transactions, one each way.
pub fn settle_prepared(cluster: &Cluster) -> Result<()> {
    execute_all(&mut cluster.connect(DATABASE)?, &["COMMIT PREPARED 'one'", "ROLLBACK PREPARED 'two'"])
}

/// Uses transaction ids up.
pub fn burn(cluster: &Cluster, count: i64) -> Result<()> {
    let statement = format!(
        "DO $$ BEGIN FOR i IN 1..{count} LOOP INSERT INTO burnt VALUES (i); \
         IF i % 10 = 0 THEN ROLLBACK; ELSE COMMIT; END IF; END LOOP; END $$"
    );
    cluster.connect(DATABASE)?.batch_execute(&statement).context("burning transaction ids")
}
