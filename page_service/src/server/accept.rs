//! The accept loop: it owns the listener and the threads of the connections.

use std::io::{self, PipeReader};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt;

use super::Config;
use super::connection::{Admission, Connection};
use crate::{Backend, ConnectionEnd};

/// Connections over the limit that still have a thread, to be refused in the way they understand. Beyond these, a connection is
/// closed without a word.
const REFUSALS: usize = 16;
/// How long a client has for coming in even if others wait for its place. Those who mean it need some milliseconds.
const GRACE: Duration = Duration::from_secs(1);
/// How long to leave the listener alone after it failed, as it does when the process has no file descriptors left.
const PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

pub(super) struct Acceptor {
    listener: TcpListener,
    /// Becomes readable, at its end, when the server shall stop.
    stop: PipeReader,
    config: Arc<Config>,
    backend: Arc<dyn Backend>,
    open: Vec<Open>,
    next_id: u32,
}

/// A connection that has, or had, a thread. The thread owns the socket, so that it is closed when the thread ends.
struct Open {
    stream: Weak<TcpStream>,
    since: Instant,
    /// Its client has said who it is, and proved it if it must.
    is_let_in: Arc<AtomicBool>,
    /// It is one of those that the server's limit counts: it has not been refused, nor had to make place for another.
    has_place: bool,
    thread: JoinHandle<()>,
}

impl Acceptor {
    pub fn new(listener: TcpListener, stop: PipeReader, config: Config, backend: Arc<dyn Backend>) -> Self {
        Acceptor { listener, stop, config: Arc::new(config), backend, open: Vec::new(), next_id: 1 }
    }

    pub fn run(mut self) {
        let mut pause = false;
        while !self.wait(pause) {
            self.join_finished();
            pause = match self.listener.accept() {
                Ok((stream, peer)) => self.start(stream, peer).is_err_and(|error| {
                    tracing::error!(%peer, %error, "cannot serve a connection");
                    true
                }),
                Err(error) if is_passing(&error) => false,
                Err(error) => {
                    tracing::error!(%error, "cannot accept connections");
                    true
                }
            };
        }
        self.close_all();
    }

    /// Waits for a connection, or for the pause to be over. `true` says to stop.
    fn wait(&self, pause: bool) -> bool {
        let stop = PollFd::new(&self.stop, PollFlags::IN);
        let listener = PollFd::new(&self.listener, PollFlags::IN);
        let result =
            if pause { poll(&mut [stop.clone()], Some(&PAUSE)) } else { poll(&mut [stop.clone(), listener], None) };
        match result {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => {
                tracing::error!(%error, "cannot wait for connections");
                return true;
            }
        }
        let mut stop = [stop];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        matches!(poll(&mut stop, Some(&now)), Ok(1))
    }

    fn start(&mut self, stream: TcpStream, peer: SocketAddr) -> io::Result<()> {
        let Some(admission) = self.admission() else {
            tracing::warn!(%peer, "connection closed: far too many are open");
            self.config.observer.connection_dropped();
            return Ok(());
        };
        stream.set_nonblocking(false)?;
        stream.set_nodelay(true)?;
        keep_alive(&stream)?;
        let stream = Arc::new(stream);
        let weak = Arc::downgrade(&stream);
        let id = self.next_id;
        self.next_id = self.next_id.checked_add(1).unwrap_or(1);
        let is_let_in = Arc::new(AtomicBool::new(false));
        let connection = Connection {
            id,
            peer,
            admission,
            is_let_in: Arc::clone(&is_let_in),
            config: Arc::clone(&self.config),
            backend: Arc::clone(&self.backend),
        };
        let thread =
            std::thread::Builder::new().name(format!("conn-{id}")).spawn(move || guarded(connection, stream))?;
        self.open.push(Open {
            stream: weak,
            since: Instant::now(),
            is_let_in,
            has_place: admission == Admission::Serve,
            thread,
        });
        Ok(())
    }

    /// How the next connection is received.
    ///
    /// Strangers must not be able to keep others out by connecting and saying nothing. So if all places are taken, the one that has been
    /// about to come in for longest loses its place.
    fn admission(&mut self) -> Option<Admission> {
        let limit = self.config.max_connections;
        let served = self.open.iter().filter(|open| open.has_place).count();
        let ending = self.open.len() - served;
        if served < limit || ending < limit.saturating_add(REFUSALS) && self.open.iter_mut().any(Open::evict) {
            Some(Admission::Serve)
        } else {
            (ending < REFUSALS).then_some(Admission::Refuse)
        }
    }

    fn join_finished(&mut self) {
        for finished in self.open.extract_if(.., |open| open.thread.is_finished()) {
            finished.join();
        }
    }

    fn close_all(self) {
        drop(self.listener);
        for open in &self.open {
            if let Some(stream) = open.stream.upgrade() {
                // It may be closed already; then there is nothing to do.
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
        self.open.into_iter().for_each(Open::join);
    }
}

impl Open {
    /// Ends the connection if its client should have been let in by now. Says whether its place is free now.
    fn evict(&mut self) -> bool {
        if !self.has_place || self.is_let_in.load(Ordering::Acquire) || self.since.elapsed() < GRACE {
            return false;
        }
        self.has_place = false;
        if let Some(stream) = self.stream.upgrade() {
            // If it is closed already, so much the better.
            let _ = stream.shutdown(Shutdown::Both);
        }
        true
    }

    fn join(self) {
        if self.thread.join().is_err() {
            tracing::error!("a connection's thread has panicked outside of its guard");
        }
    }
}

/// Finds out within minutes that a peer has vanished without a word, as machines do that lose their power: its place is needed.
fn keep_alive(stream: &TcpStream) -> io::Result<()> {
    sockopt::set_tcp_keepidle(stream, Duration::from_secs(60))?;
    sockopt::set_tcp_keepintvl(stream, Duration::from_secs(15))?;
    sockopt::set_tcp_keepcnt(stream, 4)?;
    sockopt::set_socket_keepalive(stream, true)?;
    Ok(())
}

/// Runs a connection. Whatever panics in it ends this connection alone.
fn guarded(connection: Connection, stream: Arc<TcpStream>) {
    let (id, peer) = (connection.id, connection.peer);
    let (socket, observer) = (Arc::clone(&stream), Arc::clone(&connection.config.observer));
    observer.connection_opened();
    let end = match catch_unwind(AssertUnwindSafe(|| connection.run(socket))) {
        Ok(Ok(())) => {
            tracing::debug!(id, %peer, "connection closed");
            ConnectionEnd::Closed
        }
        Ok(Err(error)) => {
            tracing::info!(id, %peer, %error, "connection ended");
            error.end()
        }
        Err(panic) => {
            let message = panic.downcast_ref::<&str>().copied();
            let message = message.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("?");
            tracing::error!(id, %peer, message, "a connection's thread has panicked");
            ConnectionEnd::Panicked
        }
    };
    let _ = stream.shutdown(Shutdown::Both);
    observer.connection_ended(end);
}

/// Errors of one connection, or of nothing at all, that do not bear on the listener.
fn is_passing(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted, WouldBlock};
    matches!(error.kind(), WouldBlock | Interrupted | ConnectionAborted | ConnectionReset)
}
