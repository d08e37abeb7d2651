//! A read at an LSN that has not arrived waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;

use anyhow::{Context, Result, bail, ensure};
use integration_tests::{ClusterOptions, Lab, PageSource, StreamSource, in_scratch};
use page_service::{Answer as PageAnswer, Operation, PageStream, ReadLsn};
use pgdata::{Lsn, Page, RelTag, page_lsn};

/// `pg_class` of the database `postgres`, whose file has this number until it is rewritten.
fn pg_class() -> RelTag {
    "1663/5/1259".parse().expect("a relation")
}

/// What a read in the future brought.
struct Answer {
    page: Page,
    /// Whether the WAL that it needs had been let through by then.
    after_release: bool,
}

/// Asks for the first block of `rel` at `before`, which shows that the server serves this stream, and then at `future`; says on
/// `asked` when that is sent.
fn read_ahead(
    mut pages: StreamSource,
    rel: RelTag,
    (before, future): (Lsn, Lsn),
    asked: &Sender<()>,
    released: &AtomicBool,
) -> Result<Answer> {
    pages.relation_pages(rel, 0, 1, before)?;
    let stream = pages.stream();
    let request = stream.request(Operation::Page { rel, block: 0 }, ReadLsn::at(future));
    stream.send(&request)?;
    stream.flush()?;
    asked.send(())?;
    let page = page_in(stream)?;
    Ok(Answer { page, after_release: released.load(Ordering::SeqCst) })
}

fn page_in(stream: &mut PageStream) -> Result<Page> {
    match stream.recv()?.answer {
        PageAnswer::Page(page) => Ok(*page),
        other => bail!("a read is answered with {other:?}"),
    }
}

/// The WAL is there, but the relay holds it back: the read must not be answered while others are, and once the relay lets
/// it through, the page must show what that WAL did.
#[test]
fn a_read_in_the_future_ends_when_the_wal_arrives_and_not_before() {
    in_scratch("wait", |dir| {
        let mut lab = Lab::start(dir, &ClusterOptions::default())?;
        lab.attach()?;
        let path = lab.primary.psql("postgres", "CREATE TABLE t AS SELECT 1 AS n; SELECT pg_relation_filepath('t')")?;
        let rel: RelTag = path.trim().replace("base", "1663").parse()?;
        let before = lab.primary.current_lsn()?;
        let mut others = lab.pages()?;
        let old = others.relation_pages(rel, 0, 1, before)?;

        lab.relay.hold(true);
        lab.primary.psql("postgres", "UPDATE t SET n = 2")?;
        let future = lab.primary.current_lsn()?;
        let released = Arc::new(AtomicBool::new(false));
        let (asked, is_asked) = channel();
        let (pages, seen) = (lab.pages()?, Arc::clone(&released));
        let reader = thread::spawn(move || read_ahead(pages, rel, (before, future), &asked, &seen));
        is_asked.recv().context("the reader's first read has failed")?;
        for _ in 0..100 {
            ensure!(others.relation_pages(rel, 0, 1, before)? == old, "the page at {before} changes");
        }
        released.store(true, Ordering::SeqCst);
        lab.relay.hold(false);

        let answer = reader.join().expect("the reader does not panic")?;
        ensure!(answer.after_release, "a page at {future} was answered when the WAL had come to {before} only");
        let lsn = page_lsn(&answer.page);
        ensure!(before < lsn && lsn <= future, "the page at {future} is of {lsn}, and the change came after {before}");
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
