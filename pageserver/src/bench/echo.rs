//! The floor of a page read: a process that answers each request over TCP with 8 KiB, and does nothing else. And that of a base backup:
//! it sends as many bytes as it is asked for.
//!
//! It handles its socket as the page service does: a thread for a connection, blocking, answers gathered while more requests are at hand.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;

use anyhow::{Context, Result, ensure};
use page_service::{Header, Operation, ReadLsn, Request, Version};
use pgdata::{Lsn, PAGE_SIZE, RelTag};

use super::load::Target;

/// Answers are sent when no more requests are at hand, or when this many bytes have gathered: as in the page service.
const FLUSH_AT: usize = 128 << 10;
/// Bytes read at once, on either side: as in the page service.
const READ: usize = 64 << 10;

/// Bytes of a request: as many as one for a page has.
fn request_size() -> usize {
    let header = Header { reqid: 0, at: ReadLsn::at(Lsn(8)) };
    let mut bytes = Vec::new();
    Request { header, operation: Operation::Page { rel: RelTag::default(), block: 0 } }.write(&mut bytes, Version::V3);
    bytes.len()
}

/// `bench echo`: serves until standard input ends.
pub fn serve() -> Result<()> {
    println!("{} {}", listen(answer)?, listen(send)?);
    std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink())?;
    Ok(())
}

/// Serves each connection by a thread, which ends with the connection, however that ends.
fn listen(serve: fn(TcpStream) -> std::io::Result<()>) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").context("cannot listen")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || serve(stream));
        }
    });
    Ok(address)
}

/// Sends as many bytes as the eight that it reads first say.
fn send(mut stream: TcpStream) -> std::io::Result<()> {
    let mut count = [0; 8];
    stream.read_exact(&mut count)?;
    let (piece, mut left) = ([7; READ], u64::from_be_bytes(count));
    while left > 0 {
        let length = left.min(READ as u64) as usize;
        stream.write_all(&piece[..length])?;
        left -= length as u64;
    }
    Ok(())
}

fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let size = request_size();
    let mut input = vec![0; READ];
    let mut out = Vec::with_capacity(FLUSH_AT + PAGE_SIZE);
    let mut held = 0;
    loop {
        let count = stream.read(&mut input)?;
        if count == 0 {
            return Ok(());
        }
        held += count;
        while held >= size {
            held -= size;
            out.resize(out.len() + PAGE_SIZE, 7);
            if out.len() >= FLUSH_AT {
                stream.write_all(&out)?;
                out.clear();
            }
        }
        stream.write_all(&out)?;
        out.clear();
    }
}

/// The process. It ends when this is dropped.
#[derive(Debug)]
pub struct Echo {
    process: Child,
    pages: SocketAddr,
    bytes: SocketAddr,
}

impl Echo {
    /// Starts it.
    pub fn start() -> Result<Echo> {
        let own = std::env::current_exe().context("cannot tell where this program is")?;
        let mut command = Command::new(own);
        command.args(["bench", "echo"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().context("cannot start the echo")?;
        let mut line = String::new();
        let stdout = process.stdout.take().context("the echo has no output")?;
        BufReader::new(stdout).read_line(&mut line).context("the echo says nothing")?;
        let addresses = line.trim().split_once(' ').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
        let (pages, bytes) = addresses.with_context(|| format!("the echo says {line:?} instead of its addresses"))?;
        Ok(Echo { process, pages, bytes })
    }

    /// Receives so many bytes.
    pub fn stream(&self, count: u64) -> Result<()> {
        let mut stream = TcpStream::connect(self.bytes).context("cannot connect to the echo")?;
        stream.write_all(&count.to_be_bytes())?;
        let mut buffer = [0; READ];
        let mut left = count;
        while left > 0 {
            let got = stream.read(&mut buffer)?;
            ensure!(got > 0, "the echo has ended");
            left -= got as u64;
        }
        Ok(())
    }

    /// A new connection to it.
    pub fn connect(&self) -> Result<EchoTarget> {
        let stream = TcpStream::connect(self.pages).context("cannot connect to the echo")?;
        stream.set_nodelay(true)?;
        let input = BufReader::with_capacity(READ, stream.try_clone()?);
        Ok(EchoTarget { stream, input, request: vec![1; request_size()], out: Vec::new(), page: vec![0; PAGE_SIZE] })
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        // It has read the end of its input, or it has ended before.
        let _ = self.process.wait();
    }
}

/// A connection to the echo.
#[derive(Debug)]
pub struct EchoTarget {
    stream: TcpStream,
    input: BufReader<TcpStream>,
    request: Vec<u8>,
    out: Vec<u8>,
    page: Vec<u8>,
}

impl Target for EchoTarget {
    fn ask(&mut self) -> Result<()> {
        self.out.extend_from_slice(&self.request);
        Ok(())
    }

    fn answer(&mut self) -> Result<()> {
        if !self.out.is_empty() {
            self.stream.write_all(&self.out)?;
            self.out.clear();
        }
        Ok(self.input.read_exact(&mut self.page)?)
    }
}
