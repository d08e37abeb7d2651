//! The server: a listener, and a thread for each connection.

mod accept;
mod authenticate;
mod connection;
mod pages;
mod query;
mod rows;
mod startup;
mod tls;
mod watch;

use std::io::{self, PipeWriter};
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crate::messages::{MAX_QUERY, MAX_STARTUP};
use crate::scram::Users;
use crate::{Backend, Observer, Unobserved};
use accept::Acceptor;

pub use tls::{ServerTls, ServerTlsError};

/// How a server treats its clients.
#[derive(Clone, Debug)]
pub struct Config {
    /// How many connections may be open at once; each takes a thread. One more is refused with an error.
    pub max_connections: usize,
    /// Who may connect, with a password. `None` lets everybody in under any name: then only the address keeps strangers away.
    pub users: Option<Users>,
    /// The server's certificate and key. `None` declines TLS.
    pub tls: Option<ServerTls>,
    /// Whether connections without TLS are refused.
    pub require_tls: bool,
    /// How long a client may take to connect, all in all: TLS, startup packets, and authentication.
    pub authentication_timeout: Duration,
    /// The longest startup packet, in bytes. The messages that follow until the client is let in are shorter, and two at most.
    pub max_startup_bytes: usize,
    /// The longest query, in bytes. In a page stream, messages have at most [`MAX_COPY_REQUEST`](crate::messages::MAX_COPY_REQUEST) bytes.
    pub max_query_bytes: usize,
    /// How long sending may stand still because the client does not read; then the connection is closed. It is also closed if the client
    /// keeps reading so slowly that one buffer is not sent in twice this time.
    pub write_timeout: Duration,
    /// How long a connection may be idle; `None` for as long as it likes.
    pub idle_timeout: Option<Duration>,
    /// What clients are told as `server_version`. `psql` and drivers expect it to begin with a PostgreSQL version.
    pub server_version: String,
    /// Who hears of connections, commands and requests.
    pub observer: Arc<dyn Observer>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            max_connections: 500,
            users: None,
            tls: None,
            require_tls: false,
            authentication_timeout: Duration::from_secs(10),
            max_startup_bytes: MAX_STARTUP,
            max_query_bytes: MAX_QUERY,
            write_timeout: Duration::from_secs(300),
            idle_timeout: None,
            server_version: concat!("15.0 (pageserver ", env!("CARGO_PKG_VERSION"), ")").to_owned(),
            observer: Arc::new(Unobserved),
        }
    }
}

/// How many connections may wait until they are accepted, if the system allows so many. The standard library asks for 128; when these are
/// there, the next one hears nothing for a second or more.
const QUEUE: i32 = 4096;

/// A bound listener that does not serve yet.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    config: Config,
}

impl Server {
    /// Binds the first of the addresses that can be bound. Port 0 lets the system choose.
    ///
    /// # Errors
    /// If none can be bound. If the address is not a loopback one and the configuration has no users or does not require TLS.
    pub fn bind(address: impl ToSocketAddrs, config: Config) -> io::Result<Server> {
        let addresses: Vec<_> = address.to_socket_addrs()?.collect();
        let is_safe = config.users.is_some() && config.tls.is_some() && config.require_tls;
        if let Some(exposed) = addresses.iter().find(|address| !address.ip().is_loopback() && !is_safe) {
            let message = format!("{exposed} is not a loopback address: that takes users, and TLS for everybody");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let listener = TcpListener::bind(&addresses[..])?;
        rustix::net::listen(&listener, QUEUE)?;
        let address = listener.local_addr()?;
        // The accept loop waits in poll(2); a connection that is gone again when it accepts must not block it.
        listener.set_nonblocking(true)?;
        Ok(Server { listener, address, config })
    }

    /// The address that has been bound.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Starts to accept connections, on a thread of its own.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub fn serve(self, backend: Arc<dyn Backend>) -> io::Result<ServerHandle> {
        let Server { listener, address, config } = self;
        let (stop_reader, stop) = io::pipe()?;
        let acceptor = Acceptor::new(listener, stop_reader, config, backend);
        let thread = std::thread::Builder::new().name("accept".to_owned()).spawn(move || acceptor.run())?;
        Ok(ServerHandle { address, stop: Some(stop), thread: Some(thread) })
    }
}

/// A running server. Dropping it shuts the server down.
#[derive(Debug)]
pub struct ServerHandle {
    address: SocketAddr,
    /// The accept loop ends when the writing end of this pipe is closed.
    stop: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

impl ServerHandle {
    /// The address that clients connect to.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Accepts no more connections, closes those that are open, and waits for their threads to end.
    ///
    /// A thread that is inside the backend ends when the backend returns: whoever makes a backend wait (for an LSN, say) should first
    /// end these waits.
    pub fn shutdown(mut self) {
        self.stop_and_join();
    }

    fn stop_and_join(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the accept loop has panicked");
        }
    }
}

impl Drop for ServerHandle {
    fn drop(&mut self) {
        self.stop_and_join();
    }
}
