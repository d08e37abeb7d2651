//! Real PostgreSQL end to end: the oracle.
