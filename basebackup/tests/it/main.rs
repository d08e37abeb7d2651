//! Stock servers that are started from backups.

mod continuation;
mod moments;
mod stopped_cluster;
mod support;
