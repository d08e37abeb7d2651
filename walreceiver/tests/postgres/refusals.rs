//! What cannot be continued ends with an error of its own; what may pass is waited for in the open.

use walreceiver::{Error, SlotName, State, StreamOptions};

use crate::cluster::{Cluster, SEGMENT};
use crate::recorder::{Receiver, options};
use pgdata::{Lsn, PgVersion};

fn with_slot(slot: &SlotName) -> StreamOptions {
    let mut options = options(1);
    options.slot = Some(slot.clone());
    options
}

/// The error with which streaming ends, seen both ways.
fn failure(cluster: &Cluster, options: StreamOptions, start: Lsn) -> std::sync::Arc<Error> {
    let receiver = Receiver::start(cluster.primary(), options, start);
    let status = receiver.status.clone();
    let error = receiver.end().unwrap_err();
    assert!(matches!(status.snapshot().state, State::Failed { error: seen } if seen.to_string() == error.to_string()));
    assert!(!error.is_transient());
    error
}

fn slot() -> SlotName {
    SlotName::new("pageserver_main").unwrap()
}

#[test]
fn another_cluster_version_or_position() {
    let cluster = Cluster::start("");
    let start = cluster.lsn();
    let mut other = options(1);
    other.system_id = Some(4711);
    let error = failure(&cluster, other, start);
    assert!(matches!(&*error, Error::WrongSystem { expected: 4711, .. }), "{error:?}");
    let mut other = options(1);
    other.version = Some(PgVersion::V16);
    let error = failure(&cluster, other, start);
    assert!(matches!(&*error, Error::WrongVersion { expected: PgVersion::V16, got: PgVersion::V15 }), "{error:?}");
    let ahead = Lsn(start.0 + 100 * SEGMENT);
    let error = failure(&cluster, options(1), ahead);
    assert!(matches!(&*error, Error::AheadOfServer { start, .. } if *start == ahead), "{error:?}");
    let error = failure(&cluster, options(1), Lsn(0));
    assert!(matches!(&*error, Error::InvalidStart(_)), "{error:?}");
}

#[test]
fn slots_have_a_life() {
    let cluster = Cluster::start("max_replication_slots = 2");
    let start = cluster.lsn();
    let mut connection = cluster.connect();
    assert_eq!(connection.read_slot(&slot()).unwrap(), None);
    connection.create_slot(&slot()).unwrap();
    assert_eq!(connection.read_slot(&slot()).unwrap().unwrap().restart_timeline, Some(1));
    let error = connection.create_slot(&slot()).unwrap_err();
    assert!(matches!(error, Error::SlotExists { .. }), "{error:?}");
    connection.create_slot(&SlotName::new("second").unwrap()).unwrap();
    let error = connection.create_slot(&SlotName::new("third").unwrap()).unwrap_err();
    assert!(matches!(error, Error::NoFreeSlot(_)), "{error:?}");

    let receiver = Receiver::start(cluster.primary(), with_slot(&slot()), start);
    receiver.await_streaming();
    let second = Receiver::start(cluster.primary(), with_slot(&slot()), start);
    second.await_status(
        |status| matches!(&status.state, State::Backoff { error, .. } if matches!(&**error, Error::SlotInUse { .. })),
    );
    receiver.stop();
    second.await_streaming();
    second.stop();

    cluster.await_sql("SELECT count(*) FROM pg_replication_slots WHERE active", |count| count == "0");
    connection.drop_slot(&slot()).unwrap();
    let error = connection.drop_slot(&slot()).unwrap_err();
    assert!(matches!(error, Error::SlotMissing { .. }), "{error:?}");
    let error = failure(&cluster, with_slot(&slot()), start);
    assert!(matches!(&*error, Error::SlotMissing { slot } if slot == "pageserver_main"), "{error:?}");
}

/// Writes and removes enough WAL that nothing before is left unless a slot holds it.
fn forget_wal(cluster: &Cluster) {
    for _ in 0..6 {
        cluster.switch_wal();
        cluster.sql("CHECKPOINT");
    }
}

#[test]
fn removed_wal() {
    let cluster = Cluster::start("");
    let start = cluster.lsn();
    let mut connection = cluster.connect();
    forget_wal(&cluster);
    let error = failure(&cluster, options(1), start);
    assert!(matches!(&*error, Error::WalRemoved { start: at, .. } if *at == start), "{error:?}");

    // A slot holds it back.
    connection.create_slot(&slot()).unwrap();
    let start = cluster.lsn();
    forget_wal(&cluster);
    let end = cluster.lsn();
    let receiver = Receiver::start(cluster.primary(), with_slot(&slot()), start);
    receiver.await_flushed(end);
    receiver.stop();
}

#[test]
fn an_invalidated_slot() {
    let cluster = Cluster::start("max_slot_wal_keep_size = '1MB'");
    let start = cluster.lsn();
    cluster.connect().create_slot(&slot()).unwrap();
    forget_wal(&cluster);
    cluster.await_sql("SELECT wal_status FROM pg_replication_slots", |status| status == "lost");
    let error = failure(&cluster, with_slot(&slot()), start);
    assert!(matches!(&*error, Error::SlotInvalidated { .. }), "{error:?}");
}

#[test]
fn no_replication_on_the_server() {
    let cluster = Cluster::create("");
    cluster.configure("wal_level = minimal\nmax_wal_senders = 0");
    cluster.up();
    let error = failure(&cluster, options(1), cluster.lsn());
    assert!(matches!(&*error, Error::ReplicationDisabled(_)), "{error:?}");
}

#[test]
fn all_senders_taken_is_waited_for() {
    let cluster = Cluster::start("max_wal_senders = 1");
    let start = cluster.lsn();
    let taken = cluster.connect();
    let receiver = Receiver::start(cluster.primary(), options(1), start);
    receiver.await_status(|status| {
        matches!(&status.state, State::Backoff { error, .. } if matches!(&**error, Error::TooManyConnections(_)))
    });
    taken.close();
    receiver.await_streaming();
    receiver.stop();
}

#[test]
fn stops_while_waiting_for_the_next_attempt() {
    let cluster = Cluster::create("");
    let mut slow = options(1);
    slow.backoff_initial = std::time::Duration::from_secs(600);
    slow.backoff_max = slow.backoff_initial;
    let receiver = Receiver::start(cluster.primary(), slow, Lsn(0x10_0000));
    receiver.await_status(|status| matches!(status.state, State::Backoff { failures: 1, .. }));
    receiver.stop();
}
