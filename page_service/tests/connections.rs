//! How connections begin and end, also those of clients that mean no good.

mod common;

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use common::{Raw, client_config, connect, pages, rel, serve};
use page_service::messages::{BackendMessage, write_startup};
use page_service::{Client, ClientError, Config, Version};
use pgdata::Lsn;

const SSL_REQUEST: &[u8] = &[0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f];
const GSS_REQUEST: &[u8] = &[0, 0, 0, 8, 4, 0xd2, 0x16, 0x30];

fn startup(parameters: &[(&str, &str)]) -> Vec<u8> {
    let mut packet = Vec::new();
    write_startup(&mut packet, parameters);
    packet
}

#[test]
fn encryption_is_declined_and_the_session_starts() {
    let server = serve(Config { server_version: "15.0 test".to_owned(), ..Config::default() });
    let mut raw = Raw::connect(server.local_addr());
    raw.send(GSS_REQUEST);
    assert_eq!(raw.receive(1), b"N");
    raw.send(SSL_REQUEST);
    assert_eq!(raw.receive(1), b"N");
    raw.send(&startup(&[("user", "me"), ("application_name", "psql")]));
    assert_eq!(raw.message(), b"R\0\0\0\x08\0\0\0\0");
    let mut settings = Vec::new();
    loop {
        let bytes = raw.message();
        match BackendMessage::parse(&bytes) {
            Ok(Some((BackendMessage::ParameterStatus { name, value }, _))) => settings.push(format!("{name}={value}")),
            Ok(Some((BackendMessage::KeyData, _))) => break,
            other => panic!("{other:?}"),
        }
    }
    for setting in ["server_version=15.0 test", "client_encoding=UTF8", "application_name=psql"] {
        assert!(settings.iter().any(|known| known == setting), "{setting} is not among {settings:?}");
    }
    assert_eq!(raw.message(), b"Z\0\0\0\x05I");
}

#[test]
fn newer_versions_of_the_protocol_are_talked_down() {
    let server = serve(Config::default());
    let mut raw = Raw::connect(server.local_addr());
    let mut packet = startup(&[("user", "me"), ("_pq_.novelty", "1")]);
    packet[7] = 2;
    raw.send(&packet);
    assert_eq!(raw.message(), b"v\0\0\0\x19\0\0\0\0\0\0\0\x01_pq_.novelty\0");
    assert!(raw.read_to_ready().starts_with('R'));
}

#[test]
fn other_versions_of_the_protocol_are_refused() {
    let server = serve(Config::default());
    let mut raw = Raw::connect(server.local_addr());
    raw.send(&[0, 0, 0, 8, 0, 2, 0, 0]);
    assert_eq!(raw.error().code, "0A000");
    assert_eq!(raw.rest(), b"");
}

#[test]
fn a_cancel_request_is_closed_without_a_word() {
    let server = serve(Config::default());
    let mut raw = Raw::connect(server.local_addr());
    raw.send(&[0, 0, 0, 16, 4, 0xd2, 0x16, 0x2e, 0, 0, 0, 1, 0, 0, 0, 2]);
    assert_eq!(raw.rest(), b"");
}

#[test]
fn garbage_in_place_of_a_startup_is_refused() {
    let server = serve(Config::default());
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xFC, 3], &[0xFF; 64], &[0; 64]] {
        let mut raw = Raw::connect(server.local_addr());
        raw.send(garbage);
        assert_eq!(raw.error().code, "08P01", "{garbage:?}");
        assert_eq!(raw.rest(), b"");
    }
    let mut raw = Raw::connect(server.local_addr());
    raw.send(&[SSL_REQUEST, SSL_REQUEST].concat());
    assert_eq!(raw.receive(1), b"N");
    assert_eq!(raw.error().code, "08P01");
    assert_eq!(connect(&server).query_all("echo on").expect("echo").tag, "on");
}

#[test]
fn half_a_startup_packet_is_not_waited_for_longer_than_the_timeout() {
    let server = serve(Config { authentication_timeout: Duration::from_millis(50), ..Config::default() });
    let mut raw = Raw::connect(server.local_addr());
    raw.send(&startup(&[("user", "me")])[..9]);
    assert_eq!(raw.error().message, "the client did not finish connecting in time");
    assert_eq!(raw.rest(), b"");
}

#[test]
fn a_client_that_leaves_in_the_middle_of_a_message_is_let_go() {
    let server = serve(Config::default());
    let mut raw = Raw::welcomed(server.local_addr());
    raw.send(b"Q\0\0\0\x0bsta");
    assert_eq!(raw.rest(), b"");
    assert_eq!(Raw::connect(server.local_addr()).rest(), b"");
}

#[test]
fn messages_that_are_none_end_the_connection() {
    let server = serve(Config::default());
    for garbage in [&b"\0\0\0\0\0"[..], b"Q\xff\xff\xff\xff", b"Q\0\0\0\x05x", b"Q\0\0\0\x06\xff\0", b"p\0\0\0\x06x\0"]
    {
        let mut raw = Raw::welcomed(server.local_addr());
        raw.send(garbage);
        let error = raw.error();
        assert_eq!((error.severity.as_str(), error.code.as_str()), ("FATAL", "08P01"), "{garbage:?}");
        assert_eq!(raw.rest(), b"");
    }
}

#[test]
fn a_long_query_is_taken_up_to_the_limit() {
    let server = serve(Config::default());
    let mut client = connect(&server);
    let text = "x".repeat(200_000);
    assert_eq!(client.query_all(&format!("echo {text}")).expect("echo").tag, text);
    let result = client.query_all(&"x".repeat(1 << 20));
    assert!(matches!(&result, Err(ClientError::Server(error)) if error.code == "08P01"), "{result:?}");
}

#[test]
fn one_connection_too_many_is_refused_and_has_its_place_when_another_ends() {
    let server = serve(Config { max_connections: 1, ..Config::default() });
    let first = connect(&server);
    let refused = Client::connect(server.local_addr(), &client_config());
    assert!(matches!(&refused, Err(ClientError::Server(error)) if error.code == "53300"), "{refused:?}");
    drop(first);
    // The server sees the end of the first connection at some time: until then the second is refused.
    while Client::connect(server.local_addr(), &client_config()).is_err() {
        thread::yield_now();
    }
}

#[test]
fn who_connects_and_says_nothing_loses_the_place_to_one_who_means_it() {
    let authentication_timeout = Duration::from_secs(3600);
    let server = serve(Config { max_connections: 1, authentication_timeout, ..Config::default() });
    let silent = Raw::connect(server.local_addr());
    // Until the silent one has had its time, the other is refused.
    let client = loop {
        match Client::connect(server.local_addr(), &client_config()) {
            Ok(client) => break client,
            Err(ClientError::Server(error)) => assert_eq!(error.code, "53300"),
            Err(_) => {}
        }
        thread::yield_now();
    };
    let mut silent = silent.0;
    assert_eq!(silent.read(&mut [0]).expect("closed in order"), 0);
    drop(client);
}

#[test]
fn an_idle_connection_is_closed_if_that_is_wished() {
    let server = serve(Config { idle_timeout: Some(Duration::from_millis(10)), ..Config::default() });
    let mut raw = Raw::welcomed(server.local_addr());
    let mut rest = Vec::new();
    raw.0.read_to_end(&mut rest).expect("the end");
    assert_eq!(rest, b"");
}

#[test]
fn shutdown_closes_what_is_open_and_the_address() {
    let server = serve(Config::default());
    let address = server.local_addr();
    let mut idle = Raw::welcomed(address);
    let mut stream = pages(&server, Version::V2);
    let silent = Raw::connect(address);
    server.shutdown();
    let mut rest = Vec::new();
    idle.0.read_to_end(&mut rest).expect("the end");
    assert!(stream.page(rel(1), 0, Lsn(8)).is_err());
    drop(silent);
    assert!(Client::connect(address, &client_config()).is_err());
}

#[test]
fn beyond_loopback_a_server_wants_users_and_tls() {
    let error = page_service::Server::bind("0.0.0.0:0", Config::default()).expect_err("refused");
    assert!(error.to_string().contains("loopback"), "{error}");
}

/// A server that sends these bytes to whoever connects.
fn server_of(bytes: &'static [u8]) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = listener.local_addr().expect("address");
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("accept");
        let mut request = [0; 1024];
        assert!(stream.read(&mut request).expect("a startup packet") > 0);
        stream.write_all(bytes).expect("send");
    });
    address
}

#[test]
fn a_client_does_not_believe_a_bad_server() {
    type Check = fn(&ClientError) -> bool;
    let cases: [(&'static [u8], Check); 7] = [
        (b"", |error| matches!(error, ClientError::Closed)),
        (b"R\0\0", |error| matches!(error, ClientError::Closed)),
        (b"R\xff\xff\xff\xff", |error| matches!(error, ClientError::Frame(_))),
        (b"HTTP/1.1 400", |error| matches!(error, ClientError::Frame(_))),
        (b"R\0\0\0\x08\0\0\0\x05", |error| matches!(error, ClientError::Authentication(5))),
        (b"D\0\0\0\x06\0\0", |error| matches!(error, ClientError::Unexpected { got: "DataRow", .. })),
        (b"E\0\0\0\x0cMgo\0Cx\0\0", |error| matches!(error, ClientError::Server(error) if error.message == "go")),
    ];
    for (bytes, check) in cases {
        let error = Client::connect(server_of(bytes), &client_config()).expect_err("refused");
        assert!(check(&error), "{bytes:?}: {error:?}");
    }
}
