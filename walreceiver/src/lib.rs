//! A PostgreSQL replication client: base backup and physical WAL streaming into a sink.
