//! Attacks by those who have been let in.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use page_service::messages::{frontend, write_startup};
use page_service::{Header, Operation, Request, Version};

use crate::Attack;
use crate::common::{at, rel};
use crate::good::GoodClient;
use crate::server::ServerProcess;
use crate::strangers::Noise;

pub const ALL: &[Attack] = &[
    ("half messages", half_messages),
    ("huge lengths", huge_lengths),
    ("garbage", garbage),
    ("queries as long as may be", long_queries),
    ("a long copy in place of commands", endless_copy),
    ("requests whose answers are not read", never_reading),
    ("answers that are read a byte at a time", slow_reading),
];

/// A connection on which the server waits for commands.
fn join(server: &ServerProcess) -> TcpStream {
    let mut stream = TcpStream::connect(server.address).expect("connect");
    stream.set_read_timeout(Some(Duration::from_secs(120))).expect("timeout");
    let mut packet = Vec::new();
    write_startup(&mut packet, &[("user", "me")]);
    stream.write_all(&packet).expect("send");
    await_tag(&mut stream, b'Z');
    stream
}

/// Reads whole messages up to one with this tag.
fn await_tag(stream: &mut TcpStream, tag: u8) {
    loop {
        let mut head = [0; 5];
        stream.read_exact(&mut head).expect("a message");
        let length = u32::from_be_bytes(head[1..].try_into().expect("four bytes")) as usize;
        stream.read_exact(&mut vec![0; length - 4]).expect("its body");
        if head[0] == tag {
            return;
        }
    }
}

fn join_stream(server: &ServerProcess) -> TcpStream {
    let mut stream = join(server);
    let mut query = Vec::new();
    frontend::query(&mut query, "pagestream_v3 t main");
    stream.write_all(&query).expect("send");
    await_tag(&mut stream, b'W');
    stream
}

/// Reads until the server has closed the connection.
fn await_end(mut stream: TcpStream) {
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return,
            Err(error) => panic!("the server keeps the connection: {error}"),
        }
    }
}

/// Many of them at once, kept open; the server waits for the rest, as it may.
fn half_messages(server: &ServerProcess, good: &GoodClient) {
    let mut message = Vec::new();
    frontend::query(&mut message, "echo on");
    let half = &message[..message.len() - 1];
    let open: Vec<_> = (0..100)
        .map(|round| {
            let mut stream = if round % 2 == 0 { join(server) } else { join_stream(server) };
            stream.write_all(&half[..1 + round % (half.len() - 1)]).expect("send");
            stream
        })
        .collect();
    good.await_rounds(1);
    drop(open);
}

fn huge_lengths(server: &ServerProcess, _: &GoodClient) {
    for tag in [b'Q', b'd', b'P', b'B', b'p', b'f', b'X'] {
        for length in [(1_u32 << 20) + 6, 0x7FFF_FFFF, u32::MAX] {
            for mut stream in [join(server), join_stream(server)] {
                let head = [&[tag][..], &length.to_be_bytes()].concat();
                let _ = stream.write_all(&[&head[..], &[b'x'; 100_000]].concat());
                await_end(stream);
            }
        }
    }
}

fn garbage(server: &ServerProcess, _: &GoodClient) {
    let mut noise = Noise::new(4);
    for round in 0..200 {
        let mut stream = if round % 2 == 0 { join(server) } else { join_stream(server) };
        let count = (noise.next() % 5000) as usize;
        let _ = stream.write_all(&noise.bytes(count));
        let _ = stream.shutdown(std::net::Shutdown::Write);
        await_end(stream);
    }
}

/// Whole and nearly whole ones, on many connections at once.
fn long_queries(server: &ServerProcess, _: &GoodClient) {
    let mut query = Vec::new();
    frontend::query(&mut query, &"x".repeat((1 << 20) - 1));
    let mut open: Vec<_> = (0..30).map(|_| join(server)).collect();
    for stream in &mut open {
        stream.write_all(&query[..query.len() - 1]).expect("send");
    }
    for mut stream in open {
        stream.write_all(&query[query.len() - 1..]).expect("send");
        await_tag(&mut stream, b'Z');
    }
}

/// Copy data outside of a copy are skipped; and an error of the extended protocol skips everything up to Sync.
fn endless_copy(server: &ServerProcess, _: &GoodClient) {
    let mut stream = join(server);
    let piece = [&b"d\0\0\x04\x04"[..], &[7; 1024]].concat().repeat(100);
    for _ in 0..100 {
        stream.write_all(&piece).expect("send");
    }
    stream.write_all(b"P\0\0\0\x08\0\0\0\0").expect("send");
    for _ in 0..100 {
        stream.write_all(&piece).expect("send");
    }
    stream.write_all(b"S\0\0\0\x04").expect("send");
    await_tag(&mut stream, b'Z');
}

/// Requests for more than all buffers on the way can hold.
fn requests() -> Vec<u8> {
    let mut bytes = Vec::new();
    for block in 0..4096 {
        let request =
            Request { header: Header { reqid: 1, at: at(8) }, operation: Operation::Page { rel: rel(1), block } };
        request.write(&mut bytes, Version::V3);
    }
    bytes
}

/// Sends until the server has closed the connection.
fn send_for_ever(stream: &mut TcpStream, bytes: &[u8]) {
    while stream.write_all(bytes).is_ok() {}
}

fn never_reading(server: &ServerProcess, _: &GoodClient) {
    let requests = requests();
    let threads: Vec<_> = (0..20)
        .map(|round| {
            let (mut stream, requests) = (join_stream(server), requests.clone());
            if round % 4 == 0 {
                // A copy of gigabytes instead.
                stream.write_all(b"c\0\0\0\x04").expect("send");
                await_tag(&mut stream, b'Z');
                let mut query = Vec::new();
                frontend::query(&mut query, "copy 4000000000");
                stream.write_all(&query).expect("send");
            }
            thread::spawn(move || send_for_ever(&mut stream, &requests))
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().expect("cut off"));
}

fn slow_reading(server: &ServerProcess, _: &GoodClient) {
    let requests = requests();
    let threads: Vec<_> = (0..5)
        .map(|_| {
            let mut stream = join_stream(server);
            let mut reader = stream.try_clone().expect("a second handle");
            let is_cut_off = Arc::new(AtomicBool::new(false));
            let stop = Arc::clone(&is_cut_off);
            let reads = thread::spawn(move || {
                // What the systems' buffers hold already would keep it busy for hours.
                while !stop.load(Ordering::Acquire) && reader.read_exact(&mut [0]).is_ok() {
                    thread::sleep(Duration::from_millis(5));
                }
            });
            let requests = requests.clone();
            thread::spawn(move || {
                send_for_ever(&mut stream, &requests);
                is_cut_off.store(true, Ordering::Release);
                reads.join().expect("the reader ends");
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().expect("cut off"));
}
