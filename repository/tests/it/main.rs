//! The repository without any server: a base backup of three files, WAL made here, and an engine that counts.

mod attach;
mod damage;
mod fixture;
mod full;
mod images;
mod pages;
mod resume;
mod timelines;
