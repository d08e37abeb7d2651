//! The page stream protocol over libpq framing: messages, server, client.
#![forbid(unsafe_code)]

mod client;
mod error;
pub mod messages;
mod server;
mod service;
mod wire;

pub use client::{Client, ClientConfig, ClientError, PageStream, QueryItem, QueryResult, Rows};
pub use error::{ServiceError, SqlState};
pub use messages::{Answer, Header, Operation, ReadLsn, Request, Response, Row, ServerMessage, Version};
pub use server::{Config, Server, ServerHandle};
pub use service::{Backend, Column, ColumnType, PageSource, RowSink, Value};
