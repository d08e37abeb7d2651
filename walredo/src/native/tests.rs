//! Against plain models of what PostgreSQL does.

mod chain;
mod heap;
mod routed;
mod slru;
mod vm;
