//! A read at an LSN that has not arrived waits for it.

use std::thread;

use anyhow::{Context, Result, ensure};
use integration_tests::{ClusterOptions, Lab, PageSource, StreamSource, current_lsn, in_scratch};
use pgdata::{Lsn, RelTag};

/// `pg_class` of the database `postgres`, whose file has this number until it is rewritten.
fn pg_class() -> RelTag {
    "1663/5/1259".parse().expect("a relation")
}

#[test]
fn a_read_in_the_future_ends_when_the_wal_arrives() {
    in_scratch("wait", |dir| {
        let mut lab = Lab::start(dir, &ClusterOptions::default())?;
        lab.attach()?;
        let now = lab.primary.current_lsn()?;
        // Some way ahead of all the WAL there is, so that the read cannot be answered before the primary writes more.
        let future = Lsn(now.0 + 1_000_000).align_up();
        let mut pages = lab.pages()?;
        let reader = thread::spawn(move || -> Result<(StreamSource, usize)> {
            let read = pages.relation_pages(pg_class(), 0, 1, future)?;
            Ok((pages, read.len()))
        });
        // The reader either waits by now or comes too late to have to; before the WAL is written it must not be done.
        ensure!(!reader.is_finished(), "a page at {future} was answered at {now}");
        let mut client = lab.primary.connect("postgres")?;
        while current_lsn(&mut client)? < future {
            client.batch_execute("SELECT pg_logical_emit_message(true, 'wait', repeat('x', 100000))")?;
        }
        let (_, read) = reader.join().expect("the reader does not panic")?;
        ensure!(read == 1, "{read} pages");
        Ok(())
    });
}

#[test]
fn a_read_that_waits_too_long_says_so() {
    in_scratch("wait-limit", |dir| {
        let mut lab = Lab::start(dir, &ClusterOptions::default())?;
        lab.pageserver.sigterm()?;
        lab.pageserver.configure("wait_timeout_seconds = 1\n")?;
        lab.pageserver.start()?;
        lab.attach()?;
        let future = Lsn(lab.primary.current_lsn()?.0 + (1 << 30)).align_up();
        let error = lab.pages()?.relation_pages(pg_class(), 0, 1, future).err().context("a page from the future")?;
        let text = format!("{error:#}");
        ensure!(text.contains(&future.to_string()), "the error does not name {future}: {text}");
        Ok(())
    });
}
