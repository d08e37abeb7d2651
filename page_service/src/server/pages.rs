//! A page stream: CopyData both ways, until the client leaves or ends the copy.

use pgdata::{PAGE_SIZE, SlruKind};

use super::connection::{ConnectionError, Next};
use super::watch::Watch;
use crate::messages::{
    Answer, FrontendMessage, Header, MAX_COPY_REQUEST, Operation, ReadLsn, Request, RequestError, RequestKind,
    Severity, Version, backend, write_answer, write_page,
};
use crate::wire::Wire;
use crate::{Observer, PageSource, ServiceError, SqlState};

/// Answers are sent when no more requests are at hand, or when this many bytes have gathered.
const FLUSH_AT: usize = 128 << 10;

/// What a message in a page stream asks for.
enum Step {
    Answer(Request),
    /// A request that can be answered, but only with an error.
    Refuse(Header, RequestKind, ServiceError),
    /// The client ends the copy and goes back to commands.
    End,
    /// The client gives up the copy.
    Fail(ServiceError),
    Nothing,
    Close,
}

/// Serves requests in their order.
pub(super) fn serve(
    wire: &mut Wire,
    source: &dyn PageSource,
    observer: &dyn Observer,
    version: Version,
) -> Result<Next, ConnectionError> {
    backend::copy_both(&mut wire.out);
    let mut watch = Watch::new(observer);
    loop {
        let Some((message, size)) = FrontendMessage::parse_within(wire.received(), MAX_COPY_REQUEST)? else {
            wire.flush()?;
            if !wire.receive()? {
                return Ok(Next::Close);
            }
            watch.restart();
            continue;
        };
        let step = Step::of(message, version)?;
        if let Step::Answer(request) = &step
            && !wire.out.is_empty()
            && !request.header.at.checked().is_ok_and(|at| source.is_ready(at))
        {
            wire.flush()?;
            watch.restart();
        }
        let out = &mut wire.out;
        match step {
            Step::Answer(request) => {
                let error = answer(out, source, version, &request);
                watch.answered(request.operation.kind(), error);
            }
            Step::Refuse(header, kind, error) => {
                refuse(out, version, &header, None, &error);
                watch.answered(kind, Some(error.code));
            }
            Step::Nothing => {}
            Step::Close => {
                wire.flush()?;
                return Ok(Next::Close);
            }
            end @ (Step::End | Step::Fail(_)) => {
                write_end(out, &end);
                wire.consume(size);
                return Ok(Next::GoOn);
            }
        }
        wire.consume(size);
        if wire.out.len() >= FLUSH_AT {
            wire.flush()?;
            watch.restart();
        }
    }
}

impl Step {
    fn of(message: FrontendMessage<'_>, version: Version) -> Result<Step, ConnectionError> {
        Ok(match message {
            FrontendMessage::CopyData(body) => match Request::parse(version, body) {
                Ok(request) => Step::Answer(request),
                Err(RequestError::Malformed(error)) => return Err(error.into()),
                Err(error @ RequestError::NoSuch { header, kind, .. }) => {
                    Step::Refuse(header, kind, ServiceError::new(SqlState::INVALID_PARAMETER_VALUE, error.to_string()))
                }
            },
            FrontendMessage::CopyDone => Step::End,
            FrontendMessage::CopyFail(reason) => {
                let message = format!("the client gave up the page stream: {reason}");
                Step::Fail(ServiceError::new(SqlState::QUERY_CANCELED, message))
            }
            FrontendMessage::Flush | FrontendMessage::Sync => Step::Nothing,
            FrontendMessage::Terminate => Step::Close,
            FrontendMessage::Query(_)
            | FrontendMessage::Extended
            | FrontendMessage::FunctionCall
            | FrontendMessage::Password => {
                let message = "a page stream takes requests in CopyData messages and nothing else";
                return Err(ConnectionError::Refused(ServiceError::new(SqlState::PROTOCOL_VIOLATION, message)));
            }
        })
    }
}

fn write_end(out: &mut Vec<u8>, end: &Step) {
    match end {
        Step::Fail(error) => backend::error(out, Severity::Error, error),
        _ => {
            backend::copy_done(out);
            backend::command_complete(out, "COPY 0");
        }
    }
    backend::ready(out);
}

/// Writes the answer to a request: the result or the error, whose code it returns.
fn answer(out: &mut Vec<u8>, source: &dyn PageSource, version: Version, request: &Request) -> Option<SqlState> {
    let error = try_answer(out, source, version, request).err()?;
    tracing::debug!(?request, %error, "a page request failed");
    refuse(out, version, &request.header, Some(&request.operation), &error);
    Some(error.code)
}

fn refuse(out: &mut Vec<u8>, version: Version, header: &Header, operation: Option<&Operation>, error: &ServiceError) {
    let text = match &error.hint {
        None => error.message.clone(),
        Some(hint) => format!("{} ({hint})", error.message),
    };
    write_answer(out, version, header, operation, &Answer::Error(&text));
}

/// Writes the result of a request, or nothing if there is an error.
fn try_answer(
    out: &mut Vec<u8>,
    source: &dyn PageSource,
    version: Version,
    Request { header, operation }: &Request,
) -> Result<(), ServiceError> {
    let at = checked(header.at)?;
    let segment;
    let result = match *operation {
        Operation::Page { rel, block } => {
            return write_page(out, version, header, (rel, block), |page| source.page(rel, block, at, page));
        }
        Operation::Exists(rel) => Answer::Exists(source.exists(rel, at)?),
        Operation::Size(rel) => Answer::Size(source.size(rel, at)?),
        Operation::DatabaseSize { db } => Answer::DatabaseSize(sendable_size(source.database_size(db, at)?)?),
        Operation::SlruSegment(wanted) => {
            segment = source.slru_segment(wanted, at)?;
            Answer::SlruSegment(whole_pages(&segment)?)
        }
    };
    write_answer(out, version, header, Some(operation), &result);
    Ok(())
}

fn checked(at: ReadLsn) -> Result<ReadLsn, ServiceError> {
    at.checked().map_err(|error| ServiceError::new(SqlState::INVALID_PARAMETER_VALUE, error.to_string()))
}

fn sendable_size(bytes: u64) -> Result<u64, ServiceError> {
    match i64::try_from(bytes) {
        Ok(_) => Ok(bytes),
        Err(_) => Err(ServiceError::internal(format!("a database of {bytes} bytes is larger than any can be"))),
    }
}

fn whole_pages(segment: &[u8]) -> Result<&[u8], ServiceError> {
    let most = SlruKind::PAGES_PER_SEGMENT as usize * PAGE_SIZE;
    if !segment.len().is_multiple_of(PAGE_SIZE) || segment.len() > most {
        let message = format!("an SLRU segment of {} bytes was read: expected 0 to 32 pages", segment.len());
        return Err(ServiceError::internal(message));
    }
    Ok(segment)
}
