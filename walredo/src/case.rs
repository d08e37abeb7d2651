//! A request with its answers as a text, to be kept, sent and tried again.
//!
//! ```text
//! walredo case 1
//! version 15
//! page 1663/5/16384 7
//! hint-bits-logged false
//! base 0000…
//! record 0/16B3748 5600…
//! postgres 0000…
//! native 0000…
//! ```
//! `base` is `none` where the first record makes the page; `native` may be `error`, with what it said.

use std::fmt::{self, Write as _};

use pgdata::{Lsn, Object, PAGE_SIZE, Page, PageKey, PgVersion, RelTag};

use crate::{NativeRedo, PostgresRedo, Redo as _, RedoError, RedoRecord, RedoRequest};

const TITLE: &str = "walredo case 1";

/// A request, and what two engines made of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RedoCase {
    /// The version of PostgreSQL that wrote the records.
    pub version: PgVersion,
    /// The relation.
    pub rel: RelTag,
    /// The block.
    pub block: u32,
    /// Whether the cluster has data checksums or `wal_log_hints`.
    pub hint_bits_logged: bool,
    /// The base page.
    pub base: Option<Box<Page>>,
    /// The records with their ends, oldest first.
    pub records: Vec<(Lsn, Vec<u8>)>,
    /// The stock server's page.
    pub postgres: Box<Page>,
    /// The native engine's page, or its error.
    pub native: Result<Box<Page>, String>,
}

/// A text that is no case.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the case: {what}")]
pub struct CaseError {
    line: usize,
    what: String,
}

impl RedoCase {
    /// Has the native engine try again.
    ///
    /// # Errors
    /// Its [`RedoError`].
    pub fn native_again(&self) -> Result<Box<Page>, RedoError> {
        let records: Vec<_> = self.records.iter().map(|(lsn, bytes)| RedoRecord { lsn: *lsn, bytes }).collect();
        let mut page = self.base.clone().unwrap_or_else(|| Box::new([0; PAGE_SIZE]));
        let request = RedoRequest {
            version: self.version,
            key: PageKey::relation(self.rel, self.block),
            has_base: self.base.is_some(),
            records: &records,
        };
        NativeRedo::new(self.hint_bits_logged, None::<PostgresRedo>).redo(&request, &mut page)?;
        Ok(page)
    }

    /// A case of a request for a relation's page.
    pub(crate) fn of(
        request: &RedoRequest<'_>,
        hint_bits_logged: bool,
        base: &Page,
        postgres: &Page,
        native: Result<&Page, &RedoError>,
    ) -> Option<RedoCase> {
        let Object::Relation(rel) = request.key.object else { return None };
        Some(RedoCase {
            version: request.version,
            rel,
            block: request.key.block,
            hint_bits_logged,
            base: request.has_base.then(|| Box::new(*base)),
            records: request.records.iter().map(|record| (record.lsn, record.bytes.to_vec())).collect(),
            postgres: Box::new(*postgres),
            native: native.map(|page| Box::new(*page)).map_err(ToString::to_string),
        })
    }

    /// Reads what [`RedoCase`]'s `Display` writes.
    ///
    /// # Errors
    /// [`CaseError`] names the line that is not as it should be.
    pub fn parse(text: &str) -> Result<RedoCase, CaseError> {
        let mut lines = Lines { lines: text.lines().enumerate().peekable() };
        lines.expect(|line| (line == TITLE).then_some(()), TITLE)?;
        let version = lines.field("version", parse_version)?;
        let (rel, block) = lines.field("page", |text| {
            let (rel, block) = text.split_once(' ')?;
            Some((rel.parse().ok()?, block.parse().ok()?))
        })?;
        let hint_bits_logged = lines.field("hint-bits-logged", |text| text.parse().ok())?;
        let base = lines.field("base", |text| if text == "none" { Some(None) } else { page(text).map(Some) })?;
        let mut records = Vec::new();
        while lines.next_is("record ") {
            records.push(lines.field("record", |text| {
                let (lsn, bytes) = text.split_once(' ')?;
                Some((lsn.parse().ok()?, from_hex(bytes)?))
            })?);
        }
        let postgres = lines.field("postgres", page)?;
        let native = lines.field("native", |text| match text.strip_prefix("error ") {
            Some(error) => Some(Err(error.to_owned())),
            None => page(text).map(Ok),
        })?;
        Ok(RedoCase { version, rel, block, hint_bits_logged, base, records, postgres, native })
    }
}

impl fmt::Display for RedoCase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{TITLE}\nversion {}\npage {} {}", self.version, self.rel, self.block)?;
        writeln!(f, "hint-bits-logged {}", self.hint_bits_logged)?;
        writeln!(f, "base {}", self.base.as_deref().map_or_else(|| "none".to_owned(), |page| hex(page)))?;
        for (lsn, bytes) in &self.records {
            writeln!(f, "record {lsn} {}", hex(bytes))?;
        }
        writeln!(f, "postgres {}", hex(&self.postgres[..]))?;
        match &self.native {
            Ok(page) => writeln!(f, "native {}", hex(&page[..])),
            Err(error) => writeln!(f, "native error {}", error.replace('\n', " ")),
        }
    }
}

struct Lines<'t> {
    lines: std::iter::Peekable<std::iter::Enumerate<std::str::Lines<'t>>>,
}

impl Lines<'_> {
    fn expect<T>(&mut self, parse: impl FnOnce(&str) -> Option<T>, what: &str) -> Result<T, CaseError> {
        let (index, line) = self.lines.next().unwrap_or((usize::MAX - 1, ""));
        parse(line).ok_or_else(|| CaseError { line: index + 1, what: format!("expected {what}") })
    }

    fn field<T>(&mut self, name: &str, parse: impl FnOnce(&str) -> Option<T>) -> Result<T, CaseError> {
        self.expect(|line| parse(line.strip_prefix(name)?.strip_prefix(' ')?), name)
    }

    fn next_is(&mut self, prefix: &str) -> bool {
        self.lines.peek().is_some_and(|(_, line)| line.starts_with(prefix))
    }
}

fn parse_version(text: &str) -> Option<PgVersion> {
    PgVersion::ALL.into_iter().find(|version| version.to_string() == text)
}

fn page(text: &str) -> Option<Box<Page>> {
    let bytes: Box<[u8]> = from_hex(text)?.into();
    bytes.try_into().ok()
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    pairs.iter().map(|[high, low]| Some((digit(*high)? << 4 | digit(*low)?) as u8)).collect()
}

#[cfg(test)]
mod tests {
    use pgdata::Fork;

    use super::*;

    fn case() -> RedoCase {
        RedoCase {
            version: PgVersion::V17,
            rel: RelTag { spc: 1663, db: 5, rel: 16384, fork: Fork::Fsm },
            block: 7,
            hint_bits_logged: true,
            base: Some(Box::new([7; PAGE_SIZE])),
            records: vec![(Lsn(0x1_0000_0010), vec![1, 2, 0xFF]), (Lsn(0x1_0000_0100), vec![])],
            postgres: Box::new([8; PAGE_SIZE]),
            native: Err("no such item".to_owned()),
        }
    }

    #[test]
    fn a_case_is_read_as_it_was_written() {
        let other = RedoCase { base: None, native: Ok(Box::new([9; PAGE_SIZE])), records: vec![], ..case() };
        for case in [case(), other] {
            assert_eq!(RedoCase::parse(&case.to_string()), Ok(case));
        }
    }

    #[test]
    fn a_mistake_is_named_by_its_line() {
        let text = case().to_string().replace("block", "").replace("hint-bits-logged true", "hint-bits-logged maybe");
        assert_eq!(RedoCase::parse(&text).unwrap_err().to_string(), "line 4 of the case: expected hint-bits-logged");
        assert!(RedoCase::parse("").is_err());
    }
}
