//! The client's end of a page stream.

use std::collections::VecDeque;

use pgdata::{Lsn, Page, RelTag, SlruSegment};

use super::{ClientError, await_message};
use crate::messages::{Answer, BackendMessage, Header, Operation, ReadLsn, Request, Response, Version, frontend};
use crate::wire::Wire;

/// Requests are gathered until so many bytes of them wait to be sent.
const FLUSH_AT: usize = 16 << 10;

/// A page stream: many requests may be in flight, and answers come in the order of the requests.
#[derive(Debug)]
pub struct PageStream {
    wire: Wire,
    version: Version,
    in_flight: VecDeque<Request>,
    next_id: u64,
    /// The size of the message whose answer [`recv`](PageStream::recv) has lent out.
    lent: usize,
}

impl PageStream {
    /// How many requests may be in flight. So many requests fit into the server's input buffer, so that the server can always take
    /// them, even while it waits for this client to read answers.
    pub const MAX_IN_FLIGHT: usize = 1024;

    pub(super) fn new(wire: Wire, version: Version) -> Self {
        PageStream { wire, version, in_flight: VecDeque::new(), next_id: 1, lent: 0 }
    }

    /// How many requests have been sent and not answered.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// A request with an id that no earlier request of this method had.
    pub fn request(&mut self, operation: Operation, at: ReadLsn) -> Request {
        let reqid = if self.version == Version::V3 { self.next_id } else { 0 };
        self.next_id = self.next_id.wrapping_add(1);
        Request { header: Header { reqid, at }, operation }
    }

    /// Takes a request to be sent: at the next [`flush`](PageStream::flush) or [`recv`](PageStream::recv), or when enough have gathered.
    ///
    /// # Errors
    /// If [`MAX_IN_FLIGHT`](PageStream::MAX_IN_FLIGHT) requests are in flight, or the connection fails.
    pub fn send(&mut self, request: &Request) -> Result<(), ClientError> {
        if self.in_flight.len() >= Self::MAX_IN_FLIGHT {
            return Err(ClientError::TooManyInFlight(self.in_flight.len()));
        }
        request.write(&mut self.wire.out, self.version);
        self.in_flight.push_back(*request);
        if self.wire.out.len() >= FLUSH_AT {
            self.flush()?;
        }
        Ok(())
    }

    /// Sends the requests that have gathered.
    ///
    /// # Errors
    /// If the connection fails.
    pub fn flush(&mut self) -> Result<(), ClientError> {
        Ok(self.wire.flush()?)
    }

    /// Waits for the answer to the oldest request in flight. An error that the server answers is an answer:
    /// [`Answer::Error`].
    ///
    /// # Errors
    /// If no request is in flight, the connection fails, or what comes is not an answer to this request.
    pub fn recv(&mut self) -> Result<Response<'_>, ClientError> {
        self.wire.consume(std::mem::take(&mut self.lent));
        let request = *self.in_flight.front().ok_or(ClientError::NothingInFlight)?;
        self.wire.flush()?;
        loop {
            await_message(&mut self.wire)?;
            let (message, size) = whole_message(&self.wire)?;
            if !matches!(message, BackendMessage::Notice(_) | BackendMessage::ParameterStatus { .. }) {
                break;
            }
            self.wire.consume(size);
        }
        self.in_flight.pop_front();
        let (message, size) = whole_message(&self.wire)?;
        self.lent = size;
        let body = match message {
            BackendMessage::CopyData(body) => body,
            BackendMessage::Error(error) => return Err(ClientError::Server(error)),
            other => return Err(ClientError::Unexpected { got: other.name(), during: "a page stream" }),
        };
        let response = Response::parse(self.version, body)?;
        if answers(&response, &request) { Ok(response) } else { Err(ClientError::Mismatch { request }) }
    }

    /// Asks one thing and waits for the answer.
    fn ask<T>(
        &mut self,
        operation: Operation,
        at: ReadLsn,
        take: impl FnOnce(&Answer<'_>) -> Option<T>,
    ) -> Result<T, ClientError> {
        if !self.in_flight.is_empty() {
            return Err(ClientError::TooManyInFlight(self.in_flight.len()));
        }
        let request = self.request(operation, at);
        self.send(&request)?;
        match self.recv()?.answer {
            Answer::Error(text) => Err(ClientError::Request { request, text: text.to_owned() }),
            answer => take(&answer).ok_or(ClientError::Mismatch { request }),
        }
    }

    /// A page as of exactly `lsn`; waits until the server has it. This and the other questions need that nothing is in flight.
    ///
    /// # Errors
    /// [`ClientError::Request`] if the server has an error for an answer; otherwise the stream is broken.
    pub fn page(&mut self, rel: RelTag, block: u32, lsn: Lsn) -> Result<Box<Page>, ClientError> {
        self.page_at(rel, block, ReadLsn::at(lsn))
    }

    /// A page.
    ///
    /// # Errors
    /// As [`page`](PageStream::page).
    pub fn page_at(&mut self, rel: RelTag, block: u32, at: ReadLsn) -> Result<Box<Page>, ClientError> {
        self.ask(Operation::Page { rel, block }, at, |answer| match answer {
            Answer::Page(page) => Some(Box::new(**page)),
            _ => None,
        })
    }

    /// Whether a fork exists.
    ///
    /// # Errors
    /// As [`page`](PageStream::page).
    pub fn exists(&mut self, rel: RelTag, at: ReadLsn) -> Result<bool, ClientError> {
        self.ask(Operation::Exists(rel), at, |answer| match answer {
            Answer::Exists(exists) => Some(*exists),
            _ => None,
        })
    }

    /// The size of a fork in blocks.
    ///
    /// # Errors
    /// As [`page`](PageStream::page).
    pub fn size(&mut self, rel: RelTag, at: ReadLsn) -> Result<u32, ClientError> {
        self.ask(Operation::Size(rel), at, |answer| match answer {
            Answer::Size(blocks) => Some(*blocks),
            _ => None,
        })
    }

    /// The size of a database in bytes.
    ///
    /// # Errors
    /// As [`page`](PageStream::page).
    pub fn database_size(&mut self, db: u32, at: ReadLsn) -> Result<u64, ClientError> {
        self.ask(Operation::DatabaseSize { db }, at, |answer| match answer {
            Answer::DatabaseSize(bytes) => Some(*bytes),
            _ => None,
        })
    }

    /// An SLRU segment: 0 to 32 pages.
    ///
    /// # Errors
    /// As [`page`](PageStream::page).
    pub fn slru_segment(&mut self, segment: SlruSegment, at: ReadLsn) -> Result<Vec<u8>, ClientError> {
        self.ask(Operation::SlruSegment(segment), at, |answer| match answer {
            Answer::SlruSegment(bytes) => Some(bytes.to_vec()),
            _ => None,
        })
    }

    /// Takes leave of the server, which need not be done: dropping the stream closes the connection just as well.
    ///
    /// # Errors
    /// If the connection fails.
    pub fn close(mut self) -> Result<(), ClientError> {
        frontend::terminate(&mut self.wire.out);
        Ok(self.wire.flush()?)
    }
}

fn whole_message(wire: &Wire) -> Result<(BackendMessage<'_>, usize), ClientError> {
    Ok(BackendMessage::parse(wire.received())?.expect("a whole message has been waited for"))
}

/// Whether this can be the answer to this request: of its kind, and in version 3 with the whole question repeated.
fn answers(response: &Response<'_>, request: &Request) -> bool {
    let of_kind = matches!(
        (&response.answer, &request.operation),
        (Answer::Error(_), _)
            | (Answer::Exists(_), Operation::Exists(_))
            | (Answer::Size(_), Operation::Size(_))
            | (Answer::Page(_), Operation::Page { .. })
            | (Answer::DatabaseSize(_), Operation::DatabaseSize { .. })
            | (Answer::SlruSegment(_), Operation::SlruSegment(_))
    );
    of_kind
        && response.header.is_none_or(|header| header == request.header)
        && response.operation.is_none_or(|operation| operation == request.operation)
}
