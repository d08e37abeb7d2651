//! A base page and WAL records to the page they make.
#![deny(unsafe_code)]

mod child;
mod request;

pub use child::{ChildFailure, PostgresRedo, PostgresRedoConfig, RedoStats, StartError};
pub use request::{Redo, RedoError, RedoRecord, RedoRequest};
