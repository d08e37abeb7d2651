//! PostgreSQL WAL bytes to checked records, and to everything a record changes.
