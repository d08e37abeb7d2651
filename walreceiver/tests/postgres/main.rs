//! The client against real PostgreSQL 15 servers, which each test starts on loopback and stops.
mod authentication;
mod backup;
mod cluster;
mod encryption;
mod recorder;
mod refusals;
mod streaming;
