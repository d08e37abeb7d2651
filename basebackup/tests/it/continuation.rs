//! A server that is started from a backup goes on with the history that the backup was made of: its WAL begins exactly where the backup
//! ends, names the last record there as its predecessor, and the same timeline takes it up as if nothing had happened.

use std::fs;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use basebackup::{Backup, Options};
use integration_tests::{Cluster, ClusterOptions, in_scratch};
use pgdata::Lsn;
use pgdata::wal::SegmentSize;
use repository::Timeline;
use wal_decoder::{Record, WalStream, rmgr};
use walreceiver::{BoxError, Positions, Primary, ReceiverStatus, State, StopHandle, StreamOptions, WalSink, stream};

use crate::support::{TimelineAt, check, follow, populate, restore, start};

/// A bound for a test that would hang.
const PATIENCE: Duration = Duration::from_secs(60);

/// Gives a timeline what is received, and keeps it.
struct Into {
    timeline: Arc<Timeline>,
    received: Vec<u8>,
}

impl WalSink for Into {
    fn start_lsn(&self) -> Lsn {
        self.timeline.ingest().resume_lsn()
    }

    fn write(&mut self, lsn: Lsn, wal: &[u8]) -> Result<(), BoxError> {
        self.received.extend_from_slice(wal);
        Ok(self.timeline.ingest().write(lsn, wal)?)
    }

    fn flush(&mut self) -> Result<Positions, BoxError> {
        let progress = self.timeline.ingest().flush()?;
        Ok(Positions { written: progress.written, flushed: progress.flushed, applied: progress.applied })
    }
}

#[test]
fn a_clones_wal_continues_the_timeline_that_it_was_made_of() {
    in_scratch("continuation", |dir| {
        let origin = Cluster::start_new(&dir.join("origin"), &ClusterOptions::default().with_checksums())?;
        let location = origin.tablespace_location("ts")?;
        let timeline = follow(&origin, &dir.join("history"), || {
            populate(&origin, &location)?;
            origin.current_lsn()
        })?;
        let lsn = timeline.last_record_lsn();
        let source = TimelineAt { timeline: Arc::clone(&timeline), lsn };
        let backup = Backup::new(&source, &Options::default())?;
        ensure!(backup.lsn() == lsn, "the backup carries {}, the timeline ends at {lsn}", backup.lsn());
        let mut clone = restore(origin.install(), &backup, &dir.join("clone"))?;
        start(&mut clone)?;
        clone.psql(
            "postgres",
            "CREATE TABLE since AS SELECT i FROM generate_series(1, 5000) i; DELETE FROM t WHERE id = 1",
        )?;
        let end = clone.current_lsn()?;

        let received = receive(&clone, &timeline, lsn, end)?;
        first_record(&timeline, &received, lsn)?;
        nothing_rewritten(&origin, &clone, lsn)?;
        clone.psql("postgres", "INSERT INTO t VALUES (1, md5('1'))")?;
        drop(clone);

        // A clone of the clone's history has both parts of it.
        let source = TimelineAt { timeline: Arc::clone(&timeline), lsn: end };
        let backup = Backup::new(&source, &Options::default())?;
        let mut second = restore(origin.install(), &backup, &dir.join("second"))?;
        ensure!(second.verify_checksums()?);
        start(&mut second)?;
        second.expect("postgres", "SELECT count(*), sum(i) FROM since", "5000|12502500")?;
        second.psql("postgres", "INSERT INTO t VALUES (1, md5('1'))")?;
        check(&mut second)
    });
}

/// Streams from the clone into the timeline, from the timeline's own end, until `end` has come.
fn receive(clone: &Cluster, timeline: &Arc<Timeline>, lsn: Lsn, end: Lsn) -> Result<Vec<u8>> {
    let mut sink = Into { timeline: Arc::clone(timeline), received: Vec::new() };
    ensure!(sink.start_lsn() == lsn, "streaming begins at {}, the backup carries {lsn}", sink.start_lsn());
    let info = timeline.info();
    let mut options = StreamOptions::new(info.pg_timeline);
    options.system_id = Some(info.system_id);
    options.flush_bytes = 64 << 10;
    let (primary, stop, status) = (Primary::parse(&clone.conninfo())?, StopHandle::new(), ReceiverStatus::new());
    thread::scope(|scope| {
        let receiver = scope.spawn(|| stream(&primary, &options, &mut sink, &stop, &status));
        // Also if it has failed there is nothing to wait for.
        let _ = status.wait_until(PATIENCE, |now| now.flushed >= end || matches!(now.state, State::Failed { .. }));
        stop.stop();
        receiver.join().expect("the receiver does not panic")
    })?;
    ensure!(timeline.last_record_lsn() >= end, "the timeline came to {}, not to {end}", timeline.last_record_lsn());
    Ok(sink.received)
}

/// The first record is the generated checkpoint: it lies at the backup's LSN and follows the origin's last record.
fn first_record(timeline: &Timeline, received: &[u8], lsn: Lsn) -> Result<()> {
    let info = timeline.info();
    let size = info.segment_size;
    let start = Lsn(lsn.0 - u64::from(size.offset_of(lsn)));
    let mut before = vec![0; lsn.bytes_since(start) as usize];
    ensure!(timeline.read_wal(start, &mut before)?, "the timeline does not have its own WAL");
    let mut stream = WalStream::new(start, size.bytes(), info.version)?;
    let mut whole = stream.feed(&before);
    let mut last = None;
    while let Some(record) = whole.next_record()? {
        last = Some(record.start);
    }
    drop(whole);
    ensure!(stream.decoded_to() == lsn, "no record ends at {lsn}");
    let mut whole = stream.feed(received);
    let raw = whole.next_record()?.context("nothing was received")?;
    let (at, record) = (raw.start, Record::parse(info.version, raw.lsn, raw.bytes)?);
    ensure!(
        (record.rmid, record.info) == (rmgr::RM_XLOG_ID, 0),
        "the first record is no shutdown checkpoint: {record:?}"
    );
    ensure!(Some(record.prev) == last, "it names {} as its predecessor, that starts at {last:?}", record.prev);
    // Nothing but a page header lies between.
    ensure!(at.bytes_since(lsn) <= 40, "it starts at {at}, the backup ends at {lsn}");
    Ok(())
}

/// Before the backup's LSN the clone has its origin's WAL, byte for byte.
fn nothing_rewritten(origin: &Cluster, clone: &Cluster, lsn: Lsn) -> Result<()> {
    let size = SegmentSize::DEFAULT;
    let name = size.file_name(1, size.segment_of(lsn));
    let up_to = size.offset_of(lsn) as usize;
    let read = |cluster: &Cluster| fs::read(cluster.data().join("pg_wal").join(&name));
    ensure!(up_to > 0 && read(origin)?[..up_to] == read(clone)?[..up_to], "the clone's {name} differs before {lsn}");
    Ok(())
}
