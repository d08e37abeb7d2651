//! The command line, and the same commands as texts on the libpq port.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use pgdata::{Fork, Lsn, RelTag};

use crate::bench::BenchCommand;

/// The address that `serve` listens on and the other commands connect to unless told otherwise.
pub const DEFAULT_ADDRESS: &str = "127.0.0.1:6400";

/// A storage server that keeps the whole history of a stock PostgreSQL and reads any page as of any LSN.
#[derive(Parser, Debug)]
#[command(name = "pageserver", version, max_term_width = 100)]
pub struct Cli {
    /// The running server that a command talks to: HOST:PORT, or a libpq connection string (as in "host=db.example user=me sslmode=verify-full
    /// sslrootcert=ca.crt"). The password comes from PAGESERVER_PASSWORD or PGPASSWORD, or is asked for.
    #[arg(
        long,
        global = true,
        value_name = "SERVER",
        env = "PAGESERVER",
        hide_env_values = true,
        default_value = DEFAULT_ADDRESS
    )]
    pub server: String,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand, Debug)]
pub enum Command {
    /// Run the server on a data directory (created if it is not there).
    Serve(ServeArgs),
    /// Show a whole run on a temporary PostgreSQL: attach, workload, reads in the past, proof.
    Demo(DemoArgs),
    /// Make the lines of the configuration that let a user in with a password, which is asked for or read from standard input.
    Password(PasswordArgs),
    /// Make a data directory of a timeline as of an LSN: stock PostgreSQL starts from it at once, as a cluster of its own.
    Basebackup(BasebackupArgs),
    /// Measure how fast this is here, next to what the machine can do at most.
    Bench {
        #[command(subcommand)]
        command: BenchCommand,
    },
    #[command(flatten)]
    Remote(RemoteCommand),
}

#[derive(Args, Debug)]
pub struct ServeArgs {
    /// Data directory of the pageserver.
    #[arg(short = 'D', long = "data", value_name = "DIR")]
    pub data: PathBuf,
    /// Address and port to listen on; port 0 takes a free one [default: 127.0.0.1:6400].
    #[arg(long, value_name = "ADDR:PORT")]
    pub listen: Option<SocketAddr>,
    /// Address and port for Prometheus, /healthz and /readyz; port 0 takes a free one [default: none].
    #[arg(long, value_name = "ADDR:PORT")]
    pub metrics_listen: Option<SocketAddr>,
    /// Configuration file [default: DIR/pageserver.toml, if it is there].
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// How log lines are written [default: text].
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line, for machines.
    Json,
}

#[derive(Args, Debug)]
pub struct PasswordArgs {
    /// The user's name.
    #[arg(value_name = "USER")]
    pub name: String,
}

#[derive(Args, Debug)]
pub struct DemoArgs {
    /// Directory with initdb, postgres and pgbench [default: the newest supported one under /usr/lib/postgresql].
    #[arg(long, value_name = "DIR")]
    pub pg_bin: Option<PathBuf>,
    /// Keep the temporary directory at the end.
    #[arg(long)]
    pub keep: bool,
}

/// What a running server is asked to do. `psql` sends these as queries, in the same words.
#[derive(Subcommand, Debug)]
pub enum RemoteCommand {
    /// Copy a running PostgreSQL as a new timeline and follow its WAL from then on.
    Attach(AttachArgs),
    /// Follow another server of the same history from now on, as after a failover; or the same one again, once what kept it from that is cured.
    Follow(FollowArgs),
    /// Show what the server holds and how far behind its sources it is.
    Status,
    /// Show what the server has done since it was started: requests, redo, connections, errors.
    Stats,
    /// Read one page of a relation as of an LSN.
    Page(PageArgs),
    /// List some pages of relations, at random, with how many records have to be applied to make them.
    Pages(PagesArgs),
}

#[derive(Args, Debug)]
pub struct AttachArgs {
    /// Name of the new timeline.
    pub name: String,
    /// How to connect to the primary, as a libpq connection string, with a user that may replicate.
    #[arg(long, value_name = "CONNINFO")]
    pub primary: String,
    /// Name of the replication slot made on the primary [default: pageserver_ and the first digits of the timeline's id].
    #[arg(long, value_name = "NAME")]
    pub slot: Option<String>,
}

#[derive(Args, Debug)]
pub struct FollowArgs {
    /// The timeline's name or id.
    pub timeline: String,
    /// How to connect to the server, as a libpq connection string [default: as before].
    #[arg(long, value_name = "CONNINFO")]
    pub primary: Option<String>,
    /// Name of the replication slot on it, which is made if it is missing [default: as before].
    #[arg(long, value_name = "NAME")]
    pub slot: Option<String>,
}

#[derive(Args, Debug)]
pub struct PageArgs {
    /// The timeline's name or id.
    pub timeline: String,
    /// The relation's files, as TABLESPACE/DATABASE/RELFILENODE: see pg_relation_filenode().
    #[arg(value_name = "SPC/DB/REL")]
    pub relation: RelTag,
    /// main, fsm, vm, init, or the fork's number.
    pub fork: Fork,
    /// Block number, from 0.
    pub block: u32,
    /// The LSN, waited for if it has not arrived yet [default: the latest].
    #[arg(long, value_name = "LSN")]
    pub at: Option<Lsn>,
    /// Write the 8192 bytes to this file instead of printing them ("-": standard output).
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub struct PagesArgs {
    /// The timeline's name or id.
    pub timeline: String,
    /// Pages of this relation's main fork only [default: of all relations].
    #[arg(long, value_name = "SPC/DB/REL")]
    pub relation: Option<RelTag>,
    /// Pages that need exactly so many records only.
    #[arg(long, value_name = "N")]
    pub records: Option<u32>,
    /// So many pages at most.
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub limit: u32,
    /// As of this LSN, waited for if it has not arrived yet [default: the latest].
    #[arg(long, value_name = "LSN")]
    pub at: Option<Lsn>,
}

#[derive(Args, Debug)]
#[command(group(ArgGroup::new("place").required(true)))]
pub struct BasebackupArgs {
    /// The timeline's name or id.
    pub timeline: String,
    /// The LSN, the end of a record; waited for if it has not arrived yet [default: the latest].
    #[arg(long, value_name = "LSN")]
    pub at: Option<Lsn>,
    /// Unpack it into this directory, which must be empty or not there yet.
    #[arg(short = 'D', long, value_name = "DIR", group = "place")]
    pub target: Option<PathBuf>,
    /// Write it to this file as a tar archive ("-": standard output).
    #[arg(short, long, value_name = "FILE", group = "place")]
    pub output: Option<PathBuf>,
    /// Compress it: on the way, and in the file.
    #[arg(long)]
    pub gzip: bool,
    #[command(flatten)]
    pub kind: BackupKind,
    /// Put a tablespace into this directory, which must be empty or not there yet, with a link to it; once for each. A tablespace
    /// that is not named becomes a directory within the data directory.
    #[arg(long, value_name = "OID=DIR", value_parser = parse_tablespace, conflicts_with = "output")]
    pub tablespace: Vec<(u32, PathBuf)>,
}

/// What becomes of a backup.
#[derive(Args, Debug, Default)]
pub struct BackupKind {
    /// Make a standby, which goes on with the primary's WAL, instead of a cluster of its own.
    #[arg(long)]
    pub standby: bool,
    /// What the standby's setting primary_conninfo is to be [default: as it was].
    #[arg(long, value_name = "CONNINFO", requires = "standby")]
    pub primary_conninfo: Option<String>,
}

fn parse_tablespace(text: &str) -> Result<(u32, PathBuf), String> {
    let (oid, dir) = text.split_once('=').ok_or("OID=DIR is expected, as in 16400=/srv/fast")?;
    let oid =
        oid.parse().map_err(|error| format!("{oid:?} is no oid ({error}); SELECT oid, spcname FROM pg_tablespace"))?;
    let dir = PathBuf::from(dir);
    if dir.is_absolute() { Ok((oid, dir)) } else { Err(format!("{} is not an absolute path", dir.display())) }
}

/// The same as a query: computes and tools write it like this.
#[derive(Args, Debug)]
pub struct BasebackupQuery {
    /// The tenant's name or id.
    pub tenant: String,
    /// The timeline's name or id.
    pub timeline: String,
    /// The LSN, or `latest`.
    #[arg(default_value = "latest", value_parser = parse_lsn_or_latest)]
    pub at: Lsn,
    /// Compress the archive.
    #[arg(long)]
    pub gzip: bool,
    #[command(flatten)]
    pub kind: BackupKind,
    /// Say first, in a notice, about how many bytes the archive will have.
    #[arg(long)]
    pub progress: bool,
}

/// [`Lsn::MAX`] stands for the latest.
fn parse_lsn_or_latest(text: &str) -> Result<Lsn, pgdata::ParseLsnError> {
    if text == "latest" { Ok(Lsn::MAX) } else { text.parse() }
}

/// What can be asked in a query.
#[derive(Subcommand, Debug)]
pub enum QueryCommand {
    /// Answer with a data directory as of an LSN, as a tar archive.
    Basebackup(BasebackupQuery),
    #[command(flatten)]
    Remote(RemoteCommand),
}

/// A query on the libpq port, parsed as a command line.
#[derive(Parser, Debug)]
#[command(
    name = "",
    no_binary_name = true,
    disable_help_flag = true,
    disable_version_flag = true,
    max_term_width = 100
)]
pub struct Query {
    #[command(subcommand)]
    pub command: QueryCommand,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definitions_are_consistent() {
        Cli::command().debug_assert();
        Query::command().debug_assert();
    }

    #[test]
    fn a_backup_goes_to_one_place() {
        let parse =
            |more: &[&str]| Cli::try_parse_from([&["pageserver", "basebackup", "main", "--gzip"], more].concat());
        assert!(parse(&["-D", "dir", "--at", "0/8"]).is_ok());
        assert!(parse(&["-o", "file"]).is_ok());
        assert!(parse(&[]).is_err());
        assert!(parse(&["-D", "dir", "-o", "file"]).is_err());
        assert!(parse(&["-D", "dir", "--tablespace", "16400=/a", "--tablespace", "16401=/b"]).is_ok());
        assert!(parse(&["-D", "dir", "--tablespace", "16400=a"]).is_err());
        assert!(parse(&["-o", "file", "--tablespace", "16400=/a"]).is_err());
        assert!(parse(&["-o", "file", "--standby", "--primary-conninfo", "host=a"]).is_ok());
        assert!(parse(&["-o", "file", "--primary-conninfo", "host=a"]).is_err());
    }

    #[test]
    fn a_query_for_a_backup_may_name_an_lsn() {
        for (words, lsn) in
            [(&["basebackup", "default", "main"][..], Lsn::MAX), (&["basebackup", "t", "m", "1/8"], Lsn(1 << 32 | 8))]
        {
            let Ok(Query { command: QueryCommand::Basebackup(args) }) = Query::try_parse_from(words) else {
                panic!("{words:?} is not parsed as a backup");
            };
            assert_eq!(args.at, lsn);
        }
        assert!(Query::try_parse_from(["basebackup", "default", "main", "then"]).is_err());
    }

    #[test]
    fn a_query_is_a_command_line() {
        let words = ["page", "main", "1663/5/16384", "vm", "7", "--at", "0/16B3748"];
        let Ok(Query { command: QueryCommand::Remote(RemoteCommand::Page(page)) }) = Query::try_parse_from(words)
        else {
            panic!("not parsed as a page command");
        };
        assert_eq!((page.fork, page.block, page.at), (Fork::Vm, 7, Some(Lsn(0x16B_3748))));
        assert!(Query::try_parse_from(["page", "main", "x", "vm", "7"]).is_err());
    }
}
