//! Attacks by those who have not been let in.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use page_service::messages::{frontend, write_ssl_request, write_startup};

use crate::Attack;
use crate::good::GoodClient;
use crate::server::{MAX_CONNECTIONS, ServerProcess, USER};

/// The attack in which others have to try again.
pub const FLOOD: &str = "a flood of silent connections";

pub const ALL: &[Attack] = &[
    ("half messages", half_messages),
    ("huge lengths", huge_lengths),
    ("slow bytes", slow_bytes),
    ("garbage", garbage),
    ("garbage within TLS", garbage_within_tls),
    ("garbage in place of proofs", false_proofs),
    (FLOOD, flood),
];

/// Bytes that are the same in every run.
pub struct Noise(u64);

impl Noise {
    pub fn new(seed: u64) -> Noise {
        Noise(seed.wrapping_mul(2).wrapping_add(1))
    }

    pub fn next(&mut self) -> u64 {
        // Xorshift.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| (self.next() >> 32) as u8).collect()
    }
}

/// A connection. There may be none to be had in a flood.
fn open(server: &ServerProcess) -> Option<TcpStream> {
    let stream = TcpStream::connect(server.address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(120))).expect("timeout");
    Some(stream)
}

/// Sends these bytes on a connection of their own, as far as anybody takes them.
fn send(server: &ServerProcess, bytes: &[u8]) -> Option<TcpStream> {
    let mut stream = open(server)?;
    let _ = stream.write_all(bytes);
    Some(stream)
}

/// Waits until the server has closed the connection, and says how much it has said.
fn await_end(mut stream: TcpStream) -> usize {
    let mut count = 0;
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return count,
            Ok(more) => count += more,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return count,
            Err(error) => panic!("the server keeps a stranger: {error}"),
        }
    }
}

fn await_ends(streams: impl IntoIterator<Item = TcpStream>) {
    for stream in streams {
        await_end(stream);
    }
}

fn ssl_request() -> Vec<u8> {
    let mut bytes = Vec::new();
    write_ssl_request(&mut bytes);
    bytes
}

fn startup() -> Vec<u8> {
    let mut bytes = Vec::new();
    write_startup(&mut bytes, &[("user", USER)]);
    bytes
}

fn half_messages(server: &ServerProcess, _: &GoodClient) {
    let (startup, request) = (startup(), ssl_request());
    let halves = (0..startup.len()).map(|cut| &startup[..cut]).chain((0..request.len()).map(|cut| &request[..cut]));
    let open: Vec<_> = halves.filter_map(|half| send(server, half)).collect();
    let tls: Vec<_> = (0..100).filter_map(|_| send(server, &[&request[..], &[0x16, 3, 1]].concat())).collect();
    await_ends(open.into_iter().chain(tls));
}

fn huge_lengths(server: &ServerProcess, _: &GoodClient) {
    for length in [10_005_u32, 1 << 20, 0x7FFF_FFFF, 0x8000_0000, u32::MAX] {
        let bytes = [&length.to_be_bytes()[..], &[0, 3, 0, 0], &[b'x'; 20_000]].concat();
        let open: Vec<_> = (0..50).filter_map(|_| send(server, &bytes)).collect();
        await_ends(open);
    }
}

/// A byte now and then, until the server has had enough.
fn slow_bytes(server: &ServerProcess, _: &GoodClient) {
    let mut packet = ((9000_u32).to_be_bytes()).to_vec();
    packet.extend_from_slice(&[0, 3, 0, 0]);
    packet.resize(9000, b'x');
    let packet = Arc::new(packet);
    let slow: Vec<_> = (0..20)
        .filter_map(|_| open(server))
        .map(|mut stream| {
            let packet = Arc::clone(&packet);
            thread::spawn(move || {
                for byte in &*packet {
                    if stream.write_all(&[*byte]).is_err() {
                        return;
                    }
                    thread::sleep(Duration::from_millis(20));
                }
                panic!("the server has waited for a whole packet of slow bytes");
            })
        })
        .collect();
    slow.into_iter().for_each(|thread| thread.join().expect("cut off"));
}

fn garbage(server: &ServerProcess, _: &GoodClient) {
    let mut noise = Noise::new(1);
    for _ in 0..300 {
        let count = (noise.next() % 3000) as usize;
        let bytes = noise.bytes(count);
        if let Some(stream) = send(server, &bytes) {
            let _ = stream.shutdown(std::net::Shutdown::Write);
            await_end(stream);
        }
    }
}

fn garbage_within_tls(server: &ServerProcess, _: &GoodClient) {
    let mut noise = Noise::new(2);
    for round in 0..150 {
        let Some(mut stream) = send(server, &ssl_request()) else { continue };
        let count = (noise.next() % 20_000) as usize;
        let mut bytes = noise.bytes(count);
        match round % 3 {
            // Records with a header that is good.
            0 => bytes.splice(0..0, [0x16, 3, 1, (noise.next() % 65) as u8, 0]).for_each(drop),
            1 => bytes.splice(0..0, [0x17, 3, 3, 0x40, 0]).for_each(drop),
            _ => {}
        }
        let _ = stream.write_all(&bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        // An answer and an alert, or an error if the request and the rest came at once.
        assert!(await_end(stream) < 400, "that is more than a refusal");
    }
    // A good handshake, and then bytes that nobody has encrypted.
    let config = pgtls::client_config(&server.verify()).expect("a configuration");
    for _ in 0..20 {
        let Some(mut stream) = send(server, &ssl_request()) else { continue };
        let mut answer = [0];
        if stream.read_exact(&mut answer).is_err() {
            continue;
        }
        let name = "localhost".try_into().expect("a name");
        let mut session = rustls::ClientConnection::new(Arc::clone(&config), name).expect("a session");
        session.complete_io(&mut stream).expect("a handshake");
        let _ = stream.write_all(&noise.bytes(3000));
        let _ = stream.shutdown(std::net::Shutdown::Write);
        await_end(stream);
    }
}

/// Through TLS, and then anything but a proof.
fn false_proofs(server: &ServerProcess, _: &GoodClient) {
    let config = pgtls::client_config(&server.verify()).expect("a configuration");
    let mut noise = Noise::new(3);
    let long = "x".repeat(900);
    let firsts = ["", "n,,", "n,,n=,r=", "n,,n=,r=abc", "y,,n=,r=abc", "p=tls-server-end-point,,n=,r=abc", &long];
    for round in 0..60 {
        let Some(mut stream) = send(server, &ssl_request()) else { continue };
        let mut answer = [0];
        if stream.read_exact(&mut answer).is_err() {
            continue;
        }
        let name = "localhost".try_into().expect("a name");
        let session = rustls::ClientConnection::new(Arc::clone(&config), name).expect("a session");
        let mut stream = rustls::StreamOwned::new(session, stream);
        let mut bytes = startup();
        let first = firsts[round % firsts.len()];
        frontend::sasl_initial(&mut bytes, ["SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", "x"][round % 3], first.as_bytes());
        match round % 4 {
            0 => frontend::sasl_response(&mut bytes, &noise.bytes(200)),
            1 => frontend::sasl_response(&mut bytes, b"c=biws,r=abc,p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="),
            2 => bytes.extend_from_slice(b"p\x7f\xff\xff\xff"),
            _ => frontend::query(&mut bytes, "echo on"),
        }
        let _ = stream.write_all(&bytes);
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        // A demand for a proof, perhaps a challenge, and the refusal: never the zero of AuthenticationOk after the tag and the length.
        assert!(rest.len() < 1000 && !rest.windows(9).any(|bytes| bytes == b"R\0\0\0\x08\0\0\0\0"), "{rest:?}");
    }
}

/// Several times as many as are served, all open at once. Those who are in are served, and the good client gets in while the others wait.
fn flood(server: &ServerProcess, good: &GoodClient) {
    let wanted = (descriptors() / 2).min(MAX_CONNECTIONS * 10);
    let open: Vec<_> = (0..wanted).filter_map(|_| open(server)).collect();
    assert!(open.len() > MAX_CONNECTIONS, "only {} connections were to be had", open.len());
    good.await_rounds(2);
    await_ends(open);
}

/// How many files this process may have open, after asking for all there are.
fn descriptors() -> usize {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).expect("as much as is allowed");
    limit.current.map_or(1 << 20, |count| count as usize)
}
