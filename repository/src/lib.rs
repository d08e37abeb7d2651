//! Tenants and timelines at work: WAL in, pages out.
