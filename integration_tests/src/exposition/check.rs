//! What has to hold within a family.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};

use super::line::{Sample, bound};
use super::parse::{Family, Kind};
use super::{ExpositionFormat, Labels};

/// Checks names, numbers and buckets.
pub fn family(family: &Family, format: ExpositionFormat) -> Result<()> {
    let Family { name, kind, unit, samples } = family;
    if let Some(unit) = unit {
        ensure!(name.ends_with(&format!("_{unit}")), "{name} does not end with its unit, {unit}");
    }
    let openmetrics = format == ExpositionFormat::OpenMetrics;
    let names: Vec<String> = match kind {
        Kind::Counter if openmetrics => vec![format!("{name}_total")],
        Kind::Counter => {
            ensure!(name.ends_with("_total"), "the counter {name} does not end with _total");
            vec![name.clone()]
        }
        Kind::Gauge => vec![name.clone()],
        Kind::Histogram => vec![format!("{name}_bucket"), format!("{name}_sum"), format!("{name}_count")],
        Kind::Info => vec![format!("{name}_info")],
    };
    for sample in samples {
        one(sample, &names, *kind).with_context(|| format!("{sample:?} of {name}"))?;
    }
    if *kind == Kind::Histogram { histograms(name, samples) } else { Ok(()) }
}

fn one(sample: &Sample, names: &[String], kind: Kind) -> Result<()> {
    ensure!(names.contains(&sample.name), "is not one of {names:?}");
    ensure!(sample.value.is_finite(), "is no finite number");
    ensure!(kind == Kind::Gauge || sample.value >= 0.0, "is negative");
    ensure!(kind != Kind::Info || sample.value == 1.0, "is not 1");
    ensure!(sample.labels.contains_key("le") == sample.name.ends_with("_bucket"), "has a bound, or none");
    Ok(())
}

#[derive(Default)]
struct Histogram {
    buckets: Vec<(f64, f64)>,
    count: Option<f64>,
    sum: Option<f64>,
}

fn histograms(name: &str, samples: &[Sample]) -> Result<()> {
    let mut all = BTreeMap::<Labels, Histogram>::new();
    for sample in samples {
        let mut labels = sample.labels.clone();
        let le = labels.remove("le");
        let histogram = all.entry(labels).or_default();
        match le {
            Some(le) => histogram.buckets.push((bound(&le)?, sample.value)),
            None if sample.name.ends_with("_count") => histogram.count = Some(sample.value),
            None => histogram.sum = Some(sample.value),
        }
    }
    for (labels, Histogram { buckets, count, sum }) in all {
        let rising = buckets.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1);
        ensure!(rising, "the buckets of {name}{labels:?} do not rise: {buckets:?}");
        let (last, all) = *buckets.last().with_context(|| format!("{name}{labels:?} has no buckets"))?;
        ensure!(last == f64::INFINITY, "{name}{labels:?} has no bucket for everything");
        ensure!(count == Some(all) && sum.is_some(), "{name}{labels:?} counts {count:?} and has {all} in its buckets");
    }
    Ok(())
}
