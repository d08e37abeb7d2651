//! Against plain models of what PostgreSQL does.

mod routed;
mod slru;
mod vm;
