//! WAL arrives as it is on the server's disk, whatever happens to the connection.

use std::time::{Duration, Instant};

use pgdata::{Lsn, PgVersion};
use walreceiver::{Outcome, SlotName, State};

use crate::cluster::{Cluster, SEGMENT};
use crate::recorder::{Receiver, options};

fn segment_start(lsn: Lsn) -> Lsn {
    Lsn(lsn.0 - lsn.0 % SEGMENT)
}

fn load(cluster: &Cluster, rows: u32) {
    cluster.sql(&format!("INSERT INTO t SELECT i, repeat('x', 100) FROM generate_series(1, {rows}) i"));
}

#[test]
fn is_byte_identical_across_segments() {
    let cluster = Cluster::start("");
    cluster.sql("CREATE TABLE t (i int, x text)");
    let slot = SlotName::new("pageserver_main").unwrap();
    let mut connection = cluster.connect();
    connection.create_slot(&slot).unwrap();
    let start = segment_start(connection.read_slot(&slot).unwrap().unwrap().restart_lsn.unwrap());
    let identity = connection.identify_system().unwrap();
    let mut options = options(1);
    options.slot = Some(slot);
    options.system_id = Some(identity.system_id);
    options.version = Some(PgVersion::V15);
    options.flush_bytes = 64 * 1024;

    let receiver = Receiver::start(cluster.primary(), options, start);
    load(&cluster, 30_000);
    cluster.switch_wal();
    load(&cluster, 1000);
    let end = cluster.lsn();
    receiver.await_flushed(end);
    let wal = receiver.wal();
    assert!(end.bytes_since(start) > 3 * SEGMENT, "{start} to {end} is too little to show anything");
    assert!(wal[..end.bytes_since(start) as usize] == cluster.wal(start, end), "received WAL differs");
    receiver.stop();
}

#[test]
fn goes_on_after_restarts_of_the_server() {
    // Checkpoints of restarts would remove the files that are compared in the end.
    let cluster = Cluster::start("wal_keep_size = '64MB'");
    cluster.sql("CREATE TABLE t (i int, x text)");
    let start = cluster.lsn();
    let receiver = Receiver::start(cluster.primary(), options(1), start);
    for mode in ["fast", "immediate"] {
        load(&cluster, 2000);
        let before = receiver.status.snapshot().connections;
        cluster.down(mode);
        receiver.await_status(|status| matches!(&status.state, State::Backoff { error, .. } if error.is_transient()));
        cluster.up();
        receiver.await_status(|status| status.connections > before && matches!(status.state, State::Streaming));
    }
    load(&cluster, 2000);
    let end = cluster.lsn();
    receiver.await_flushed(end);
    assert!(receiver.wal()[..end.bytes_since(start) as usize] == cluster.wal(start, end), "received WAL differs");
    receiver.stop();
}

#[test]
fn the_server_hears_what_was_flushed() {
    let cluster = Cluster::start("");
    cluster.sql("CREATE TABLE t (i int, x text)");
    let start = cluster.lsn();
    let receiver = Receiver::start(cluster.primary_with("application_name=wr"), options(1), start);
    load(&cluster, 100);
    let end = cluster.lsn();
    let columns = "application_name || ' ' || write_lsn || ' ' || flush_lsn || ' ' || replay_lsn";
    let expected = format!("wr {end} {end} {start}");
    cluster.await_sql(&format!("SELECT {columns} FROM pg_stat_replication"), |row| row == expected);
    let status = receiver.await_status(|status| status.flushed == end);
    assert_eq!((status.received, status.server_end), (end, end));
    assert_eq!(status.bytes, end.bytes_since(start));
    receiver.stop();
}

#[test]
fn an_idle_receiver_stops_at_once() {
    let cluster = Cluster::start("");
    let receiver = Receiver::start(cluster.primary(), options(1), cluster.lsn());
    receiver.await_streaming();
    let begin = Instant::now();
    receiver.stop();
    // Far below every timeout that could end the wait instead.
    assert!(begin.elapsed() < Duration::from_secs(5), "took {:?}", begin.elapsed());
    cluster.await_sql("SELECT count(*) FROM pg_stat_replication", |count| count == "0");
    assert!(!cluster.log().contains("unexpected EOF"), "{}", cluster.log());
}

#[test]
fn a_silent_server_is_asked_for_a_sign_of_life() {
    // It sends no keepalive of its own accord.
    let cluster = Cluster::start("wal_sender_timeout = 0");
    let mut options = options(1);
    options.receiver_timeout = Duration::from_millis(600);
    let receiver = Receiver::start(cluster.primary(), options, cluster.lsn());
    receiver.await_streaming();
    let first = receiver.status.snapshot().last_message;
    receiver.await_status(|status| {
        status.last_message.zip(first).is_some_and(|(now, first)| {
            now.duration_since(first).is_ok_and(|passed| passed > Duration::from_millis(1500))
        })
    });
    assert_eq!(receiver.status.snapshot().connections, 1, "it had to reconnect");
    receiver.stop();
}

#[test]
fn the_end_of_a_timeline_is_an_outcome_of_its_own() {
    let cluster = Cluster::start("");
    cluster.sql("CREATE TABLE t (i int, x text)");
    let start = cluster.lsn();
    load(&cluster, 100);
    cluster.down("fast");
    // Recovery that finds no archive ends on a new timeline.
    cluster.configure("restore_command = 'false'");
    cluster.put(&cluster.data().join("recovery.signal"), "", 0o600);
    cluster.up();
    cluster.await_sql("SELECT pg_is_in_recovery()", |answer| answer == "f");
    let mut connection = cluster.connect();
    assert_eq!(connection.identify_system().unwrap().timeline, 2);
    let history = connection.timeline_history(2).unwrap();
    assert_eq!(history.file_name, "00000002.history");

    let receiver = Receiver::start(cluster.primary(), options(1), start);
    let status = receiver.status.clone();
    let Ok(Outcome::TimelineEnded(switch)) = receiver.end() else { panic!("{:?}", status.snapshot()) };
    assert_eq!((switch.timeline, switch.next_timeline), (1, 2));
    assert!(String::from_utf8(history.content).unwrap().contains(&switch.switch_lsn.to_string()));
    let status = status.snapshot();
    assert!(matches!(status.state, State::TimelineSwitched(seen) if seen == switch));
    assert_eq!(status.received, switch.switch_lsn);

    // Nothing is left of timeline 1 at its end, and past it is nothing that this server knows.
    let receiver = Receiver::start(cluster.primary(), options(1), switch.switch_lsn);
    assert_eq!(receiver.end().unwrap(), Outcome::TimelineEnded(switch));
    let beyond = Lsn(switch.switch_lsn.0 + 8);
    let error = Receiver::start(cluster.primary(), options(1), beyond).end().unwrap_err();
    assert!(
        matches!(&*error, walreceiver::Error::TimelineDiverged { expected: 1, server: 2, parting, .. } if *parting == switch.switch_lsn),
        "{error:?}"
    );
    let error = Receiver::start(cluster.primary(), options(3), start).end().unwrap_err();
    assert!(
        matches!(&*error, walreceiver::Error::TimelineBehind { expected: 3, server: 2, standby: false }),
        "{error:?}"
    );
}
