//! The harness of the end-to-end tests: a real PostgreSQL on one side, the pageserver's binary on the other, and an oracle.
//!
//! - [`Cluster`] is a stock primary, [`workload`] makes it write every kind of WAL,
//! - [`Relay`] stands between primary and pageserver and keeps the base backup that passes,
//! - [`Pageserver`] is the binary under test,
//! - [`Cluster::standby_of`] and [`Cluster::restored`] make a copy of it that can be promoted,
//! - [`Standby`] is the oracle: PostgreSQL restored from the same backup and stopped at an LSN,
//! - [`Comparison`] compares its files with the pageserver's answers, every byte of every page,
//! - [`Lab`] puts these together as most tests need them,
//! - [`in_scratch`] gives a test its directory, and keeps it when the test fails.
//!
//! Servers listen on the loopback interface and on Unix sockets in the test's own directory, run as the user `postgres`
//! where the tests run as root, and end with the test.
//!
//! # Environment
//!
//! - `PG_TEST_VERSION=17` runs the tests on that major version, `PG_BIN_17` says where its programs are if not where Debian has
//!   them: see [`PgInstall`]. The pageserver must have been built with that version's server headers.
//! - `PAGESERVER_BIN` is the binary under test, if it is not the one that cargo has built beside the tests.
//! - `BASEBACKUP_ALL_LSNS=1` makes clones of all moments that a workload notes, not only of a few.
//! - `KEEP_TEST_DIRS=1` keeps the directories of tests that pass.
#![forbid(unsafe_code)]

mod choose;
mod cluster;
mod compare;
mod contents;
mod counters;
mod data_files;
mod exposition;
mod failover;
mod lab;
mod mount;
mod one_table;
mod pageserver;
mod pg_install;
mod process;
pub mod program;
mod relay;
mod run_as;
mod scrape;
mod scratch;
mod standby;
mod stream_source;
mod tablespaces;
mod timeline_status;
mod until;
mod verify;
mod waldump;
pub mod workload;

pub use choose::{Random, choose_lsns, random_record_ends};
pub use cluster::{Cluster, ClusterOptions, current_lsn};
pub use compare::{Comparison, PageSource, Report};
pub use contents::Contents;
pub use counters::Counters;
pub use data_files::DataFiles;
pub use exposition::{Exposition, ExpositionFormat};
pub use lab::{Lab, TIMELINE};
pub use mount::{Ballast, Mount};
pub use one_table::OneTable;
pub use pageserver::Pageserver;
pub use pg_install::{PgInstall, run, test_version};
pub use process::Process;
pub use relay::Relay;
pub use run_as::RunAs;
pub use scrape::HttpAnswer;
pub use scratch::in_scratch;
pub use standby::Standby;
pub use stream_source::StreamSource;
pub use tablespaces::TablespaceLink;
pub use timeline_status::TimelineStatus;
pub use until::until;
pub use waldump::{DumpedRecord, WalDump, end_of_record_before};
