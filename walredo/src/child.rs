//! A stock PostgreSQL server as a redo process, and a pool of such processes.

mod config;
mod dialogue;
mod error;
mod module;
mod pool;
mod process;
mod protocol;
mod scratch;
mod selftest;
mod server;
mod stats;
mod talk;

pub use config::PostgresRedoConfig;
pub use error::{ChildFailure, StartError};
pub use pool::PostgresRedo;
pub use stats::RedoStats;
