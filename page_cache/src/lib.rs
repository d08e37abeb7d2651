//! Versions of PostgreSQL pages by key and LSN, on disk and in memory.
