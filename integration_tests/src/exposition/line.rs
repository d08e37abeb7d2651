//! One line of the formats.

use std::iter::Peekable;
use std::str::Chars;

use anyhow::{Context, Result, bail, ensure};

use super::Labels;

/// What a line can be.
#[derive(Clone, PartialEq, Debug)]
pub enum Line {
    Help(String, String),
    Type(String, String),
    Unit(String, String),
    Eof,
    Sample(Sample),
}

/// One number.
#[derive(Clone, PartialEq, Debug)]
pub struct Sample {
    pub name: String,
    pub labels: Labels,
    pub value: f64,
}

/// Reads a line, without its end.
pub fn parse(line: &str) -> Result<Line> {
    let Some(comment) = line.strip_prefix('#') else { return sample(line).map(Line::Sample) };
    if comment == " EOF" {
        return Ok(Line::Eof);
    }
    let mut words = comment.splitn(4, ' ');
    let (Some(""), Some(keyword), Some(name), Some(text)) = (words.next(), words.next(), words.next(), words.next())
    else {
        bail!("a comment that is none of HELP, TYPE and UNIT");
    };
    ensure!(is_name(name, true), "{name:?} is no name of a metric");
    ensure!(!text.is_empty(), "{keyword} says nothing");
    let (name, text) = (name.to_owned(), text.to_owned());
    Ok(match keyword {
        "HELP" => Line::Help(name, text),
        "TYPE" => Line::Type(name, text),
        "UNIT" => Line::Unit(name, text),
        _ => bail!("{keyword} is none of HELP, TYPE and UNIT"),
    })
}

fn is_name(text: &str, of_metric: bool) -> bool {
    let may_begin = |c: char| c.is_ascii_alphabetic() || c == '_' || (of_metric && c == ':');
    text.starts_with(may_begin) && text.chars().all(|c| may_begin(c) || c.is_ascii_digit())
}

fn sample(line: &str) -> Result<Sample> {
    let end = line.find(['{', ' ']).context("a name without a value")?;
    let (name, rest) = line.split_at(end);
    ensure!(is_name(name, true), "{name:?} is no name of a metric");
    let mut chars = rest.chars().peekable();
    let labels = if chars.next_if_eq(&'{').is_some() { labels(&mut chars)? } else { Labels::new() };
    ensure!(chars.next() == Some(' '), "no blank before the value");
    // There are no timestamps and no exemplars here.
    let value: String = chars.collect();
    Ok(Sample { name: name.to_owned(), labels, value: number(&value)? })
}

fn labels(chars: &mut Peekable<Chars<'_>>) -> Result<Labels> {
    let mut labels = Labels::new();
    loop {
        let mut name = String::new();
        while let Some(c) = chars.next_if(|c| *c != '=') {
            name.push(c);
        }
        ensure!(is_name(&name, false), "{name:?} is no name of a label");
        ensure!(chars.next() == Some('=') && chars.next() == Some('"'), "the label {name} has no value in quotes");
        let value = quoted(chars)?;
        ensure!(labels.insert(name.clone(), value).is_none(), "the label {name} is there twice");
        match chars.next() {
            Some(',') => {}
            Some('}') => return Ok(labels),
            other => bail!("{other:?} follows the label {name}"),
        }
    }
}

/// What is between quotes, the first of which has been read.
fn quoted(chars: &mut Peekable<Chars<'_>>) -> Result<String> {
    let mut value = String::new();
    loop {
        match chars.next().context("a value without its closing quote")? {
            '"' => return Ok(value),
            '\\' => value.push(match chars.next() {
                Some('n') => '\n',
                Some(c @ ('\\' | '"')) => c,
                other => bail!("{other:?} cannot be escaped"),
            }),
            c => value.push(c),
        }
    }
}

/// A number as Go writes and reads it.
fn number(text: &str) -> Result<f64> {
    match text {
        "+Inf" => Ok(f64::INFINITY),
        "-Inf" => Ok(f64::NEG_INFINITY),
        "NaN" => Ok(f64::NAN),
        _ if text.starts_with(|c: char| c.is_ascii_digit() || c == '-') => Ok(text.parse()?),
        _ => bail!("{text:?} is no number"),
    }
}

/// The bound of a bucket.
pub fn bound(text: &str) -> Result<f64> {
    number(text).with_context(|| format!("the bound {text:?}"))
}
