//! What an observer is told.

mod common;

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use common::{BAD_BLOCK, PANIC_BLOCK, Raw, at, client_config, connect, pages, rel, serve};
use page_service::messages::frontend;
use page_service::{Client, Config, ConnectionEnd, Observer, Operation, RequestKind, ServerHandle, SqlState, Version};
use pgdata::{Lsn, SlruKind, SlruSegment};

#[derive(Clone, PartialEq, Eq, Debug)]
enum Event {
    Opened,
    Ended(ConnectionEnd),
    Dropped,
    Request(RequestKind, Option<SqlState>),
    Command(String, Option<SqlState>),
}

#[derive(Debug, Default)]
struct Diary(Mutex<Vec<Event>>);

impl Diary {
    fn note(&self, event: Event) {
        self.0.lock().expect("no panic").push(event);
    }

    fn take(&self) -> Vec<Event> {
        std::mem::take(&mut self.0.lock().expect("no panic"))
    }

    /// Everything up to the `count`-th end of a connection, which the client may know of before the observer does.
    fn until_ended(&self, count: usize) -> Vec<Event> {
        let mut events = Vec::new();
        while events.iter().filter(|event| matches!(event, Event::Ended(_))).count() < count {
            thread::yield_now();
            events.extend(self.take());
        }
        events
    }
}

impl Observer for Diary {
    fn connection_opened(&self) {
        self.note(Event::Opened);
    }
    fn connection_ended(&self, end: ConnectionEnd) {
        self.note(Event::Ended(end));
    }
    fn connection_dropped(&self) {
        self.note(Event::Dropped);
    }
    fn request(&self, kind: RequestKind, took: Duration, error: Option<SqlState>) {
        assert!(took < Duration::from_secs(3600), "{took:?} is no time that a test takes");
        self.note(Event::Request(kind, error));
    }
    fn command(&self, word: &str, _: Duration, error: Option<SqlState>) {
        self.note(Event::Command(word.to_owned(), error));
    }
}

fn observed(config: Config) -> (ServerHandle, Arc<Diary>) {
    let diary = Arc::new(Diary::default());
    let observer = Arc::clone(&diary) as Arc<dyn Observer>;
    (serve(Config { observer, ..config }), diary)
}

#[test]
fn every_request_is_told_with_its_error_before_its_answer_arrives() {
    let (server, diary) = observed(Config::default());
    for version in Version::ALL {
        let mut pages = pages(&server, version);
        pages.exists(rel(2), at(8)).expect("exists");
        pages.size(rel(2), at(8)).expect("size");
        pages.page(rel(2), 1, Lsn(8)).expect("page");
        pages.page(rel(2), BAD_BLOCK, Lsn(8)).expect_err("a bad block");
        pages.page(rel(2), 1, Lsn(0)).expect_err("no LSN");
        pages.database_size(3, at(8)).expect("database size");
        pages.slru_segment(SlruSegment { kind: SlruKind::Clog, segno: 1 }, at(8)).expect("segment");
        pages.slru_segment(SlruSegment { kind: SlruKind::Clog, segno: 666 }, at(8)).expect_err("half a page");
        let events = diary.take();
        let request = |kind, error| Event::Request(kind, error);
        let expected = [
            Event::Opened,
            Event::Command(version.command().to_owned(), None),
            request(RequestKind::Exists, None),
            request(RequestKind::Size, None),
            request(RequestKind::Page, None),
            request(RequestKind::Page, Some(SqlState::DATA_CORRUPTED)),
            request(RequestKind::Page, Some(SqlState::INVALID_PARAMETER_VALUE)),
            request(RequestKind::DatabaseSize, None),
            request(RequestKind::SlruSegment, None),
            request(RequestKind::SlruSegment, Some(SqlState::INTERNAL_ERROR)),
        ];
        assert_eq!(events, expected);
        drop(pages);
        assert_eq!(diary.until_ended(1), [Event::Ended(ConnectionEnd::Closed)]);
    }
}

#[test]
fn requests_in_flight_are_told_one_by_one() {
    let (server, diary) = observed(Config::default());
    let mut pages = pages(&server, Version::V3);
    let requests: Vec<_> = (0..100).map(|block| pages.request(Operation::Page { rel: rel(1), block }, at(8))).collect();
    requests.iter().try_for_each(|request| pages.send(request)).expect("send");
    for _ in 0..100 {
        pages.recv().expect("an answer");
    }
    let count = diary.take().iter().filter(|event| **event == Event::Request(RequestKind::Page, None)).count();
    assert_eq!(count, 100);
}

#[test]
fn a_request_for_what_cannot_be_is_told_by_its_kind() {
    let (server, diary) = observed(Config::default());
    let mut raw = Raw::welcomed(server.local_addr());
    let mut bytes = Vec::new();
    frontend::query(&mut bytes, "pagestream_v2 t main");
    // A size request for the fork 9.
    let body = [&[1][..], &8_u64.to_be_bytes(), &8_u64.to_be_bytes(), &[0; 12], &[9]].concat();
    bytes.push(b'd');
    bytes.extend((body.len() as u32 + 4).to_be_bytes());
    bytes.extend(body);
    raw.send(&bytes);
    assert_eq!([raw.message()[0], raw.message()[0]], [b'W', b'd']);
    let last = diary.take().pop();
    assert_eq!(last, Some(Event::Request(RequestKind::Size, Some(SqlState::INVALID_PARAMETER_VALUE))));
}

#[test]
fn commands_are_told_as_they_were_written() {
    let (server, diary) = observed(Config::default());
    let mut client = connect(&server);
    client.query_all("rows 3").expect("rows");
    client.query_all("frobnicate now").expect_err("no command");
    client.query_all(" ; ").expect("nothing");
    assert!(client.page_stream("t", "side", Version::V2).is_err());
    let expected = [
        Event::Opened,
        Event::Command("rows".to_owned(), None),
        Event::Command("frobnicate".to_owned(), Some(SqlState::SYNTAX_ERROR)),
        Event::Command("pagestream_v2".to_owned(), Some(SqlState::UNDEFINED_OBJECT)),
        Event::Ended(ConnectionEnd::Closed),
    ];
    assert_eq!(diary.until_ended(1), expected);
}

#[test]
fn ends_of_connections_are_told_with_their_reason() {
    let (server, diary) = observed(Config { max_connections: 1, ..Config::default() });
    let first = connect(&server);
    assert!(Client::connect(server.local_addr(), &client_config()).is_err());
    let refused = Event::Ended(ConnectionEnd::Refused(SqlState::TOO_MANY_CONNECTIONS));
    assert_eq!(diary.until_ended(1), [Event::Opened, Event::Opened, refused]);
    drop(first);
    diary.until_ended(1);

    let (server, diary) = observed(Config::default());
    let mut raw = Raw::connect(server.local_addr());
    raw.send(&[0xFF; 64]);
    raw.rest();
    let mut pages = pages(&server, Version::V2);
    assert!(pages.page(rel(1), PANIC_BLOCK, Lsn(8)).is_err());
    let ends: Vec<_> = diary.until_ended(2).into_iter().filter(|event| matches!(event, Event::Ended(_))).collect();
    for end in [ConnectionEnd::Refused(SqlState::PROTOCOL_VIOLATION), ConnectionEnd::Panicked] {
        assert!(ends.contains(&Event::Ended(end)), "{end:?} is not among {ends:?}");
    }
}
