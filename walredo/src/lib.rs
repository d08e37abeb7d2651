//! A base page and WAL records to the page they make.
//!
//! Storage keeps a page as an old image and the WAL records since. To answer what the page looks like now, the records must be
//! applied as PostgreSQL applies them: byte for byte, for every access method. There are two engines for that: PostgreSQL itself,
//! and routines of our own that are held against it. Where minor releases differ, ours follow the newest that is known.
//!
//! - [`Redo`] is the face that storage sees: a [`RedoRequest`] and a page buffer in, the page out, or a [`RedoError`].
//! - [`PostgresRedo`] is a pool of redo processes behind it. Each is a stock `postgres --single` of the source's major version with
//!   a small module loaded (`postgres/` in this crate's sources, compiled by `build.rs` for every version whose server headers are
//!   there, and carried inside this crate). The module never lets the server open a database: it locks the process in a sandbox
//!   and serves requests on stdin and stdout. A record can therefore do no harm but to the answer to its own request.
//!   [`PostgresRedoConfig`] says how, [`RedoStats`] what it did.
//!
//! - [`NativeRedo`] applies records in this process (`native/`), one module for each of PostgreSQL's resource managers, and asks an engine
//!   behind it for the records of those that extensions bring.
//! - [`Routed`] puts what a redo process cannot do in front of one; [`OnDemand`] starts one only when it is needed; [`VerifyRedo`] has both
//!   engines make each page, and keeps a [`RedoCase`] of each difference.
//!
//! A request to a process takes some ten microseconds; [`PostgresRedo::redo_batch`] pipelines many. A process that dies, hangs or answers
//! nonsense is killed and replaced, and the request tried once more; the error then names page, LSNs and what the server printed.
//! When a process starts it must first make known pages out of known records, so a server that differs from what the module was
//! written for is refused.
//!
//! Pages of relations only: SLRU pages, relation maps and sizes are changed by records without block references, which no redo
//! process sees. Checksums (`pd_checksum`) are not kept up by redo; whoever writes a page to a data directory sets them.
//!
//! ```no_run
//! use pgdata::{Fork, Lsn, PAGE_SIZE, PageKey, PgVersion, RelTag};
//! use walredo::{PostgresRedo, PostgresRedoConfig, Redo, RedoRecord, RedoRequest};
//!
//! let control_file = std::fs::read("/var/lib/postgresql/15/main/global/pg_control")?;
//! let engine = PostgresRedo::start(PostgresRedoConfig::new(control_file))?;
//!
//! let rel = RelTag { spc: 1663, db: 5, rel: 16384, fork: Fork::Main };
//! let bytes = std::fs::read("record")?;
//! let mut page = [0; PAGE_SIZE];
//! let request = RedoRequest {
//!     version: PgVersion::V15,
//!     key: PageKey::relation(rel, 0),
//!     has_base: false,
//!     records: &[RedoRecord { lsn: Lsn(0x16B_3748), bytes: &bytes }],
//! };
//! engine.redo(&request, &mut page)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod case;
mod child;
mod native;
mod on_demand;
mod request;
mod routed;
mod verify;

pub use case::{CaseError, RedoCase};
pub use child::{ChildFailure, PostgresRedo, PostgresRedoConfig, RedoStats, StartError};
pub use native::{NativeRedo, record_type};
pub use on_demand::OnDemand;
pub use request::{MaskRequest, Redo, RedoError, RedoRecord, RedoRequest};
pub use routed::Routed;
pub use verify::{VerifyRedo, VerifyStats};

/// To be raised with each change after which the same records make another page, because something was wrong before: whoever keeps pages that were made
/// (`page_cache` does, as images) lets go of those that another revision has made.
pub const REVISION: u32 = 1;
