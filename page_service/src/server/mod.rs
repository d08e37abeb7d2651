//! The server: a listener, and a thread for each connection.

mod accept;
mod connection;
mod pages;
mod query;
mod rows;
mod startup;
mod watch;

use std::io::{self, PipeWriter};
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crate::{Backend, Observer, Unobserved};
use accept::Acceptor;

/// How a server treats its clients.
#[derive(Clone, Debug)]
pub struct Config {
    /// How many connections may be open at once; each takes a thread. One more is refused with an error.
    pub max_connections: usize,
    /// How long a client may take over its startup packets, all in all.
    pub startup_timeout: Duration,
    /// How long sending may stand still because the client does not read; then the connection is closed.
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
            startup_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(300),
            idle_timeout: None,
            server_version: concat!("15.0 (pageserver ", env!("CARGO_PKG_VERSION"), ")").to_owned(),
            observer: Arc::new(Unobserved),
        }
    }
}

/// A bound listener that does not serve yet.
///
/// Whoever can reach the address may connect under any name: there is no authentication, so the address should be a loopback one.
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
    /// If none can be bound.
    pub fn bind(address: impl ToSocketAddrs, config: Config) -> io::Result<Server> {
        let listener = TcpListener::bind(address)?;
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
