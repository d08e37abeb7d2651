//! A storage server that keeps the whole history of an unmodified PostgreSQL: the command line.
//!
//! This program only joins crates: `repository` does the work, `page_service` speaks to clients, `walreceiver` to primaries.
#![forbid(unsafe_code)]

mod access;
mod advice;
mod attach;
mod backend;
mod basebackup;
mod bench;
mod cleanup;
mod cli;
mod companion;
mod config;
mod demo;
mod engines;
mod fatal;
mod follow;
mod hexdump;
mod http;
mod limits;
mod lock;
mod logging;
mod metrics;
mod monitor;
mod pages;
mod password;
mod progress;
mod refollow;
mod remote;
mod report;
mod restore;
mod serve;
mod source;
mod stats;
mod status;
mod target;
mod tell;
mod timeline_at;
mod unpack;
mod users;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command};

/// Memory that is let go of stays with the process for a while, instead of coming back from the system as pages to be zeroed.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match &cli.command {
        Command::Serve(args) => serve::run(args),
        Command::Demo(args) => demo::run(args),
        Command::Password(args) => password::run(args),
        Command::Basebackup(args) => restore::run(&cli.server, args),
        Command::Bench { command } => bench::run(&cli.server, command),
        Command::Remote(command) => remote::run(&cli.server, command),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read the output has seen enough (`| head`).
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            tell::tell(format_args!("pageserver: {}", backend::with_causes(&error)));
            ExitCode::FAILURE
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.is::<remote::OutputClosed>()
}
