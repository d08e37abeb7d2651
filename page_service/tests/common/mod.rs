//! A backend that makes its answers up out of the questions, and sockets that speak bytes.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use page_service::messages::{BackendMessage, ServerMessage, write_startup};
use page_service::{
    Backend, Client, ClientConfig, Column, Config, PageSource, PageStream, ReadLsn, RowSink, Server, ServerHandle,
    ServiceError, SqlState, Value, Version,
};
use pgdata::{Lsn, Page, RelTag, SlruSegment};

/// Blocks at and after this one cannot be read.
pub const BAD_BLOCK: u32 = 1_000_000;
/// Reading this block panics.
pub const PANIC_BLOCK: u32 = 2_000_000;

/// Reads at and after this LSN wait for [`arrive`].
pub const FUTURE: Lsn = Lsn(1 << 40);
static ARRIVAL: (Mutex<bool>, Condvar) = (Mutex::new(false), Condvar::new());

/// Lets reads in the future be answered.
pub fn arrive() {
    *ARRIVAL.0.lock().expect("no panic") = true;
    ARRIVAL.1.notify_all();
}

pub struct Fake;

impl Backend for Fake {
    fn timeline(&self, tenant: &str, timeline: &str) -> Result<Arc<dyn PageSource>, ServiceError> {
        match (tenant, timeline) {
            ("t", "main") => Ok(Arc::new(Fake)),
            _ => Err(ServiceError::new(SqlState::UNDEFINED_OBJECT, format!("no timeline {tenant}/{timeline}"))),
        }
    }

    fn command(&self, command: &str, out: &mut dyn RowSink) -> Result<String, ServiceError> {
        let (word, rest) = command.split_once(' ').unwrap_or((command, ""));
        match word {
            "rows" => {
                let count: i64 = rest.parse().map_err(|_| ServiceError::new(SqlState::SYNTAX_ERROR, "rows N"))?;
                out.columns(&[Column::int8("n"), Column::text("square"), Column::bytea("bytes"), Column::bool("odd")])?;
                for n in 0..count {
                    out.notice(&format!("{n} of {count}"))?;
                    let square = (n * n).to_string();
                    out.row(&[n.into(), Value::Text(&square), Value::Bytea(&[n as u8, 0xAB]), (n % 2 == 1).into()])?;
                }
                Ok(format!("ROWS {count}"))
            }
            "null" => {
                out.columns(&[Column::int8("n")])?;
                out.row(&[Value::Null])?;
                Ok("NULL".to_owned())
            }
            "copy" => {
                let size: usize = rest.parse().map_err(|_| ServiceError::new(SqlState::SYNTAX_ERROR, "copy N"))?;
                let writer = out.copy_out()?;
                (0..size).try_for_each(|n| writer.write_all(&[n as u8]))?;
                if size == 13 {
                    return Err(ServiceError::internal("bad luck"));
                }
                Ok(format!("COPY {size}"))
            }
            "echo" => Ok(rest.to_owned()),
            "wrong" => {
                out.columns(&[Column::int8("n")])?;
                out.row(&[Value::Text("x")])?;
                Ok("WRONG".to_owned())
            }
            "headless" => out.row(&[]).map(|()| "HEADLESS".to_owned()),
            "large" => {
                out.columns(&[Column::bytea("b")])?;
                out.row(&[Value::Bytea(&vec![0; 9 << 20])])?;
                Ok("LARGE".to_owned())
            }
            "panic" => panic!("as ordered"),
            other => Err(ServiceError::unknown_command(other, &["rows", "echo"])),
        }
    }
}

/// What the fake has in a block: the question, over and over.
pub fn made_up_page(rel: RelTag, block: u32, at: ReadLsn) -> Page {
    let mut page = [0; 8192];
    let question = [u64::from(rel.rel), u64::from(block), at.request.0, at.not_modified_since.0];
    for (index, word) in page.chunks_exact_mut(8).enumerate() {
        word.copy_from_slice(&question[index % 4].to_be_bytes());
    }
    page
}

impl PageSource for Fake {
    fn is_ready(&self, at: ReadLsn) -> bool {
        at.not_modified_since < FUTURE
    }

    fn exists(&self, rel: RelTag, _: ReadLsn) -> Result<bool, ServiceError> {
        Ok(rel.rel.is_multiple_of(2))
    }

    fn size(&self, rel: RelTag, _: ReadLsn) -> Result<u32, ServiceError> {
        Ok(rel.rel + 1)
    }

    fn page(&self, rel: RelTag, block: u32, at: ReadLsn, page: &mut Page) -> Result<(), ServiceError> {
        assert_eq!(page, &[0; 8192], "the slot is all zeros on entry");
        assert_ne!(block, PANIC_BLOCK, "as ordered");
        if at.not_modified_since >= FUTURE {
            let (come, arrived) = &ARRIVAL;
            drop(arrived.wait_while(come.lock().expect("no panic"), |come| !*come).expect("no panic"));
        }
        *page = made_up_page(rel, block, at);
        if block >= BAD_BLOCK {
            // After having written into the slot, of which nothing may reach the client.
            let message = format!("{rel} block {block} is missing");
            return Err(ServiceError::new(SqlState::DATA_CORRUPTED, message).with_hint("restore it"));
        }
        Ok(())
    }

    fn database_size(&self, db: u32, _: ReadLsn) -> Result<u64, ServiceError> {
        Ok(if db == 666 { u64::MAX } else { u64::from(db) << 13 })
    }

    fn slru_segment(&self, segment: SlruSegment, _: ReadLsn) -> Result<Vec<u8>, ServiceError> {
        Ok(match segment.segno {
            666 => vec![7; 8191],
            667 => vec![7; 33 * 8192],
            segno => vec![segno as u8; 8192 * (segno as usize % 33)],
        })
    }
}

pub fn serve(config: Config) -> ServerHandle {
    Server::bind("127.0.0.1:0", config).expect("bind").serve(Arc::new(Fake)).expect("serve")
}

/// Patient enough for a busy machine, and no test hangs.
pub fn client_config() -> ClientConfig {
    ClientConfig { read_timeout: Some(Duration::from_secs(60)), ..ClientConfig::default() }
}

pub fn connect(server: &ServerHandle) -> Client {
    Client::connect(server.local_addr(), &client_config()).expect("connect")
}

pub fn pages(server: &ServerHandle, version: Version) -> PageStream {
    connect(server).page_stream("t", "main", version).expect("page stream")
}

pub fn rel(rel: u32) -> RelTag {
    RelTag { spc: 1663, db: 5, rel, ..RelTag::default() }
}

pub fn at(lsn: u64) -> ReadLsn {
    ReadLsn::at(Lsn(lsn))
}

/// A client of bytes.
pub struct Raw(pub TcpStream);

impl Raw {
    pub fn connect(address: SocketAddr) -> Raw {
        let stream = TcpStream::connect(address).expect("connect");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("timeout");
        Raw(stream)
    }

    /// Connects and reads everything up to the first ReadyForQuery.
    pub fn welcomed(address: SocketAddr) -> Raw {
        let mut raw = Raw::connect(address);
        let mut packet = Vec::new();
        write_startup(&mut packet, &[("user", "me")]);
        raw.send(&packet);
        raw.read_to_ready();
        raw
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).expect("send");
    }

    pub fn receive(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.0.read_exact(&mut bytes).expect("receive");
        bytes
    }

    /// One whole message.
    pub fn message(&mut self) -> Vec<u8> {
        let mut bytes = self.receive(5);
        let length = u32::from_be_bytes(bytes[1..].try_into().expect("four bytes")) as usize;
        bytes.extend(self.receive(length - 4));
        bytes
    }

    /// The tags of the messages up to and with ReadyForQuery.
    pub fn read_to_ready(&mut self) -> String {
        let mut tags = String::new();
        while !tags.ends_with('Z') {
            tags.push(char::from(self.message()[0]));
        }
        tags
    }

    pub fn error(&mut self) -> ServerMessage {
        let bytes = self.message();
        match BackendMessage::parse(&bytes) {
            Ok(Some((BackendMessage::Error(error), _))) => error,
            other => panic!("expected an error, got {other:?}"),
        }
    }

    /// Everything until the server closes the connection.
    pub fn rest(mut self) -> Vec<u8> {
        // The server may have closed it altogether.
        let _ = self.0.shutdown(Shutdown::Write);
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest).expect("the end");
        rest
    }
}
