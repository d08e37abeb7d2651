//! The client against servers that do what PostgreSQL never does, or rarely.
mod server;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use pgdata::Lsn;
use server::{Peer, serve};
use walreceiver::protocol::ProtocolError;
use walreceiver::{
    BackupEnd, BackupOptions, BackupSink, BackupStart, BoxError, Connection, Error, Outcome, Passing, Positions,
    Primary, ReceiverStatus, State, StopHandle, StreamOptions, WalSink, base_backup, stream,
};

const START: Lsn = Lsn(0x100_0000);

/// Keeps the WAL, and stops the receiver once it has enough.
struct Sink {
    wal: Arc<Mutex<Vec<u8>>>,
    enough: usize,
    /// After so many bytes it has no room, as often as that.
    full: (usize, usize),
    stop: StopHandle,
}

impl WalSink for Sink {
    fn start_lsn(&self) -> Lsn {
        Lsn(START.0 + self.wal.lock().unwrap().len() as u64)
    }
    fn write(&mut self, lsn: Lsn, wal: &[u8]) -> Result<(), BoxError> {
        assert_eq!(lsn, self.start_lsn());
        let mut taken = self.wal.lock().unwrap();
        if taken.len() == self.full.0 && self.full.1 > 0 {
            self.full.1 -= 1;
            return Err(Passing("no room".into()).into());
        }
        taken.extend_from_slice(wal);
        Ok(())
    }
    fn flush(&mut self) -> Result<Positions, BoxError> {
        let end = self.start_lsn();
        if self.wal.lock().unwrap().len() >= self.enough {
            self.stop.stop();
        }
        Ok(Positions { written: end, flushed: end, applied: end })
    }
}

/// What came of streaming from a server with this script: the WAL, the end, the number of connections that streamed.
fn receive(
    enough: usize,
    script: impl Fn(usize, Peer) + Send + 'static,
) -> (Vec<u8>, Result<Outcome, Arc<Error>>, ReceiverStatus) {
    receive_into(enough, (0, 0), script)
}

fn receive_into(
    enough: usize,
    full: (usize, usize),
    script: impl Fn(usize, Peer) + Send + 'static,
) -> (Vec<u8>, Result<Outcome, Arc<Error>>, ReceiverStatus) {
    let (wal, stop, status) = (Arc::new(Mutex::new(Vec::new())), StopHandle::new(), ReceiverStatus::new());
    let mut options = StreamOptions::new(1);
    options.backoff_initial = Duration::from_millis(1);
    options.backoff_max = Duration::from_millis(5);
    options.receiver_timeout = Duration::from_millis(500);
    let mut sink = Sink { wal: wal.clone(), enough, full, stop: stop.clone() };
    let end = stream(&serve(script), &options, &mut sink, &stop, &status);
    let wal = wal.lock().unwrap().clone();
    (wal, end, status)
}

#[test]
fn a_message_cut_in_the_middle_is_asked_for_again() {
    let (wal, end, status) = receive(30, |connection, mut peer| {
        let start = peer.start_streaming();
        let done = start.0 - START.0;
        assert_eq!(done, [0, 10, 20][connection]);
        peer.wal(start, &[connection as u8; 10]);
        let half = server::wal_message(Lsn(start.0 + 10), &[99; 10]);
        peer.send(&half[..half.len() - 3]);
        if connection == 2 {
            peer.drain();
        }
    });
    assert_eq!(end.unwrap(), Outcome::Stopped);
    assert_eq!(wal, [[0; 10], [1; 10], [2; 10]].concat());
    assert_eq!(status.snapshot().bytes, 30);
}

/// The server's messages come again, and what was taken before counts.
#[test]
fn a_sink_without_room_is_asked_again() {
    let (wal, end, status) = receive_into(20, (10, 3), |connection, mut peer| {
        let start = peer.start_streaming();
        assert_eq!(start.0 - START.0, if connection == 0 { 0 } else { 10 });
        if connection == 0 {
            peer.wal(start, &[1; 10]);
        }
        peer.wal(Lsn(START.0 + 10), &[2; 10]);
        peer.drain();
    });
    assert_eq!(end.unwrap(), Outcome::Stopped);
    assert_eq!(wal, [[1; 10], [2; 10]].concat());
    let status = status.snapshot();
    assert_eq!((status.bytes, status.connections, status.flushed), (20, 4, Lsn(START.0 + 20)));
}

#[test]
fn a_gap_or_an_overlap_is_an_error() {
    for wrong in [9u64, 11, 0] {
        let (wal, end, status) = receive(1000, move |_, mut peer| {
            let start = peer.start_streaming();
            peer.wal(start, &[1; 10]);
            peer.wal(Lsn(start.0 + wrong), &[2; 10]);
            peer.drain();
        });
        let (expected, got) = (Lsn(START.0 + 10), Lsn(START.0 + wrong));
        assert!(matches!(*end.unwrap_err(), Error::Discontinuous { expected: e, got: g } if (e, g) == (expected, got)));
        assert_eq!(wal, [1; 10]);
        let status = status.snapshot();
        assert!(matches!(status.state, State::Failed { .. }));
        assert_eq!(status.flushed, expected, "what came before is flushed");
    }
}

#[test]
fn a_huge_length_is_refused_before_memory_is_taken() {
    let (_, end, _) = receive(1, |_, mut peer| {
        peer.start_streaming();
        peer.send(&[b'd', 0x7f, 0xff, 0xff, 0xff, b'w']);
        peer.drain();
    });
    let error = end.unwrap_err();
    assert!(matches!(*error, Error::Protocol(ProtocolError::Length { tag: 'd', len: 0x7fff_ffff })), "{error:?}");
}

#[test]
fn a_server_that_falls_silent_is_left() {
    let (wal, end, _) = receive(10, |connection, mut peer| {
        let start = peer.start_streaming();
        if connection == 1 {
            peer.wal(start, &[1; 10]);
        }
        peer.drain();
    });
    assert_eq!(end.unwrap(), Outcome::Stopped);
    assert_eq!(wal, [1; 10]);
}

#[test]
fn a_server_that_starts_up_is_waited_for() {
    let (wal, end, _) = receive(10, |connection, mut peer| {
        if connection < 3 {
            peer.read_startup();
            return peer.error("FATAL", "57P03", "the database system is starting up");
        }
        let start = peer.start_streaming();
        peer.wal(start, &[1; 10]);
        peer.drain();
    });
    assert_eq!(end.unwrap(), Outcome::Stopped);
    assert_eq!(wal, [1; 10]);
}

#[test]
fn a_fatal_error_within_the_stream_is_told() {
    let (wal, end, _) = receive(1000, |_, mut peer| {
        let start = peer.start_streaming();
        peer.wal(start, &[1; 10]);
        peer.error("ERROR", "58P01", "requested WAL segment 000000010000000000000001 has already been removed");
        peer.drain();
    });
    assert!(matches!(*end.unwrap_err(), Error::WalRemoved { start: START, .. }));
    assert_eq!(wal, [1; 10]);
}

#[test]
fn other_versions_are_refused() {
    for number in [140_012u32, 190_000] {
        let primary = serve(move |_, mut peer| peer.answer_queries(number));
        let error = Connection::connect(&primary, &StopHandle::new()).err().unwrap();
        assert!(matches!(error, Error::UnsupportedVersion { server_version_num } if server_version_num == number));
    }
}

#[test]
fn a_server_that_does_not_answer_times_out() {
    let primary = serve(|_, mut peer| peer.drain());
    let slow = Primary::parse(&format!("{primary} sslmode=disable connect_timeout=1")).unwrap();
    let error = Connection::connect(&slow, &StopHandle::new()).err().unwrap();
    assert!(matches!(error, Error::Timeout { .. }) && error.is_transient(), "{error:?}");
}

#[test]
fn an_scram_server_must_prove_itself() {
    let primary = serve(|_, mut peer| {
        peer.read_startup();
        // Claims that the password was right without having shown that it knows it.
        peer.send(&server::message(b'R', &[&10u32.to_be_bytes()[..], b"SCRAM-SHA-256\0\0"].concat()));
        peer.read_message();
        peer.send(&server::message(b'R', &0u32.to_be_bytes()));
        peer.drain();
    });
    let primary = Primary::parse(&format!("{primary} sslmode=disable password=x")).unwrap();
    let error = Connection::connect(&primary, &StopHandle::new()).err().unwrap();
    assert!(matches!(error, Error::Protocol(_)), "{error:?}");
}

struct Nowhere;

impl BackupSink for Nowhere {
    fn begin(&mut self, _: &BackupStart) -> Result<(), BoxError> {
        Ok(())
    }
    fn directory(&mut self, _: &str) -> Result<(), BoxError> {
        Ok(())
    }
    fn link(&mut self, _: &str, _: &str) -> Result<(), BoxError> {
        Ok(())
    }
    fn file_begin(&mut self, _: &str, _: u64) -> Result<(), BoxError> {
        Ok(())
    }
    fn file_data(&mut self, _: &[u8]) -> Result<(), BoxError> {
        Ok(())
    }
    fn file_end(&mut self) -> Result<(), BoxError> {
        Ok(())
    }
    fn end(&mut self, _: &BackupEnd) -> Result<(), BoxError> {
        panic!("the backup is not complete")
    }
}

/// The error of a base backup that consists of these pieces of CopyData.
fn backup_error(pieces: &'static [&'static [u8]]) -> Error {
    let primary = serve(move |_, mut peer| {
        peer.answer_until("BASE_BACKUP");
        peer.rows(&[&[Some("0/2000028"), Some("1")]]);
        peer.rows(&[&[None, None, Some("100")]]);
        peer.send(&server::message(b'H', &[0, 0, 0]));
        for piece in pieces {
            peer.send(&server::message(b'd', piece));
        }
        peer.send(&server::message(b'c', &[]));
        peer.rows(&[&[Some("0/2000128"), Some("1")]]);
        peer.ready();
        peer.drain();
    });
    base_backup(&primary, &BackupOptions::default(), &mut Nowhere, &StopHandle::new()).unwrap_err()
}

#[test]
fn damaged_backups_are_errors() {
    assert!(matches!(backup_error(&[b"nbase.tar\0\0", b"dxyz"]), Error::Archive { .. }));
    assert!(matches!(backup_error(&[b"nbase.tar\0\0", &[b'd'; 513]]), Error::Archive { .. }));
    assert!(matches!(backup_error(&[b"nbase.tar\0\0"]), Error::Archive { .. }), "no end mark");
    assert!(matches!(backup_error(&[]), Error::Protocol(_)), "no archive");
    assert!(matches!(backup_error(&[b"n16384.tar\0/x\0"]), Error::Protocol(_)), "not announced");
    assert!(matches!(backup_error(&[b"dxyz"]), Error::Protocol(_)), "outside of an archive");
}

/// Has ten bytes of sevens before its start, and shows them for comparison.
struct Compared(Sink);

impl WalSink for Compared {
    fn start_lsn(&self) -> Lsn {
        self.0.start_lsn()
    }
    fn compare_from(&self) -> Lsn {
        Lsn(self.start_lsn().0 - 10)
    }
    fn compare(&mut self, lsn: Lsn, wal: &[u8]) -> Result<Option<Lsn>, BoxError> {
        assert!(lsn >= self.compare_from() && lsn.0 + wal.len() as u64 <= self.start_lsn().0);
        Ok(wal.iter().position(|&byte| byte != 7).map(|at| Lsn(lsn.0 + at as u64)))
    }
    fn write(&mut self, lsn: Lsn, wal: &[u8]) -> Result<(), BoxError> {
        self.0.write(lsn, wal)
    }
    fn flush(&mut self) -> Result<Positions, BoxError> {
        self.0.flush()
    }
}

#[test]
fn a_server_shows_that_it_has_the_same_wal_before_anything_new_is_taken() {
    // The pieces lie across the start in every way.
    for differs in [None, Some(0u64), Some(9)] {
        for piece in [1usize, 4, 9, 10, 11, 15] {
            let primary = serve(move |_, mut peer| {
                let start = peer.start_streaming();
                assert_eq!(start, Lsn(START.0 - 10));
                let mut wal = [7; 15];
                if let Some(at) = differs {
                    wal[at as usize] = 8;
                }
                for (at, piece) in (0..).step_by(piece).zip(wal.chunks(piece)) {
                    peer.wal(Lsn(start.0 + at), piece);
                }
                peer.drain();
            });
            let (wal, stop, status) = (Arc::new(Mutex::new(Vec::new())), StopHandle::new(), ReceiverStatus::new());
            let mut sink = Compared(Sink { wal: wal.clone(), enough: 5, full: (0, 0), stop: stop.clone() });
            let end = stream(&primary, &StreamOptions::new(1), &mut sink, &stop, &status);
            match differs {
                None => assert_eq!((end.unwrap(), wal.lock().unwrap().len()), (Outcome::Stopped, 5)),
                Some(at) => {
                    let error = end.unwrap_err();
                    let expected = Lsn(START.0 - 10 + at);
                    assert!(matches!(&*error, Error::WalDiffers { at } if *at == expected), "{error:?}");
                    assert!(wal.lock().unwrap().is_empty() && status.snapshot().connections == 0);
                }
            }
        }
    }
}

/// Makes WAL durable only in the background, and says so.
struct Begins {
    sink: Sink,
    begun: Arc<Mutex<usize>>,
}

impl WalSink for Begins {
    fn start_lsn(&self) -> Lsn {
        self.sink.start_lsn()
    }
    fn compare_from(&self) -> Lsn {
        assert_eq!(*self.begun.lock().unwrap() % 2, 0, "what was begun was not ended before the next connection");
        self.sink.start_lsn()
    }
    fn write(&mut self, lsn: Lsn, wal: &[u8]) -> Result<(), BoxError> {
        self.sink.write(lsn, wal)
    }
    fn begin_flush(&mut self) -> Result<Positions, BoxError> {
        *self.begun.lock().unwrap() |= 1;
        Ok(Positions { written: self.sink.start_lsn(), flushed: START, applied: START })
    }
    fn flush(&mut self) -> Result<Positions, BoxError> {
        let mut begun = self.begun.lock().unwrap();
        *begun += *begun % 2;
        drop(begun);
        self.sink.flush()
    }
}

/// Whether the server waits then, or goes away.
#[test]
fn a_flush_that_was_begun_is_ended_when_no_more_comes() {
    for stays in [true, false] {
        let primary = serve(move |number, mut peer| {
            let start = peer.start_streaming();
            if start == START {
                // Exactly what a flush is begun at: nothing is left that would ask for one.
                peer.wal(START, &[7; 1000]);
                if stays {
                    peer.drain();
                }
            } else {
                assert!(number > 0);
                peer.wal(start, &[8; 1000]);
                peer.drain();
            }
        });
        let (wal, stop, status) = (Arc::new(Mutex::new(Vec::new())), StopHandle::new(), ReceiverStatus::new());
        let enough = if stays { 1000 } else { 2000 };
        let sink = Sink { wal: wal.clone(), enough, full: (0, 0), stop: stop.clone() };
        let begun = Arc::new(Mutex::new(0));
        let mut options = StreamOptions::new(1);
        options.flush_bytes = 1000;
        options.backoff_initial = Duration::from_millis(1);
        let end = stream(&primary, &options, &mut Begins { sink, begun: begun.clone() }, &stop, &status);
        assert_eq!((end.unwrap(), wal.lock().unwrap().len()), (Outcome::Stopped, enough));
        let begun = *begun.lock().unwrap();
        assert!(begun > 0 && begun.is_multiple_of(2), "{begun}");
    }
}
