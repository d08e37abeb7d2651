//! The answer to a command.

use super::{Client, ClientError, next_message};
use crate::messages::{BackendMessage, ColumnInfo, Row, ServerMessage};

/// A piece of the answer to a command, in the order in which the server sent it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum QueryItem {
    /// The columns of the rows to come.
    Columns(Vec<ColumnInfo>),
    /// A row.
    Row(Row),
    /// Bytes of a copy, which the command has instead of rows.
    Copy(Vec<u8>),
    /// For information.
    Notice(ServerMessage),
    /// The command has succeeded; its tag, which is empty if the command was.
    Complete(String),
}

/// The answer to a command as it comes in: an iterator that blocks until there is more. It ends after
/// [`QueryItem::Complete`], or after an error.
#[derive(Debug)]
pub struct Rows<'a> {
    client: &'a mut Client,
    failed: bool,
}

impl<'a> Rows<'a> {
    pub(super) fn new(client: &'a mut Client) -> Self {
        Rows { client, failed: false }
    }
}

/// What a message of an answer means.
enum Step {
    Item(QueryItem),
    /// The command failed; the connection does not.
    Failed(ServerMessage),
    Done,
    Nothing,
}

impl Step {
    fn of(message: BackendMessage<'_>) -> Result<Step, ClientError> {
        Ok(Step::Item(match message {
            BackendMessage::RowDescription(columns) => QueryItem::Columns(columns),
            BackendMessage::DataRow(row) => QueryItem::Row(row),
            BackendMessage::Notice(notice) => QueryItem::Notice(notice),
            BackendMessage::CommandComplete(tag) => QueryItem::Complete(tag.to_owned()),
            BackendMessage::EmptyQuery => QueryItem::Complete(String::new()),
            BackendMessage::Error(error) => return Ok(Step::Failed(error)),
            BackendMessage::Ready => return Ok(Step::Done),
            BackendMessage::CopyData(bytes) => QueryItem::Copy(bytes.to_vec()),
            BackendMessage::CopyOut | BackendMessage::CopyDone | BackendMessage::ParameterStatus { .. } => {
                return Ok(Step::Nothing);
            }
            other => return Err(ClientError::Unexpected { got: other.name(), during: "a command" }),
        }))
    }
}

impl Iterator for Rows<'_> {
    type Item = Result<QueryItem, ClientError>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.client.busy && !self.failed {
            match next_message(&mut self.client.wire, Step::of) {
                Ok(Step::Item(item)) => return Some(Ok(item)),
                Ok(Step::Nothing) => {}
                Ok(Step::Done) => self.client.busy = false,
                Ok(Step::Failed(error)) => {
                    self.failed = true;
                    return Some(Err(ClientError::Server(error)));
                }
                Err(error) => {
                    self.failed = true;
                    return Some(Err(error));
                }
            }
        }
        None
    }
}

/// The whole answer to a command.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct QueryResult {
    /// The columns; none if the command has no rows.
    pub columns: Vec<ColumnInfo>,
    /// The rows.
    pub rows: Vec<Row>,
    /// The bytes of the copy; none if the command has no copy.
    pub copy: Vec<u8>,
    /// Notices that came on the way.
    pub notices: Vec<ServerMessage>,
    /// The command's tag.
    pub tag: String,
}

impl QueryResult {
    pub(super) fn add(&mut self, item: QueryItem) {
        match item {
            QueryItem::Columns(columns) => self.columns = columns,
            QueryItem::Row(row) => self.rows.push(row),
            QueryItem::Copy(bytes) => self.copy.extend(bytes),
            QueryItem::Notice(notice) => self.notices.push(notice),
            QueryItem::Complete(tag) => self.tag = tag,
        }
    }
}
