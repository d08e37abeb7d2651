//! A base page and WAL records to the page they make.
#![deny(unsafe_code)]

mod request;

pub use request::{Redo, RedoError, RedoRecord, RedoRequest};
