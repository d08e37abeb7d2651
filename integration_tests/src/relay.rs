//! A TCP relay between a replication client and its primary that keeps a copy of the base backup it carries.
//!
//! Two base backups of one cluster differ where only hint bits have changed between them, and such changes never reach
//! the WAL. A standby can therefore agree with the pageserver in every byte only if both begin with the same backup: the one
//! that passed through here. The relay can also break all connections, as a network does, hold back what the primary says, and lead to another server.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result, ensure};

/// The code of an `SSLRequest`, and of a `GSSENCRequest` one above it (PostgreSQL documentation, "Message Formats").
const SSL_REQUEST: u32 = 80_877_103;
const GSS_REQUEST: u32 = 80_877_104;
/// Longer messages than this come from no PostgreSQL.
const MAX_MESSAGE: u32 = 1 << 30;

/// The relay. Dropping it closes its connections and its port.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    target: AtomicU16,
    dir: PathBuf,
    open: Mutex<Vec<TcpStream>>,
    refusing: AtomicBool,
    closing: AtomicBool,
    tapes: Mutex<Vec<PathBuf>>,
    holding: Mutex<bool>,
    released: Condvar,
    /// Bytes that may still pass before everything breaks.
    left: Mutex<Option<usize>>,
    cuts: AtomicUsize,
}

impl Relay {
    /// Listens on a free loopback port and passes every connection on to `127.0.0.1:port`. Base backups are kept under `dir`.
    ///
    /// # Errors
    /// If there is no port or the directory cannot be made.
    pub fn start(port: u16, dir: &Path) -> Result<Relay> {
        fs::create_dir_all(dir)?;
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            target: AtomicU16::new(port),
            dir: dir.to_owned(),
            open: Mutex::default(),
            refusing: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            tapes: Mutex::default(),
            holding: Mutex::new(false),
            released: Condvar::new(),
            left: Mutex::default(),
            cuts: AtomicUsize::new(0),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || accepting.accept_all(&listener));
        Ok(Relay { address, shared })
    }

    /// The address to connect to as a connection string, for the user `postgres`.
    #[must_use]
    pub fn conninfo(&self) -> String {
        format!("host=127.0.0.1 port={} user=postgres", self.address.port())
    }

    /// Breaks every connection. New ones are accepted, unless [`Relay::refuse`] says otherwise.
    pub fn cut(&self) {
        self.shared.cut();
    }

    /// Passes new connections on to another port from now on, as an address does that moves to another server. Those that are open stay.
    pub fn point_at(&self, port: u16) {
        self.shared.target.store(port, Ordering::SeqCst);
    }

    /// Breaks every connection, once, when the primary has said `bytes` more bytes: the last message is cut where they end.
    pub fn cut_after(&self, bytes: usize) {
        *self.shared.left.lock().unwrap_or_else(PoisonError::into_inner) = Some(bytes);
    }

    /// How often [`Relay::cut_after`] has broken the connections.
    #[must_use]
    pub fn cuts(&self) -> usize {
        self.shared.cuts.load(Ordering::SeqCst)
    }

    /// Whether new connections are closed as soon as they are made.
    pub fn refuse(&self, refuse: bool) {
        self.shared.refusing.store(refuse, Ordering::SeqCst);
    }

    /// Whether what the primary says is held back. Once this returns for `true`, nothing more passes to the clients until it is
    /// called for `false`; then all of it does, in order.
    pub fn hold(&self, hold: bool) {
        *self.shared.holding.lock().unwrap_or_else(PoisonError::into_inner) = hold;
        self.shared.released.notify_all();
    }

    /// The one complete base backup that has passed: the directory of its archives (`base.tar`, and `OID.tar` for each tablespace).
    ///
    /// # Errors
    /// If there was none or more than one.
    pub fn base_backup(&self) -> Result<PathBuf> {
        let tapes = self.shared.tapes.lock().unwrap_or_else(PoisonError::into_inner);
        ensure!(tapes.len() == 1, "{} complete base backups passed through the relay, expected one", tapes.len());
        tapes.first().cloned().context("no base backup passed through the relay")
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::SeqCst);
        self.cut();
        self.hold(false);
        // The accepting thread wakes by one last connection.
        TcpStream::connect(self.address).ok();
    }
}

impl Shared {
    fn accept_all(self: Arc<Self>, listener: &TcpListener) {
        for client in listener.incoming() {
            if self.closing.load(Ordering::SeqCst) {
                return;
            }
            let (Ok(client), false) = (client, self.refusing.load(Ordering::SeqCst)) else { continue };
            let connection = Arc::clone(&self);
            // An error here is a connection that broke, which both ends see for themselves.
            thread::spawn(move || connection.carry(client));
        }
    }

    fn carry(&self, mut client: TcpStream) -> Result<()> {
        let startup = read_startup(&mut client)?;
        let mut server = TcpStream::connect(("127.0.0.1", self.target.load(Ordering::SeqCst)))?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        {
            let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            open.extend([client.try_clone()?, server.try_clone()?]);
        }
        server.write_all(&startup)?;
        let backup = Arc::new(AtomicBool::new(false));
        let (from_client, to_server, asked) = (client.try_clone()?, server.try_clone()?, Arc::clone(&backup));
        let upstream = thread::spawn(move || carry_queries(from_client, to_server, &asked));
        let result = self.carry_answers(&server, &client, &backup);
        client.shutdown(Shutdown::Both).ok();
        server.shutdown(Shutdown::Both).ok();
        upstream.join().expect("carrying queries does not panic").ok();
        result
    }

    /// Writes to the client, when nothing is held back. The lock is kept meanwhile, so that [`Relay::hold`] is exact.
    fn pass(&self, message: &[u8], mut client: &TcpStream) -> io::Result<()> {
        let holding = self.holding.lock().unwrap_or_else(PoisonError::into_inner);
        let _open = self.released.wait_while(holding, |holding| *holding).unwrap_or_else(PoisonError::into_inner);
        let passes = self.take(message.len());
        client.write_all(&message[..passes])?;
        if passes < message.len() {
            self.cuts.fetch_add(1, Ordering::SeqCst);
            self.cut();
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Ok(())
    }

    /// How many of some bytes may pass.
    fn take(&self, bytes: usize) -> usize {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let passes = left.map_or(bytes, |left| left.min(bytes));
        *left = left.map(|left| left - passes).filter(|_| passes == bytes);
        passes
    }

    fn cut(&self) {
        for stream in self.open.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            stream.shutdown(Shutdown::Both).ok();
        }
    }

    fn carry_answers(&self, server: &TcpStream, client: &TcpStream, backup: &AtomicBool) -> Result<()> {
        let mut server = BufReader::with_capacity(1 << 16, server);
        let mut tape: Option<Tape> = None;
        loop {
            let message = read_message(&mut server)?;
            self.pass(&message, client)?;
            match message[0] {
                b'H' if backup.swap(false, Ordering::SeqCst) => tape = Some(Tape::start(&self.dir)?),
                b'd' => {
                    if let Some(tape) = &mut tape {
                        tape.write(&message[5..])?;
                    }
                }
                b'c' => {
                    if let Some(tape) = tape.take() {
                        self.tapes.lock().unwrap_or_else(PoisonError::into_inner).push(tape.dir);
                    }
                }
                _ => {}
            }
        }
    }
}

/// Passes the client's messages on and notes when one asks for a base backup.
fn carry_queries(client: TcpStream, mut server: TcpStream, backup: &AtomicBool) -> io::Result<()> {
    let mut client = BufReader::new(client);
    loop {
        let message = read_message(&mut client)?;
        if message[0] == b'Q' && message[5..].starts_with(b"BASE_BACKUP") {
            backup.store(true, Ordering::SeqCst);
        }
        server.write_all(&message)?;
    }
}

/// Reads the packet that opens a session; requests for encryption are declined here, as by a server without it.
fn read_startup(client: &mut TcpStream) -> io::Result<Vec<u8>> {
    loop {
        let mut packet = vec![0; 8];
        client.read_exact(&mut packet)?;
        let word = |at: usize| u32::from_be_bytes([packet[at], packet[at + 1], packet[at + 2], packet[at + 3]]);
        let (length, code) = (word(0), word(4));
        if code == SSL_REQUEST || code == GSS_REQUEST {
            client.write_all(b"N")?;
            continue;
        }
        if !(8..=10_000).contains(&length) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a start-up packet of {length} bytes")));
        }
        packet.resize(length as usize, 0);
        client.read_exact(&mut packet[8..])?;
        return Ok(packet);
    }
}

/// Reads one message: a type byte, a length that counts itself, the rest.
fn read_message(from: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut head = [0; 5];
    from.read_exact(&mut head)?;
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
    if !(4..=MAX_MESSAGE).contains(&length) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a message of {length} bytes")));
    }
    let mut message = vec![0; length as usize + 1];
    message[..5].copy_from_slice(&head);
    from.read_exact(&mut message[5..])?;
    Ok(message)
}

/// A base backup while it passes. Inside `CopyData`, its first byte tells what follows (PostgreSQL documentation, `BASE_BACKUP`).
struct Tape {
    dir: PathBuf,
    archive: Option<File>,
}

impl Tape {
    fn start(parent: &Path) -> Result<Tape> {
        let dir = tempfile::Builder::new().prefix("backup-").tempdir_in(parent)?.keep();
        Ok(Tape { dir, archive: None })
    }

    fn write(&mut self, data: &[u8]) -> Result<()> {
        match data.split_first() {
            Some((b'n', names)) => {
                let name = names.split(|&byte| byte == 0).next().unwrap_or_default();
                let name = std::str::from_utf8(name)?;
                ensure!(!name.is_empty() && !name.contains('/'), "an archive is called {name:?}");
                self.archive = Some(File::create(self.dir.join(name))?);
            }
            Some((b'm', _)) => self.archive = None,
            Some((b'd', bytes)) => {
                if let Some(archive) = &mut self.archive {
                    archive.write_all(bytes)?;
                }
            }
            _ => {}
        }
        Ok(())
    }
}
