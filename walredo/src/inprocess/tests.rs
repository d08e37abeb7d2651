//! Against plain models of what PostgreSQL does.

mod route;
mod slru;
mod vm;
