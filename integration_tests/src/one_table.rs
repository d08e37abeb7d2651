//! The least work that shows whether a primary is followed: one table, of which the pages are known.

use std::fs;

use anyhow::{Context, Result};
use pgdata::{Lsn, Page, RelTag};

use crate::{Cluster, Lab, PageSource};

/// A table of one row that is updated again and again.
#[derive(Clone, Copy, Debug)]
pub struct OneTable {
    rel: RelTag,
}

impl OneTable {
    /// Makes the table.
    ///
    /// # Errors
    /// The primary's.
    pub fn make(primary: &Cluster) -> Result<OneTable> {
        let path = primary.psql("postgres", "CREATE TABLE t AS SELECT 1 AS n; SELECT pg_relation_filepath('t')")?;
        Ok(OneTable { rel: path.trim().replace("base", "1663").parse()? })
    }

    /// Changes its page, and returns the end of a record behind that. A checkpoint before it makes the whole page go to the WAL, with its hint
    /// bits, which else are on the primary alone.
    ///
    /// # Errors
    /// The primary's.
    pub fn update(&self, primary: &Cluster) -> Result<Lsn> {
        primary.psql("postgres", "CHECKPOINT; UPDATE t SET n = n + 1")?;
        primary.current_lsn()
    }

    /// Its page as the pageserver has it at an LSN, which is waited for.
    ///
    /// # Errors
    /// The pageserver's.
    pub fn page(&self, lab: &Lab, lsn: Lsn) -> Result<Page> {
        let pages = lab.pages()?.relation_pages(self.rel, 0, 1, lsn)?;
        pages.into_iter().next().context("no page")
    }

    /// Its page as the server itself has it in its file, once that has been written.
    ///
    /// # Errors
    /// The server's.
    pub fn on_disk(&self, server: &Cluster) -> Result<Page> {
        server.psql("postgres", "CHECKPOINT")?;
        let bytes = fs::read(server.data().join(format!("base/{}/{}", self.rel.db, self.rel.rel)))?;
        bytes.first_chunk().copied().context("no page in the file")
    }
}
