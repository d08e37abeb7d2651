//! The server and its clients, also those that mean no good.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use super::{Request, Response, Server, ServerHandle, Site, Status};

/// Says what it was asked for.
struct Echo;

impl Site for Echo {
    fn answer(&self, request: &Request) -> Response {
        match request.path.as_str() {
            "/panic" => panic!("as ordered"),
            // More than fits into the buffers of a socket.
            "/large" => Response { body: "x".repeat(16 << 20), ..Response::text(Status::Ok, "") },
            path => Response::text(Status::Ok, path),
        }
    }
}

fn serve() -> ServerHandle {
    let address = "127.0.0.1:0".parse().expect("an address");
    Server::bind(address).expect("bind").serve(Arc::new(Echo)).expect("serve")
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("connect");
    // No test hangs.
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("timeout");
    stream
}

fn read_all(mut stream: TcpStream) -> String {
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer");
    String::from_utf8(answer).expect("text")
}

fn ask(address: SocketAddr, request: &str) -> String {
    let mut stream = connect(address);
    stream.write_all(request.as_bytes()).expect("send");
    read_all(stream)
}

fn get(address: SocketAddr, path: &str) -> String {
    ask(address, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"))
}

#[test]
fn requests_are_answered_and_heads_without_bodies() {
    let server = serve();
    let answer = get(server.local_addr(), "/some/where?x=y");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\n/some/where\n"), "{answer}");
    let head = ask(server.local_addr(), "HEAD /some/where HTTP/1.1\r\n\r\n");
    assert!(head.contains("Content-Length: 12\r\n") && head.ends_with("\r\n\r\n"), "{head}");
}

#[test]
fn a_request_may_come_byte_by_byte_and_others_are_served_meanwhile() {
    let server = serve();
    let mut slow = connect(server.local_addr());
    for byte in b"GET /slow HTTP/1.1\r\n\r\n" {
        slow.write_all(&[*byte]).expect("send");
        assert!(get(server.local_addr(), "/fast").ends_with("/fast\n"));
    }
    assert!(read_all(slow).ends_with("/slow\n"));
}

#[test]
fn an_answer_that_nobody_reads_keeps_nobody_waiting() {
    let server = serve();
    let mut lazy = connect(server.local_addr());
    lazy.write_all(b"GET /large HTTP/1.1\r\n\r\n").expect("send");
    for _ in 0..10 {
        assert!(get(server.local_addr(), "/fast").ends_with("/fast\n"));
    }
    assert_eq!(read_all(lazy).split_once("\r\n\r\n").expect("a head").1.len(), 16 << 20);
}

#[test]
fn a_crowd_of_idle_connections_keeps_nobody_out() {
    let server = serve();
    let idle: Vec<_> = (0..300).map(|_| connect(server.local_addr())).collect();
    for _ in 0..10 {
        assert!(get(server.local_addr(), "/fast").ends_with("/fast\n"));
    }
    // The oldest have made room.
    assert_eq!(read_all(idle.into_iter().next().expect("one")), "");
}

#[test]
fn garbage_and_endless_heads_are_refused_in_words() {
    let server = serve();
    let answer = ask(server.local_addr(), "\u{16}\u{3}\u{1} what?\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    // Much more than is read: the refusal arrives all the same.
    let endless = format!("GET / HTTP/1.1\r\nx: {}", "y".repeat(100_000));
    let answer = ask(server.local_addr(), &endless);
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    let answer = ask(server.local_addr(), "DELETE /metrics HTTP/1.1\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 405 ") && answer.contains("Allow: GET, HEAD"), "{answer}");
}

#[test]
fn a_client_that_goes_away_in_the_middle_is_forgotten() {
    let server = serve();
    let mut half = connect(server.local_addr());
    half.write_all(b"GET / HTT").expect("send");
    half.shutdown(Shutdown::Write).expect("shutdown");
    assert_eq!(read_all(half), "");
    assert!(get(server.local_addr(), "/fast").ends_with("/fast\n"));
}

#[test]
fn a_defect_is_answered_and_survived() {
    let server = serve();
    assert!(get(server.local_addr(), "/panic").starts_with("HTTP/1.1 500 "));
    assert!(get(server.local_addr(), "/fast").ends_with("/fast\n"));
}

#[test]
fn shutdown_closes_what_is_open() {
    let server = serve();
    let (address, idle) = (server.local_addr(), connect(server.local_addr()));
    assert!(get(address, "/fast").ends_with("/fast\n"));
    drop(server);
    assert_eq!(read_all(idle), "");
    assert!(TcpStream::connect(address).is_err());
}
