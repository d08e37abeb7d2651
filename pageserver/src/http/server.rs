//! The thread that serves all connections.

use std::collections::VecDeque;
use std::io::{self, PipeReader, PipeWriter};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::Site;
use super::exchange::{Exchange, Wait};

/// The most connections at a time. One more takes the place of the oldest, so that a crowd of idle ones keeps nobody out.
const MAX_CONNECTIONS: usize = 64;
/// The most connections that are accepted before the others have their turn.
const ACCEPT: usize = 16;
/// How long to leave the listener alone after it failed, as it does when the process has no file descriptors left.
const PAUSE: Duration = Duration::from_millis(100);

/// A bound listener that does not serve yet.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    /// Binds the address. Port 0 lets the system choose.
    pub fn bind(address: SocketAddr) -> io::Result<Server> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        listener.set_nonblocking(true)?;
        Ok(Server { listener, address })
    }

    /// Starts to serve, on a thread of its own.
    pub fn serve(self, site: Arc<dyn Site>) -> io::Result<ServerHandle> {
        let Server { listener, address } = self;
        let (stopped, stop) = io::pipe()?;
        let desk = Desk { listener, stopped, site, exchanges: VecDeque::new(), pause: None };
        let thread = std::thread::Builder::new().name("http".to_owned()).spawn(move || desk.run())?;
        Ok(ServerHandle { address, stop: Some(stop), thread: Some(thread) })
    }
}

/// A running server. Dropping it ends it and its connections.
pub struct ServerHandle {
    address: SocketAddr,
    /// The thread ends when the writing end of this pipe is closed.
    stop: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

impl ServerHandle {
    /// The address that clients connect to.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for ServerHandle {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the HTTP thread has panicked");
        }
    }
}

/// What the thread works with.
struct Desk {
    listener: TcpListener,
    /// Becomes readable, at its end, when the server shall stop.
    stopped: PipeReader,
    site: Arc<dyn Site>,
    /// The oldest first.
    exchanges: VecDeque<Exchange>,
    /// Until when no connections are accepted, after that has failed.
    pause: Option<Instant>,
}

/// What there is to do.
struct Ready {
    stop: bool,
    accept: bool,
    /// For each of the connections.
    exchanges: Vec<bool>,
}

impl Desk {
    fn run(mut self) {
        loop {
            let ready = match self.wait() {
                Ok(ready) => ready,
                Err(Errno::INTR) => continue,
                Err(error) => return tracing::error!(%error, "cannot wait for HTTP connections: metrics are gone"),
            };
            if ready.stop {
                return;
            }
            let now = Instant::now();
            let mut ready_ones = ready.exchanges.into_iter();
            let site = &*self.site;
            self.exchanges.retain_mut(|exchange| {
                let is_ready = ready_ones.next().unwrap_or(false);
                now < exchange.deadline() && (!is_ready || exchange.advance(site))
            });
            if ready.accept {
                self.accept(now);
            }
        }
    }

    /// Waits until there is something to do, or the time of a connection or the pause is over.
    fn wait(&self) -> rustix::io::Result<Ready> {
        let deadlines = self.exchanges.iter().map(Exchange::deadline).chain(self.pause);
        let timeout = deadlines.min().map(|first| timespec(first.saturating_duration_since(Instant::now())));
        // With nothing to wait for it is not left out, so that the places of the others stay the same.
        let listen = if self.pause.is_some() { PollFlags::empty() } else { PollFlags::IN };
        let mut sockets = vec![PollFd::new(&self.stopped, PollFlags::IN), PollFd::new(&self.listener, listen)];
        sockets.extend(self.exchanges.iter().map(|exchange| {
            let flags = match exchange.wait() {
                Wait::Input => PollFlags::IN,
                Wait::Output => PollFlags::OUT,
            };
            PollFd::new(exchange.stream(), flags)
        }));
        poll(&mut sockets, timeout.as_ref())?;
        let is_ready = |socket: &PollFd<'_>| !socket.revents().is_empty();
        Ok(Ready {
            stop: is_ready(&sockets[0]),
            accept: is_ready(&sockets[1]) || self.pause.is_some(),
            exchanges: sockets[2..].iter().map(is_ready).collect(),
        })
    }

    fn accept(&mut self, now: Instant) {
        if self.pause.is_some_and(|until| now < until) {
            return;
        }
        self.pause = None;
        for _ in 0..ACCEPT {
            match self.listener.accept().and_then(|(stream, _)| Exchange::new(stream, now)) {
                Ok(exchange) => {
                    if self.exchanges.len() == MAX_CONNECTIONS {
                        self.exchanges.pop_front();
                    }
                    self.exchanges.push_back(exchange);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // Of that one connection.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    tracing::error!(%error, "cannot accept HTTP connections");
                    self.pause = Some(now + PAUSE);
                    return;
                }
            }
        }
    }
}

fn timespec(duration: Duration) -> Timespec {
    // A nanosecond more, so that the deadline is over when the time is.
    let duration = duration + Duration::from_nanos(1);
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(duration.subsec_nanos()),
    }
}
