//! Metrics as a monitoring system reads them: strictly.
//!
//! [`Exposition::parse`] takes nothing that the format does not allow, so that whatever a test reads out of it is also what Prometheus
//! would have read.

mod check;
mod line;
mod parse;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use anyhow::{Result, bail, ensure};

/// A text format.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExpositionFormat {
    /// Prometheus's own, version 0.0.4.
    Prometheus,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl ExpositionFormat {
    /// How a client asks for it.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            ExpositionFormat::Prometheus => "text/plain; version=0.0.4",
            ExpositionFormat::OpenMetrics => "application/openmetrics-text; version=1.0.0",
        }
    }
}

/// Label names with their values.
type Labels = BTreeMap<String, String>;

/// All samples of a text.
#[derive(Clone, Debug, Default)]
pub struct Exposition {
    /// By name and labels. In both formats the name is the sample's own: `…_total`, `…_bucket`.
    samples: BTreeMap<(String, Labels), f64>,
}

impl Exposition {
    /// Reads a whole text.
    ///
    /// # Errors
    /// If any of it is not as the format wants it, with the line.
    pub fn parse(text: &str, format: ExpositionFormat) -> Result<Exposition> {
        let families = parse::families(text, format)?;
        families.iter().try_for_each(|family| check::family(family, format))?;
        let mut samples = BTreeMap::new();
        for sample in families.into_iter().flat_map(|family| family.samples) {
            let key = (sample.name, sample.labels);
            ensure!(!samples.contains_key(&key), "{key:?} is there twice");
            samples.insert(key, sample.value);
        }
        Ok(Exposition { samples })
    }

    /// The samples of a name that have these labels, and perhaps more.
    fn matching(&self, name: &str, labels: &[(&str, &str)]) -> impl Iterator<Item = f64> {
        let has_all = |own: &Labels| labels.iter().all(|(name, value)| own.get(*name).is_some_and(|own| own == value));
        self.samples.iter().filter(move |((own, its), _)| own == name && has_all(its)).map(|(_, value)| *value)
    }

    /// The one sample of this name with these labels, and perhaps more.
    ///
    /// # Errors
    /// If there is none, or more than one.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Result<f64> {
        match self.matching(name, labels).collect::<Vec<_>>()[..] {
            [value] => Ok(value),
            ref values => bail!("{} samples of {name} have the labels {labels:?}: expected one", values.len()),
        }
    }

    /// All samples of this name with these labels together; 0 if there are none.
    #[must_use]
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.matching(name, labels).sum()
    }
}
