//! The client: blocking, one connection.

mod config;
mod error;
mod login;
mod pages;
mod query;
mod tls;

use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::Version;
use crate::messages::{BackendMessage, frontend, write_startup};
use crate::wire::Wire;

pub use config::{ChannelBinding, ClientConfig, ClientTls, Password};
pub use error::ClientError;
pub use pages::PageStream;
pub use query::{QueryItem, QueryResult, Rows};

/// What is received at once: several pieces of a copy, many pages.
const INPUT: usize = 256 << 10;

/// A connection on which commands can be run, or which can become a [`PageStream`].
#[derive(Debug)]
pub struct Client {
    wire: Wire,
    /// A command's answer has not been read to its end.
    busy: bool,
}

impl Client {
    /// Connects to the first address that answers, and waits until the server is ready.
    ///
    /// # Errors
    /// If no address answers, or the server refuses, has no TLS or no trusted certificate, wants a password that there is none of, or
    /// does not keep to the protocol.
    pub fn connect(address: impl ToSocketAddrs, config: &ClientConfig) -> Result<Client, ClientError> {
        let stream = connect_any(address, config.connect_timeout).map_err(ClientError::Connect)?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(config.write_timeout)?;
        let mut wire = Wire::new(Arc::new(stream));
        if let Some(tls) = &config.tls {
            tls::negotiate(&mut wire, tls, Instant::now() + config.connect_timeout)?;
        }
        wire.stream().set_read_timeout(config.read_timeout.or(Some(config.connect_timeout)))?;
        write_startup(&mut wire.out, &[("user", &config.user), ("client_encoding", "UTF8")]);
        wire.flush()?;
        login::log_in(&mut wire, config)?;
        wire.stream().set_read_timeout(config.read_timeout)?;
        wire.widen(INPUT);
        Ok(Client { wire, busy: false })
    }

    /// Sends a command. Its answer is read from the result as it comes.
    ///
    /// What is left of the previous command's answer is read and thrown away first.
    ///
    /// # Errors
    /// If the connection fails. Errors of the command itself come from the result.
    pub fn query(&mut self, command: &str) -> Result<Rows<'_>, ClientError> {
        self.finish_previous()?;
        frontend::query(&mut self.wire.out, command);
        self.busy = true;
        self.wire.flush()?;
        Ok(Rows::new(self))
    }

    /// Runs a command and collects its whole answer.
    ///
    /// # Errors
    /// If the connection or the command fails.
    pub fn query_all(&mut self, command: &str) -> Result<QueryResult, ClientError> {
        let mut result = QueryResult::default();
        for item in self.query(command)? {
            result.add(item?);
        }
        Ok(result)
    }

    /// Makes the connection a page stream of a timeline. Tenant and timeline are ids of 32 hexadecimal digits, or names.
    ///
    /// # Errors
    /// If there is no such timeline, or the connection fails.
    pub fn page_stream(mut self, tenant: &str, timeline: &str, version: Version) -> Result<PageStream, ClientError> {
        for word in [tenant, timeline] {
            if word.is_empty() || word.contains([';', '\0']) || word.contains(char::is_whitespace) {
                return Err(ClientError::Name(word.to_owned()));
            }
        }
        self.finish_previous()?;
        frontend::query(&mut self.wire.out, &format!("{} {tenant} {timeline}", version.command()));
        self.wire.flush()?;
        loop {
            let started = next_message(&mut self.wire, |message| match message {
                BackendMessage::CopyBoth => Ok(true),
                BackendMessage::Notice(_) | BackendMessage::ParameterStatus { .. } => Ok(false),
                BackendMessage::Error(error) => Err(ClientError::Server(error)),
                other => Err(ClientError::Unexpected { got: other.name(), during: "the start of a page stream" }),
            })?;
            if started {
                return Ok(PageStream::new(self.wire, version));
            }
        }
    }

    fn finish_previous(&mut self) -> Result<(), ClientError> {
        while self.busy {
            self.busy = next_message(&mut self.wire, |message| Ok(message != BackendMessage::Ready))?;
        }
        Ok(())
    }
}

fn connect_any(address: impl ToSocketAddrs, timeout: Duration) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, timeout) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = io::Error::new(error.kind(), format!("{address}: {error}")),
        }
    }
    Err(last)
}

/// Waits until a whole message has been received.
fn await_message(wire: &mut Wire) -> Result<(), ClientError> {
    while BackendMessage::parse(wire.received())?.is_none() {
        if !wire.receive()? {
            return Err(ClientError::Closed);
        }
    }
    Ok(())
}

/// Waits for a message and makes something of it.
fn next_message<T>(
    wire: &mut Wire,
    make: impl FnOnce(BackendMessage<'_>) -> Result<T, ClientError>,
) -> Result<T, ClientError> {
    await_message(wire)?;
    let (message, size) = BackendMessage::parse(wire.received())?.expect("a whole message has been waited for");
    let result = make(message);
    wire.consume(size);
    result
}
