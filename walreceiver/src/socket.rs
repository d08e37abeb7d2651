//! From a connection string to a connected socket: addresses in turn, TCP or Unix, TLS or not.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use pgtls::{Verify, tls_server_end_point};
use postgres_protocol::message::frontend;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, SslNegotiation};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::error::Error;
use crate::primary::Primary;

/// PostgreSQL's port.
const DEFAULT_PORT: u16 = 5432;
/// How long one address may take if the connection string does not say.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// A connected socket.
pub(crate) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// One host of the connection string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// The name, for errors and for the certificate.
    name: String,
    address: Address,
    port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Address {
    /// To be looked up.
    Name,
    Ip(IpAddr),
    /// The directory of the socket file.
    Directory(std::path::PathBuf),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, self.port)
    }
}

/// The hosts in their order.
pub(crate) fn targets(config: &Config) -> Result<Vec<Target>, Error> {
    let (hosts, addresses, ports) = (config.get_hosts(), config.get_hostaddrs(), config.get_ports());
    if !hosts.is_empty() && !addresses.is_empty() && hosts.len() != addresses.len() {
        return Err(Error::Config(format!("{} hosts, but {} hostaddrs", hosts.len(), addresses.len())));
    }
    let count = hosts.len().max(addresses.len());
    if ports.len() > 1 && ports.len() != count {
        return Err(Error::Config(format!("{count} hosts, but {} ports", ports.len())));
    }
    let target = |i: usize| {
        let port = ports.get(i).or(ports.first()).copied().unwrap_or(DEFAULT_PORT);
        let (name, address) = match (hosts.get(i), addresses.get(i)) {
            (Some(Host::Tcp(name)), Some(ip)) => (name.clone(), Address::Ip(*ip)),
            (Some(Host::Tcp(name)), None) => (name.clone(), Address::Name),
            (Some(Host::Unix(path)), _) => (path.display().to_string(), Address::Directory(path.clone())),
            (None, Some(ip)) => (ip.to_string(), Address::Ip(*ip)),
            (None, None) => unreachable!("i is below the larger of the two lengths"),
        };
        Target { name, address, port }
    };
    Ok((0..count).map(target).collect())
}

/// Connects to one host: each of its addresses in turn, then TLS.
pub(crate) async fn connect(primary: &Primary, target: &Target) -> Result<Socket, Error> {
    let limit = primary.config.get_connect_timeout().copied().filter(|t| !t.is_zero()).unwrap_or(CONNECT_TIMEOUT);
    let timeout = |_| Error::Timeout { doing: "connecting", after: limit };
    match &target.address {
        Address::Directory(directory) => {
            tokio::time::timeout(limit, connect_unix(directory, target.port)).await.map_err(timeout)?
        }
        Address::Ip(ip) => {
            let address = SocketAddr::new(*ip, target.port);
            tokio::time::timeout(limit, connect_address(primary, target, address)).await.map_err(timeout)?
        }
        Address::Name => {
            let failed = |source| Error::Connect { address: format!("{}:{}", target.name, target.port), source };
            let lookup = tokio::net::lookup_host((target.name.as_str(), target.port));
            let addresses = tokio::time::timeout(limit, lookup).await.map_err(timeout)?.map_err(failed)?;
            let mut last = failed(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
            for address in addresses {
                let attempt = tokio::time::timeout(limit, connect_address(primary, target, address)).await;
                match attempt.map_err(timeout).and_then(|result| result) {
                    Ok(socket) => return Ok(socket),
                    // Another address of the same server changes nothing about what it is.
                    Err(error) if !error.is_transient() => return Err(error),
                    Err(error) => last = error,
                }
            }
            Err(last)
        }
    }
}

async fn connect_unix(directory: &Path, port: u16) -> Result<Socket, Error> {
    let path = directory.join(format!(".s.PGSQL.{port}"));
    match UnixStream::connect(&path).await {
        Ok(stream) => Ok(Socket::Unix(stream)),
        Err(source) => Err(Error::Connect { address: path.display().to_string(), source }),
    }
}

async fn connect_address(primary: &Primary, target: &Target, address: SocketAddr) -> Result<Socket, Error> {
    let failed = |source| Error::Connect { address: address.to_string(), source };
    let stream = TcpStream::connect(address).await.map_err(failed)?;
    set_options(&stream, &primary.config).map_err(failed)?;
    negotiate(primary, target, stream).await
}

fn set_options(stream: &TcpStream, config: &Config) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(config.get_tcp_user_timeout().copied())?;
    if config.get_keepalives() {
        let mut keepalive = TcpKeepalive::new().with_time(config.get_keepalives_idle());
        if let Some(interval) = config.get_keepalives_interval() {
            keepalive = keepalive.with_interval(interval);
        }
        if let Some(retries) = config.get_keepalives_retries() {
            keepalive = keepalive.with_retries(retries);
        }
        socket.set_tcp_keepalive(&keepalive)?;
    }
    Ok(())
}

/// Agrees with the server on TLS or its absence.
async fn negotiate(primary: &Primary, target: &Target, mut stream: TcpStream) -> Result<Socket, Error> {
    let config = &primary.config;
    if config.get_ssl_mode() == SslMode::Disable {
        return Ok(Socket::Tcp(stream));
    }
    if config.get_ssl_negotiation() == SslNegotiation::Postgres {
        match ask_for_tls(&mut stream).await? {
            b'S' => {}
            b'N' if config.get_ssl_mode() == SslMode::Prefer => return Ok(Socket::Tcp(stream)),
            b'N' => return Err(Error::TlsRefused { host: target.name.clone() }),
            other => {
                let reason = format!("{} answers a request for TLS with {:?}", target.name, char::from(other));
                let source = io::Error::new(io::ErrorKind::InvalidData, reason);
                return Err(Error::Io { doing: "starting TLS", source });
            }
        }
    }
    let tls = pgtls::client_config(&primary.verify)?;
    start_tls(target, stream, tls, &primary.verify).await
}

/// Reads exactly the answer's one byte: whatever follows it belongs to TLS, so that nothing can be smuggled in before it.
async fn ask_for_tls(stream: &mut TcpStream) -> Result<u8, Error> {
    let mut request = BytesMut::new();
    frontend::ssl_request(&mut request);
    let exchange = async {
        stream.write_all(&request).await?;
        stream.read_u8().await
    };
    exchange.await.map_err(|source| Error::Io { doing: "starting TLS", source })
}

async fn start_tls(
    target: &Target,
    stream: TcpStream,
    tls: Arc<ClientConfig>,
    verify: &Verify,
) -> Result<Socket, Error> {
    // A name that no certificate can carry is of no matter if names are not compared.
    let fallback = || match verify {
        Verify::Full(_) => Err(Error::Config(format!("{:?} is not a host name", target.name))),
        _ => Ok(ServerName::from(IpAddr::from([0, 0, 0, 0]))),
    };
    let name = ServerName::try_from(target.name.clone()).or_else(|_| fallback())?;
    match TlsConnector::from(tls).connect(name, stream).await {
        Ok(stream) => Ok(Socket::Tls(Box::new(stream))),
        Err(error) => Err(tls_error(target, error)),
    }
}

/// A certificate that is not trusted is another matter than a broken connection.
fn tls_error(target: &Target, source: io::Error) -> Error {
    match source.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(reason)) => {
            Error::CertificateRejected { host: target.name.clone(), reason: reason.to_string() }
        }
        _ => Error::Io { doing: "starting TLS", source },
    }
}

impl Socket {
    /// Binding data for SCRAM, if the connection is encrypted and the certificate's algorithm has any.
    pub(crate) fn channel_binding(&self) -> Option<Vec<u8>> {
        let Socket::Tls(stream) = self else { return None };
        let (_, session) = stream.get_ref();
        tls_server_end_point(session.peer_certificates()?.first()?)
    }

    pub(crate) fn is_tls(&self) -> bool {
        matches!(self, Socket::Tls(_))
    }
}

/// Calls one method on whichever stream it is.
macro_rules! on_stream {
    ($socket:expr, $stream:ident => $call:expr) => {
        match $socket.get_mut() {
            Socket::Tcp($stream) => {
                let $stream = Pin::new($stream);
                $call
            }
            Socket::Unix($stream) => {
                let $stream = Pin::new($stream);
                $call
            }
            Socket::Tls($stream) => {
                let $stream = Pin::new($stream.as_mut());
                $call
            }
        }
    };
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        on_stream!(self, stream => stream.poll_read(cx, buf))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        on_stream!(self, stream => stream.poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_stream!(self, stream => stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_stream!(self, stream => stream.poll_shutdown(cx))
    }
}
