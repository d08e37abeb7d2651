//! One connection: a request in, an answer out, and its end.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use super::Site;
use super::request::{Head, MAX_HEAD, Request};
use super::response::{Response, Status};

/// How long a connection may take for everything.
const TIME: Duration = Duration::from_secs(10);
/// Bytes read at once, and no more from one connection before the others have their turn.
const READ: usize = 4 << 10;

/// What a connection waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wait {
    /// Bytes from the client.
    Input,
    /// Room for bytes to the client.
    Output,
}

/// What comes next on a connection.
enum Phase {
    /// The bytes of the head until now.
    Reading(Vec<u8>),
    /// An answer, and how much of it has been sent.
    Writing(Vec<u8>, usize),
    /// The answer is sent. Whatever the client still says is thrown away: a socket that is closed with bytes in it takes back from the client what it
    /// has not read yet.
    Draining,
}

/// A connection at work. Dropping it closes it.
pub struct Exchange {
    stream: TcpStream,
    deadline: Instant,
    phase: Phase,
}

impl Exchange {
    /// Begins with a socket that has just been accepted.
    pub fn new(stream: TcpStream, now: Instant) -> io::Result<Exchange> {
        stream.set_nonblocking(true)?;
        Ok(Exchange { stream, deadline: now + TIME, phase: Phase::Reading(Vec::new()) })
    }

    /// Its socket.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// When its time is over.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// What it waits for.
    pub fn wait(&self) -> Wait {
        match self.phase {
            Phase::Reading(_) | Phase::Draining => Wait::Input,
            Phase::Writing(..) => Wait::Output,
        }
    }

    /// Does what can be done without waiting. `false` says that it has come to its end.
    pub fn advance(&mut self, site: &dyn Site) -> bool {
        match self.step(site) {
            Ok(goes_on) => goes_on,
            Err(error) if error.kind() == ErrorKind::WouldBlock || error.kind() == ErrorKind::Interrupted => true,
            // The client is gone, and with it whoever would want to know.
            Err(_) => false,
        }
    }

    fn step(&mut self, site: &dyn Site) -> io::Result<bool> {
        match &mut self.phase {
            Phase::Reading(head) => {
                let mut bytes = [0; READ];
                let room = READ.min(MAX_HEAD - head.len());
                let count = self.stream.read(&mut bytes[..room])?;
                if count == 0 {
                    return Ok(false);
                }
                head.extend_from_slice(&bytes[..count]);
                let answer = match Request::parse(head) {
                    Head::Partial => return Ok(true),
                    Head::Request(request) => ask(site, &request).bytes(request.head_only),
                    Head::Refused(response) => response.bytes(false),
                };
                self.phase = Phase::Writing(answer, 0);
                self.step(site)
            }
            Phase::Writing(answer, sent) => {
                while *sent < answer.len() {
                    *sent += self.stream.write(&answer[*sent..])?;
                }
                self.stream.shutdown(Shutdown::Write)?;
                self.phase = Phase::Draining;
                self.step(site)
            }
            Phase::Draining => Ok(self.stream.read(&mut [0; READ])? > 0),
        }
    }
}

/// The site's answer, or that it has none.
fn ask(site: &dyn Site, request: &Request) -> Response {
    catch_unwind(AssertUnwindSafe(|| site.answer(request))).unwrap_or_else(|_| {
        tracing::error!(path = request.path, "answering an HTTP request has panicked");
        Response::text(Status::InternalError, "a defect of the pageserver: see its log")
    })
}
