//! A storage server that keeps the whole history of an unmodified PostgreSQL.
fn main() {}
