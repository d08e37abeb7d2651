//! One module for each kind of record.

mod blocks;
mod files;
mod fold;
mod heap;
mod multixact;
mod slru;
mod smgr;
mod xact;
mod xlog;
