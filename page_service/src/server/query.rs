//! Simple queries: the page stream commands here, all others in the backend.

use std::sync::Arc;
use std::time::Instant;

use super::connection::{ConnectionError, Next};
use super::pages;
use super::rows::Rows;
use crate::messages::{Severity, Version, backend};
use crate::wire::Wire;
use crate::{Backend, Observer, PageSource, ServiceError, SqlState};

/// Runs one query and says that the next may come.
pub(super) fn run(
    wire: &mut Wire,
    service: &dyn Backend,
    observer: &dyn Observer,
    text: &str,
) -> Result<Next, ConnectionError> {
    let begun = Instant::now();
    let command = text.trim_matches(|c: char| c.is_whitespace() || c == ';');
    let word = command.split_whitespace().next().unwrap_or("");
    if command.is_empty() {
        backend::empty_query(&mut wire.out);
    } else if let Some(version) = Version::from_command(word) {
        let opened = open(service, command);
        observer.command(word, begun.elapsed(), opened.as_ref().err().map(|error| error.code));
        match opened {
            Ok(source) => return pages::serve(wire, &*source, observer, version),
            Err(error) => backend::error(&mut wire.out, Severity::Error, &error),
        }
    } else {
        let mut rows = Rows::new(wire);
        let result = service.command(command, &mut rows);
        let code = result.as_ref().err().map(|error| error.code);
        match result {
            Ok(tag) => {
                rows.finish()?;
                backend::command_complete(&mut wire.out, &tag);
            }
            Err(error) => backend::error(&mut wire.out, Severity::Error, &error),
        }
        observer.command(word, begun.elapsed(), code);
    }
    backend::ready(&mut wire.out);
    Ok(Next::GoOn)
}

/// The timeline that a page stream command names.
fn open(service: &dyn Backend, command: &str) -> Result<Arc<dyn PageSource>, ServiceError> {
    let words: Vec<_> = command.split_whitespace().collect();
    let [_, tenant, timeline] = words[..] else {
        let message = format!("{} takes a tenant and a timeline, not {} words", words[0], words.len() - 1);
        return Err(ServiceError::new(SqlState::SYNTAX_ERROR, message));
    };
    service.timeline(tenant, timeline)
}
