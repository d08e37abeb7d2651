//! Prints the records of WAL segment files in the form of `pg_waldump`.
//!
//! ```text
//! cargo run -p wal_decoder --example waldump -- pg_wal/000000010000000000000001 pg_wal/000000010000000000000002
//! ```
//!
//! The files must follow each other. What the first one continues from before is passed over; void space behind the last record
//! ends the output.

use std::env;
use std::error::Error;
use std::fs;
use std::io::{self, Write};

use pgdata::wal::PageHeader;
use wal_decoder::{DumpLine, Record, WalStream};

fn main() -> Result<(), Box<dyn Error>> {
    let files: Vec<String> = env::args().skip(1).collect();
    let first = fs::read(files.first().ok_or("usage: waldump SEGMENT_FILE...")?)?;
    let (header, segment_size) = PageHeader::of_segment(&first)?;
    let mut stream = WalStream::new(header.address, segment_size.bytes(), header.version)?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    for (index, file) in files.iter().enumerate() {
        let bytes = if index == 0 { first.clone() } else { fs::read(file)? };
        let mut whole = stream.feed(&bytes);
        loop {
            let raw = match whole.next_record() {
                Ok(Some(raw)) => raw,
                Ok(None) => break,
                Err(error) => {
                    out.flush()?;
                    eprintln!("{error}");
                    return if error.is_end_of_wal() { Ok(()) } else { Err(error.into()) };
                }
            };
            let record = Record::parse(header.version, raw.lsn, raw.bytes)?;
            writeln!(out, "{}", DumpLine { raw, record: &record })?;
        }
    }
    Ok(out.flush()?)
}
