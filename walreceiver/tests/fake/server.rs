//! The server's side of the protocol, as far as these tests need it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use pgdata::Lsn;
use walreceiver::Primary;

/// Runs `script` for each connection, in turn; it gets the connection's number. Ends with the test's process.
pub fn serve(script: impl Fn(usize, Peer) + Send + 'static) -> Primary {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            script(number, Peer { stream: stream.unwrap() });
        }
    });
    Primary::parse(&format!("host=127.0.0.1 port={port} user=u sslmode=disable")).unwrap()
}

pub fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag];
    bytes.extend_from_slice(&(4 + body.len() as u32).to_be_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// XLogData within CopyData.
pub fn wal_message(start: Lsn, wal: &[u8]) -> Vec<u8> {
    let end = start.0 + wal.len() as u64;
    message(b'd', &[&b"w"[..], &start.0.to_be_bytes(), &end.to_be_bytes(), &[0; 8], wal].concat())
}

pub struct Peer {
    stream: TcpStream,
}

impl Peer {
    /// Sends; that the client has gone is seen by the next read.
    pub fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    fn read(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        // A client that has gone asks nothing more.
        if self.stream.read_exact(&mut bytes).is_err() {
            bytes.clear();
        }
        bytes
    }

    fn read_body(&mut self) -> Vec<u8> {
        match self.read(4)[..] {
            [a, b, c, d] => self.read(u32::from_be_bytes([a, b, c, d]) as usize - 4),
            _ => Vec::new(),
        }
    }

    pub fn read_startup(&mut self) {
        let body = String::from_utf8_lossy(&self.read_body()).into_owned();
        assert!(body.is_empty() || body.contains("replication\0true\0"), "{body:?}");
    }

    pub fn read_message(&mut self) -> (u8, Vec<u8>) {
        let tag = self.read(1).first().copied().unwrap_or(0);
        (tag, self.read_body())
    }

    pub fn ready(&mut self) {
        self.send(&message(b'Z', b"I"));
    }

    /// One result with these rows.
    pub fn rows(&mut self, rows: &[&[Option<&str>]]) {
        self.send(&message(b'T', &[0, 0]));
        for row in rows {
            let mut body = (row.len() as u16).to_be_bytes().to_vec();
            for value in *row {
                body.extend_from_slice(&value.map_or(-1, |value| value.len() as i32).to_be_bytes());
                body.extend_from_slice(value.unwrap_or_default().as_bytes());
            }
            self.send(&message(b'D', &body));
        }
        self.send(&message(b'C', b"SELECT\0"));
    }

    pub fn error(&mut self, severity: &str, code: &str, text: &str) {
        let body = format!("S{severity}\0V{severity}\0C{code}\0M{text}\0\0");
        self.send(&message(b'E', body.as_bytes()));
    }

    fn log_in(&mut self) {
        self.read_startup();
        self.send(&message(b'R', &0u32.to_be_bytes()));
        self.send(&message(b'S', b"server_version\0fake\0"));
        self.send(&message(b'K', &[0; 8]));
        self.ready();
    }

    /// Answers commands until one begins with `last`, and gives that one. `None` if the client goes away before.
    fn answer(&mut self, last: &str, version: u32) -> Option<String> {
        self.log_in();
        let version = version.to_string();
        loop {
            let (tag, body) = self.read_message();
            if tag != b'Q' {
                return None;
            }
            let query = String::from_utf8(body).unwrap();
            let query = query.trim_end_matches('\0');
            let end = Lsn(1 << 40).to_string();
            match query {
                "SHOW server_version_num" => self.rows(&[&[Some(&version)]]),
                "SHOW wal_segment_size" => self.rows(&[&[Some("16MB")]]),
                "SHOW data_checksums" => self.rows(&[&[Some("off")]]),
                "IDENTIFY_SYSTEM" => self.rows(&[&[Some("1"), Some("1"), Some(&end), None]]),
                other if other.starts_with(last) => return Some(other.to_owned()),
                other => panic!("unexpected command {other:?}"),
            }
            self.ready();
        }
    }

    /// Answers commands until the client leaves.
    pub fn answer_queries(&mut self, version: u32) {
        self.answer("nothing", version);
    }

    /// Answers commands until this one, which is left open.
    pub fn answer_until(&mut self, last: &str) {
        self.answer(last, 150_000);
    }

    /// Logs in and begins to stream; the position that the client asked for.
    pub fn start_streaming(&mut self) -> Lsn {
        let command = self.answer("START_REPLICATION", 150_000).expect("the client left before it streamed");
        self.send(&message(b'W', &[0, 0, 0]));
        let words: Vec<&str> = command.split(' ').collect();
        assert_eq!((words[1], words[3], words[4]), ("PHYSICAL", "TIMELINE", "1"));
        words[2].parse().unwrap()
    }

    pub fn wal(&mut self, start: Lsn, wal: &[u8]) {
        self.send(&wal_message(start, wal));
    }

    /// Reads until the client leaves.
    pub fn drain(&mut self) {
        let mut bytes = [0; 1024];
        while self.stream.read(&mut bytes).is_ok_and(|len| len > 0) {}
    }
}
