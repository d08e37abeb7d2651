//! The commands that talk to a running server, as a person at a terminal wants them.

use std::fmt::Write as _;
use std::io::{ErrorKind, IsTerminal, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use indicatif::{ProgressBar, ProgressStyle};
use page_service::{Client, ClientError, QueryItem, Row};

use crate::attach::{CATCH_UP, CHECKPOINT, COPY, READY};
use crate::cli::{AttachArgs, FollowArgs, PageArgs, PagesArgs, RemoteCommand};
use crate::hexdump;
use crate::target::Target;
use crate::tell::tell;

/// Runs a command on a server.
pub fn run(server: &str, command: &RemoteCommand) -> Result<()> {
    let mut client = connect(server)?;
    match command {
        RemoteCommand::Attach(args) => attach(&mut client, args),
        RemoteCommand::Follow(args) => follow(&mut client, args),
        RemoteCommand::Status => status(&mut client),
        RemoteCommand::Stats => stats(&mut client).and_then(|text| print(&text)),
        RemoteCommand::Page(args) => page(&mut client, args),
        RemoteCommand::Pages(args) => pages(&mut client, args),
    }
    .map_err(plain)
}

/// A connection to a server, given as `HOST:PORT` or a connection string; or what to do about there being none.
pub fn connect(server: &str) -> Result<Client> {
    server.parse::<Target>().context("--server")?.connect()
}

/// What the server says, without the word that it is an error: the program's own name stands in front of it.
pub fn plain(error: anyhow::Error) -> anyhow::Error {
    match error.downcast_ref::<ClientError>() {
        Some(ClientError::Server(said)) => match &said.hint {
            Some(hint) => anyhow!("{}\n{hint}", said.message),
            None => anyhow!("{}", said.message),
        },
        _ => error,
    }
}

/// Standard output has no reader any more. That is no failure of a command.
#[derive(Debug)]
pub struct OutputClosed;

impl std::fmt::Display for OutputClosed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("nobody reads the output")
    }
}

impl std::error::Error for OutputClosed {}

/// Prints to standard output.
pub fn print(text: &str) -> Result<()> {
    write_out(text.as_bytes())
}

fn write_out(bytes: &[u8]) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(OutputClosed.into()),
        written => written.context("cannot write to standard output"),
    }
}

/// A word as the server's shell-like queries take it.
pub fn quote(word: &str) -> Result<String> {
    Ok(shlex::try_quote(word).with_context(|| format!("{word:?} cannot be sent"))?.into_owned())
}

fn attach(client: &mut Client, args: &AttachArgs) -> Result<()> {
    let mut query = format!("attach {} --primary {}", quote(&args.name)?, quote(&args.primary)?);
    if let Some(slot) = &args.slot {
        query += &format!(" --slot {}", quote(slot)?);
    }
    let mut progress = Progress::new();
    for item in client.query(&query)? {
        match item.inspect_err(|_| progress.bar.abandon())? {
            QueryItem::Row(row) => progress.show(&row),
            QueryItem::Notice(notice) => progress.bar.println(notice.to_string()),
            QueryItem::Columns(_) | QueryItem::Copy(_) | QueryItem::Complete(_) => {}
        }
    }
    print(&format!("attached {}: it can be read now, and follows its primary. See: pageserver status\n", args.name))
}

/// The bar on a terminal; elsewhere a line for each phase.
struct Progress {
    bar: ProgressBar,
    phase: String,
}

impl Progress {
    fn new() -> Self {
        let bar = ProgressBar::new_spinner();
        bar.enable_steady_tick(Duration::from_millis(100));
        Progress { bar, phase: String::new() }
    }

    fn show(&mut self, row: &Row) {
        let phase = row.text(0).unwrap_or_default();
        if phase != self.phase {
            self.phase = phase.to_owned();
            self.begin(phase);
        }
        if let (Some(done), Some(total)) = (row.int8(1), row.int8(2)) {
            self.bar.set_length(total.max(0) as u64);
            self.bar.set_position(done.max(0) as u64);
        }
    }

    fn begin(&self, phase: &str) {
        let text = match phase {
            CHECKPOINT => "waiting for the primary's checkpoint",
            COPY => "copying the primary's files",
            CATCH_UP => "receiving the WAL written meanwhile",
            READY => return self.bar.finish_and_clear(),
            other => other,
        };
        if !std::io::stderr().is_terminal() {
            tell(text);
        }
        let template = match phase {
            CHECKPOINT => "{spinner} {msg} {elapsed}",
            _ => "{msg} {bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta} left",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            self.bar.set_style(style);
        }
        self.bar.set_message(text.to_owned());
        self.bar.reset();
    }
}

fn follow(client: &mut Client, args: &FollowArgs) -> Result<()> {
    let mut query = format!("follow {}", quote(&args.timeline)?);
    for (option, value) in [("primary", &args.primary), ("slot", &args.slot)] {
        if let Some(value) = value {
            query += &format!(" --{option} {}", quote(value)?);
        }
    }
    let result = client.query_all(&query)?;
    let row = result.rows.first().context("the server did not say whom it follows")?;
    let (server, timeline) = (row.text(0).unwrap_or_default(), row.int8(1).unwrap_or_default());
    match row.text(2).unwrap_or_default() {
        "" => {}
        notice => tell(format_args!("pageserver: {notice}")),
    }
    print(&format!("{} follows {server}, which is on timeline {timeline} of PostgreSQL\n", args.timeline))
}

/// Each timeline as a paragraph: too many columns for a table that fits a terminal. Then the server.
fn status(client: &mut Client) -> Result<()> {
    let result = client.query_all("status")?;
    let mut text = String::new();
    if result.rows.is_empty() {
        text.push_str("no timelines yet: make one with pageserver attach NAME --primary CONNINFO\n");
    }
    let width = result.columns.iter().map(|column| column.name.len()).max().unwrap_or(0);
    for (number, row) in result.rows.iter().enumerate() {
        if number > 0 {
            text.push('\n');
        }
        for (index, column) in result.columns.iter().enumerate() {
            let value = row.text(index).unwrap_or_default();
            if !value.is_empty() {
                writeln!(text, "{:width$}  {value}", column.name)?;
            }
        }
    }
    text.push('\n');
    text.push_str(&stats(client)?);
    print(&text)
}

/// A line for each page.
fn pages(client: &mut Client, args: &PagesArgs) -> Result<()> {
    let mut query = format!("pages {} --limit {}", quote(&args.timeline)?, args.limit);
    if let Some(relation) = args.relation {
        write!(query, " --relation {relation}")?;
    }
    if let Some(records) = args.records {
        write!(query, " --records {records}")?;
    }
    if let Some(lsn) = args.at {
        write!(query, " --at {lsn}")?;
    }
    let result = client.query_all(&query)?;
    if result.rows.is_empty() {
        tell("there is no such page");
    }
    let mut text = String::new();
    for row in &result.rows {
        let value = |column| row.text(column).unwrap_or_default();
        writeln!(text, "{:20} {:4} {:>10}  {:>6} records", value(1), value(2), value(3), value(4))?;
    }
    print(&text)
}

/// What the server has done, a line for each thing.
fn stats(client: &mut Client) -> Result<String> {
    let result = client.query_all("stats")?;
    let cell = |row: &Row, index| row.text(index).unwrap_or_default().to_owned();
    let width = |index| result.rows.iter().map(|row| cell(row, index).chars().count()).max().unwrap_or(0);
    let (area, name) = (width(0), width(1));
    let mut text = String::new();
    for row in &result.rows {
        writeln!(text, "{:area$}  {:name$}  {}", cell(row, 0), cell(row, 1), cell(row, 2))?;
    }
    Ok(text)
}

fn page(client: &mut Client, args: &PageArgs) -> Result<()> {
    let mut query = format!("page {} {} {} {}", quote(&args.timeline)?, args.relation, args.fork.name(), args.block);
    if let Some(lsn) = args.at {
        query += &format!(" --at {lsn}");
    }
    let result = client.query_all(&query)?;
    let row = result.rows.first().context("the server sent no page")?;
    let (lsn, page) = (row.text(0).unwrap_or_default(), row.bytea(1).context("the server sent no page")?);
    match &args.output {
        None => print(&hexdump::page(&page))?,
        Some(path) if path == Path::new("-") => write_out(&page)?,
        Some(path) => {
            std::fs::write(path, &page).with_context(|| format!("cannot write {}", path.display()))?;
        }
    }
    tell(format_args!("{} block {} as of {lsn}", args.relation.with_fork(args.fork), args.block));
    Ok(())
}
