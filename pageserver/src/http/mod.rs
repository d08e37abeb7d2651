//! A small HTTP server for monitoring: questions without bodies, short answers, one thread whatever the clients do.
//!
//! The thread waits for all of its sockets at once, so a client that is slow keeps nobody else waiting. What clients can take is bounded: so many
//! connections, the oldest of which makes room for a new one; so many bytes of a request; so much time for everything. A connection is for
//! one request.
//!
//! - [`Server`] binds and runs; a [`Site`] answers.
//! - `exchange`: one connection, from its first byte to its last.
//! - [`Request`] and [`Response`]: bytes in, bytes out, without sockets.

mod exchange;
mod request;
mod response;
mod server;
#[cfg(test)]
mod tests;

pub use request::Request;
pub use response::{Response, Status};
pub use server::{Server, ServerHandle};

/// What there is to be asked for.
pub trait Site: Send + Sync + 'static {
    /// Answers a GET or HEAD request. It is called on the server's only thread, so it should not take long.
    fn answer(&self, request: &Request) -> Response;
}
