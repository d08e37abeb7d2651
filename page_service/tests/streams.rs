//! Page streams over a real connection.

mod common;

use common::{BAD_BLOCK, FUTURE, PANIC_BLOCK, Raw, arrive, at, connect, made_up_page, pages, rel, serve};
use page_service::messages::frontend;
use page_service::{Answer, ClientError, Config, Operation, PageStream, ReadLsn, Request, Version};
use pgdata::{Lsn, SlruKind, SlruSegment};

fn refusal<T: std::fmt::Debug>(result: Result<T, ClientError>) -> String {
    match result {
        Err(ClientError::Request { text, .. }) => text,
        other => panic!("expected the request to fail, got {other:?}"),
    }
}

#[test]
fn every_question_has_its_answer() {
    let server = serve(Config::default());
    for version in Version::ALL {
        let mut pages = pages(&server, version);
        assert!(pages.exists(rel(2), at(8)).expect("exists"));
        assert!(!pages.exists(rel(3), at(8)).expect("exists"));
        assert_eq!(pages.size(rel(41), at(8)).expect("size"), 42);
        assert_eq!(*pages.page(rel(5), 6, Lsn(80)).expect("page"), made_up_page(rel(5), 6, at(80)));
        assert_eq!(pages.database_size(3, at(8)).expect("database size"), 3 << 13);
        for segno in [0, 1, 32] {
            let segment = SlruSegment { kind: SlruKind::CommitTs, segno };
            let bytes = pages.slru_segment(segment, at(8)).expect("segment");
            assert_eq!(bytes, vec![segno as u8; segno as usize * 8192]);
        }
        pages.close().expect("close");
    }
}

#[test]
fn lsns_are_checked_and_rounded_up_before_the_source_sees_them() {
    let server = serve(Config::default());
    for version in Version::ALL {
        let mut pages = pages(&server, version);
        let pair = |request, not_modified_since| ReadLsn {
            request: Lsn(request),
            not_modified_since: Lsn(not_modified_since),
        };
        assert_eq!(refusal(pages.page_at(rel(1), 0, pair(0, 0))), "request LSN 0/0 is invalid");
        assert_eq!(refusal(pages.size(rel(1), pair(16, 17))), "request LSN 0/10 is before not_modified_since 0/11");
        let page = pages.page_at(rel(1), 0, pair(17, 9)).expect("page");
        assert_eq!(*page, made_up_page(rel(1), 0, pair(24, 16)));
        let page = pages.page_at(rel(1), 0, ReadLsn::LATEST).expect("page");
        assert_eq!(*page, made_up_page(rel(1), 0, ReadLsn::LATEST));
    }
}

#[test]
fn an_error_leaves_the_stream_open() {
    let server = serve(Config::default());
    for version in Version::ALL {
        let mut pages = pages(&server, version);
        let text = refusal(pages.page(rel(1), BAD_BLOCK, Lsn(8)));
        assert_eq!(text, "1663/5/1 block 1000000 is missing (restore it)");
        assert!(refusal(pages.database_size(666, at(8))).contains("18446744073709551615 bytes"));
        for (segno, size) in [(666, "8191 bytes"), (667, "270336 bytes")] {
            let segment = SlruSegment { kind: SlruKind::Clog, segno };
            assert!(refusal(pages.slru_segment(segment, at(8))).contains(size));
        }
        assert_eq!(pages.size(rel(1), at(8)).expect("size"), 2);
    }
}

#[test]
fn an_answer_does_not_wait_for_the_lsn_of_the_next_request() {
    let server = serve(Config::default());
    let mut pages = pages(&server, Version::V3);
    let past = pages.request(Operation::Page { rel: rel(1), block: 0 }, at(8));
    let future = pages.request(Operation::Page { rel: rel(1), block: 1 }, at(FUTURE.0));
    pages.send(&past).expect("send");
    pages.send(&future).expect("send");
    pages.flush().expect("flush");
    // The read in the future cannot be answered before this one has been: the client's patience ends first.
    assert!(matches!(pages.recv().expect("the first answer").answer, Answer::Page(_)));
    arrive();
    assert!(matches!(pages.recv().expect("the second answer").answer, Answer::Page(_)));
}

#[test]
fn many_requests_in_flight_are_answered_in_their_order() {
    let server = serve(Config::default());
    for version in Version::ALL {
        let mut pages = pages(&server, version);
        let mut sent = 0;
        for received in 0..3000 {
            while sent < 3000 && pages.in_flight() < PageStream::MAX_IN_FLIGHT {
                let block = if sent % 7 == 3 { BAD_BLOCK + sent } else { sent };
                let request = pages.request(Operation::Page { rel: rel(9), block }, at(16));
                pages.send(&request).expect("send");
                sent += 1;
            }
            match pages.recv().expect("answer").answer {
                Answer::Page(page) => assert_eq!(page, &made_up_page(rel(9), received, at(16))),
                Answer::Error(text) => {
                    assert_eq!(received % 7, 3);
                    assert!(text.contains(&format!("block {} ", BAD_BLOCK + received)), "{text}");
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(matches!(pages.recv(), Err(ClientError::NothingInFlight)));
    }
}

#[test]
fn more_requests_in_flight_than_fit_are_refused() {
    let server = serve(Config::default());
    let mut pages = pages(&server, Version::V2);
    let request = pages.request(Operation::Size(rel(1)), at(8));
    for _ in 0..PageStream::MAX_IN_FLIGHT {
        pages.send(&request).expect("send");
    }
    assert!(matches!(pages.send(&request), Err(ClientError::TooManyInFlight(1024))));
    assert!(matches!(pages.size(rel(1), at(8)), Err(ClientError::TooManyInFlight(1024))));
    assert!(pages.recv().is_ok() && pages.send(&request).is_ok());
}

/// A connection in a page stream of version 2, and a request for it.
fn raw_stream(address: std::net::SocketAddr) -> (Raw, Vec<u8>) {
    let mut raw = Raw::welcomed(address);
    let mut bytes = Vec::new();
    frontend::query(&mut bytes, "PAGESTREAM_V2 t main;");
    raw.send(&bytes);
    assert_eq!(raw.message(), b"W\0\0\0\x07\0\0\0");
    let mut request = Vec::new();
    let header = page_service::Header { reqid: 0, at: at(8) };
    Request { header, operation: Operation::Size(rel(1)) }.write(&mut request, Version::V2);
    (raw, request)
}

#[test]
fn a_request_may_come_in_pieces() {
    let server = serve(Config::default());
    let (mut raw, request) = raw_stream(server.local_addr());
    for byte in &request {
        raw.send(&[*byte]);
    }
    assert_eq!(raw.message(), b"d\0\0\0\x09\x65\0\0\0\x02");
    raw.send(&[&request[..], &request, &request[..10]].concat());
    assert_eq!(raw.receive(20), b"d\0\0\0\x09\x65\0\0\0\x02".repeat(2));
    raw.send(&request[10..]);
    assert_eq!(raw.message(), b"d\0\0\0\x09\x65\0\0\0\x02");
}

#[test]
fn a_copy_can_be_ended_and_commands_go_on() {
    let server = serve(Config::default());
    let (mut raw, request) = raw_stream(server.local_addr());
    raw.send(&[&request[..], b"S\0\0\0\x04H\0\0\0\x04", &request, b"c\0\0\0\x04"].concat());
    assert_eq!(raw.read_to_ready(), "ddcCZ");
    let mut bytes = Vec::new();
    frontend::query(&mut bytes, "pagestream_v2 t main");
    bytes.extend_from_slice(b"f\0\0\0\x06x\0");
    raw.send(&bytes);
    assert_eq!(raw.message()[0], b'W');
    assert_eq!(raw.error().code, "57014");
    assert_eq!(raw.read_to_ready(), "Z");
}

#[test]
fn requests_for_no_fork_are_answered_with_an_error() {
    let server = serve(Config::default());
    let (mut raw, mut request) = raw_stream(server.local_addr());
    *request.last_mut().expect("the fork") = 9;
    raw.send(&request);
    let text = b"there is no fork 9\0";
    let expected = [&b"d\0\0\0"[..], &[4 + 1 + text.len() as u8, 103], text].concat();
    assert_eq!(raw.message(), expected);
}

#[test]
fn what_is_not_a_request_ends_the_connection_after_what_was_asked_before() {
    let server = serve(Config::default());
    for garbage in [&b"d\0\0\0\x05\x09"[..], b"d\0\0\0\x04", b"d\x7f\0\0\0", b"Q\0\0\0\x05\0", b"\0"] {
        let (mut raw, request) = raw_stream(server.local_addr());
        raw.send(&[&request[..], garbage].concat());
        assert_eq!(raw.message()[0], b'd');
        let error = raw.error();
        assert_eq!((error.severity.as_str(), error.code.as_str()), ("FATAL", "08P01"), "{garbage:?}");
        assert_eq!(raw.rest(), b"");
    }
}

#[test]
fn a_panic_closes_its_connection_and_no_other() {
    let server = serve(Config::default());
    let mut other = pages(&server, Version::V3);
    let mut doomed = pages(&server, Version::V3);
    let result = doomed.page(rel(1), PANIC_BLOCK, Lsn(8));
    assert!(matches!(result, Err(ClientError::Closed | ClientError::Socket(_))), "{result:?}");
    let result = connect(&server).query_all("panic");
    assert!(matches!(result, Err(ClientError::Closed | ClientError::Socket(_))), "{result:?}");
    assert_eq!(other.size(rel(1), at(8)).expect("size"), 2);
    assert_eq!(connect(&server).query_all("echo on").expect("echo").tag, "on");
}
