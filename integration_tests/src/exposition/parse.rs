//! From lines to families.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail, ensure};

use super::ExpositionFormat;
use super::line::{self, Line, Sample};

/// What a family's type is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
    Info,
}

/// Metrics of one name.
#[derive(Clone, Debug)]
pub struct Family {
    pub name: String,
    pub kind: Kind,
    pub unit: Option<String>,
    pub samples: Vec<Sample>,
}

/// A family of which not everything has been read yet.
struct Open {
    name: String,
    help: bool,
    kind: Option<Kind>,
    unit: Option<String>,
    samples: Vec<Sample>,
}

impl Open {
    fn close(self) -> Result<Family> {
        let Open { name, help, kind, unit, samples } = self;
        ensure!(help, "{name} is not explained");
        let kind = kind.with_context(|| format!("{name} has no type"))?;
        Ok(Family { name, kind, unit, samples })
    }
}

struct Reader {
    format: ExpositionFormat,
    families: Vec<Family>,
    names: BTreeSet<String>,
    open: Option<Open>,
}

/// Reads a whole text.
pub fn families(text: &str, format: ExpositionFormat) -> Result<Vec<Family>> {
    ensure!(text.ends_with('\n') && !text.contains('\r'), "the last line has no end, or there are carriage returns");
    let mut reader = Reader { format, families: Vec::new(), names: BTreeSet::new(), open: None };
    let mut lines = text.lines().peekable();
    while let Some(text) = lines.next() {
        let at_end = lines.peek().is_none();
        line::parse(text)
            .and_then(|line| reader.take(line, at_end))
            .with_context(|| format!("in the line {text:?}"))?;
    }
    reader.finish()
}

impl Reader {
    fn take(&mut self, line: Line, at_end: bool) -> Result<()> {
        let openmetrics = self.format == ExpositionFormat::OpenMetrics;
        ensure!(!(openmetrics && at_end) || line == Line::Eof, "the last line is not # EOF");
        match line {
            Line::Eof => ensure!(openmetrics && at_end, "the end is not here"),
            Line::Help(name, _) => {
                let family = self.family(&name)?;
                ensure!(!std::mem::replace(&mut family.help, true), "{name} is explained twice");
            }
            Line::Type(name, text) => {
                let kind = kind(&text, openmetrics)?;
                let family = self.family(&name)?;
                ensure!(family.kind.replace(kind).is_none(), "{name} has two types");
            }
            Line::Unit(name, unit) => {
                ensure!(openmetrics, "units are not said in this format");
                let family = self.family(&name)?;
                ensure!(family.unit.replace(unit).is_none(), "{name} has two units");
            }
            Line::Sample(sample) => match &mut self.open {
                Some(family) => family.samples.push(sample),
                None => bail!("a sample of no family"),
            },
        }
        Ok(())
    }

    /// The family that something is said of: the open one, or a new one.
    fn family(&mut self, name: &str) -> Result<&mut Open> {
        if self.open.as_ref().is_none_or(|open| open.name != name) {
            self.close()?;
            ensure!(self.names.insert(name.to_owned()), "{name} is in two places");
            let name = name.to_owned();
            self.open = Some(Open { name, help: false, kind: None, unit: None, samples: Vec::new() });
        }
        let family = self.open.as_mut().context("no family")?;
        ensure!(family.samples.is_empty(), "something is said of {name} after its first sample");
        Ok(family)
    }

    fn close(&mut self) -> Result<()> {
        self.families.extend(self.open.take().map(Open::close).transpose()?);
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<Family>> {
        self.close()?;
        Ok(self.families)
    }
}

fn kind(text: &str, openmetrics: bool) -> Result<Kind> {
    Ok(match text {
        "counter" => Kind::Counter,
        "gauge" => Kind::Gauge,
        "histogram" => Kind::Histogram,
        "info" if openmetrics => Kind::Info,
        _ => bail!("the type {text} is not expected"),
    })
}
