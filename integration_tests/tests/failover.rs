//! The primary is lost and a standby takes its place: the pageserver goes on with the new timeline, or says why it must not.

use anyhow::{Context, Result, ensure};
use integration_tests::{Cluster, ClusterOptions, Lab, PageSource, in_scratch};
use pgdata::{Lsn, Page, RelTag};

/// A table of one row, and where it is.
fn make_table(primary: &Cluster) -> Result<RelTag> {
    let path = primary.psql("postgres", "CREATE TABLE t AS SELECT 1 AS n; SELECT pg_relation_filepath('t')")?;
    Ok(path.trim().replace("base", "1663").parse()?)
}

fn update(primary: &Cluster) -> Result<Lsn> {
    primary.psql("postgres", "UPDATE t SET n = n + 1")?;
    primary.current_lsn()
}

fn page(lab: &Lab, rel: RelTag, lsn: Lsn) -> Result<Page> {
    let pages = lab.pages()?.relation_pages(rel, 0, 1, lsn)?;
    pages.into_iter().next().context("no page")
}

/// The page as the server itself has it in its file, once that has been written.
fn page_on_disk(server: &Cluster, rel: RelTag) -> Result<Page> {
    server.psql("postgres", "CHECKPOINT")?;
    let bytes = std::fs::read(server.data().join(format!("base/{}/{}", rel.db, rel.rel)))?;
    bytes.first_chunk().copied().context("no page in the file")
}

/// A standby streams from the primary, too, and is promoted behind the address that the pageserver follows.
#[test]
fn a_standby_promoted_behind_the_same_address_is_followed() {
    in_scratch("promoted", |dir| {
        let options = ClusterOptions::default();
        let mut lab = Lab::start(dir, &options)?;
        let second = Cluster::standby_of(&lab.primary, &dir.join("second"), &options)?;
        let rel = make_table(&lab.primary)?;
        lab.attach()?;
        let before = update(&lab.primary)?;
        let old = page(&lab, rel, before)?;
        lab.primary.stop()?;
        second.promote_at(before)?;
        lab.relay.point_at(second.port());
        let after = update(&second)?;
        let new = page(&lab, rel, after)?;
        ensure!(new == page_on_disk(&second, rel)?, "the page is not the new primary's");

        lab.pageserver.kill9()?;
        lab.pageserver.start()?;
        ensure!(page(&lab, rel, before)? == old && page(&lab, rel, after)? == new, "a restart changed pages");
        ensure!(page(&lab, rel, update(&second)?)? != new, "nothing comes after the restart");
        Ok(())
    });
}
