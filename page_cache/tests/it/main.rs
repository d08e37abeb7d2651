//! The crate as a whole, on a simulated disk: against a naive model, with crashes, failures and damage.

mod attach;
mod corruption;
mod crash;
mod disk;
mod images;
mod ingest;
mod model;
mod timelines;
mod wal;
mod wal_log;
