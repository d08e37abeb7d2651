//! The page stream protocol over libpq framing: messages, server, client.
//!
//! A client, which may be `psql`, connects as to any PostgreSQL server and sends commands as simple queries. Two commands,
//! `pagestream_v2 TENANT TIMELINE` and `pagestream_v3 …`, make the connection a *page stream*: requests one way, answers the other, as many
//! in flight as the client likes, always in the order of the requests.
//!
//! - [`messages`]: bytes to messages and back, without sockets.
//! - [`scram`]: how users prove with a password who they are.
//! - [`Server`]: a thread for each connection. What it serves, the program says through two traits: [`Backend`] for commands and
//!   [`PageSource`] for the pages of one timeline. Answers gather in a buffer while more requests are at hand, and a page is written
//!   straight into that buffer.
//! - [`Observer`] hears of connections, commands and requests as they end, for whoever counts them.
//! - [`Client`] and [`PageStream`]: blocking, for tools and tests.
//!
//! ```
//! use page_service::{Backend, Client, ClientConfig, Column, Config, PageSource, ReadLsn, RowSink, Server, ServiceError, SqlState,
//!     Value, Version};
//! use pgdata::{Lsn, Page, RelTag, SlruSegment};
//! use std::sync::Arc;
//!
//! /// One timeline, all of whose relations have one block, full of sevens.
//! struct Sevens;
//!
//! impl PageSource for Sevens {
//!     fn exists(&self, _: RelTag, _: ReadLsn) -> Result<bool, ServiceError> {
//!         Ok(true)
//!     }
//!     fn size(&self, _: RelTag, _: ReadLsn) -> Result<u32, ServiceError> {
//!         Ok(1)
//!     }
//!     fn page(&self, rel: RelTag, block: u32, _: ReadLsn, page: &mut Page) -> Result<(), ServiceError> {
//!         if block > 0 {
//!             return Err(ServiceError::new(SqlState::DATA_CORRUPTED, format!("{rel} has no block {block}")));
//!         }
//!         page.fill(7);
//!         Ok(())
//!     }
//!     fn database_size(&self, _: u32, _: ReadLsn) -> Result<u64, ServiceError> {
//!         Ok(8192)
//!     }
//!     fn slru_segment(&self, _: SlruSegment, _: ReadLsn) -> Result<Vec<u8>, ServiceError> {
//!         Ok(vec![0; 8192])
//!     }
//! }
//!
//! struct Toy;
//!
//! impl Backend for Toy {
//!     fn timeline(&self, _tenant: &str, _timeline: &str) -> Result<Arc<dyn PageSource>, ServiceError> {
//!         Ok(Arc::new(Sevens))
//!     }
//!     fn command(&self, command: &str, out: &mut dyn RowSink) -> Result<String, ServiceError> {
//!         if command != "status" {
//!             return Err(ServiceError::unknown_command(command, &["status", "pagestream_v2", "pagestream_v3"]));
//!         }
//!         out.columns(&[Column::text("timeline"), Column::int8("relations")])?;
//!         out.row(&[Value::Text("sevens"), Value::Int8(1)])?;
//!         Ok("STATUS".to_owned())
//!     }
//! }
//!
//! let server = Server::bind("127.0.0.1:0", Config::default())?.serve(Arc::new(Toy))?;
//!
//! let mut client = Client::connect(server.local_addr(), &ClientConfig::default())?;
//! let status = client.query_all("status")?;
//! assert_eq!(status.rows[0].text(0), Some("sevens"));
//! assert!(client.query_all("frobnicate").is_err());
//!
//! let mut pages = client.page_stream("tenant", "timeline", Version::V3)?;
//! let rel: RelTag = "1663/5/1259".parse()?;
//! assert_eq!(pages.page(rel, 0, Lsn(0x100))?[..3], [7, 7, 7]);
//! assert_eq!(pages.page(rel, 1, Lsn(0x100)).unwrap_err().to_string(), "1663/5/1259 has no block 1");
//!
//! server.shutdown();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod client;
mod error;
pub mod messages;
mod observer;
pub mod scram;
mod server;
mod service;
mod wire;

pub use client::{
    ChannelBinding, Client, ClientConfig, ClientError, ClientTls, PageStream, Password, QueryItem, QueryResult, Rows,
};
pub use error::{ServiceError, SqlState};
pub use messages::{Answer, Header, Operation, ReadLsn, Request, RequestKind, Response, Row, ServerMessage, Version};
pub use observer::{ConnectionEnd, Observer, Unobserved};
pub use pgtls::Verify;
pub use server::{Config, Server, ServerHandle, ServerTls, ServerTlsError};
pub use service::{Backend, Column, ColumnType, PageSource, RowSink, Value};
