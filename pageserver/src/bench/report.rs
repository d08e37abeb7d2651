//! What was measured, for people and for programs.

use std::fmt::Write as _;

use anyhow::Result;
use serde::Serialize;

use crate::remote;

/// The figures of one run.
#[derive(Debug, Serialize)]
pub struct Report {
    /// What was measured, and how: sentences for whoever reads the figures.
    pub method: Vec<String>,
    /// The figures.
    pub figures: Vec<Figure>,
}

/// One figure beside its floor: medians over the rounds.
#[derive(Debug, Serialize)]
pub struct Figure {
    /// What it is of.
    pub what: String,
    /// What it is counted in.
    pub unit: &'static str,
    /// This program's.
    pub ours: f64,
    /// What the floor is.
    pub floor_is: String,
    /// The floor's, where there is one.
    pub floor: Option<f64>,
    /// Ours divided by the floor's, the median of each round's.
    pub ratio: Option<f64>,
}

impl Figure {
    /// A figure and its floor, one of each for every round.
    pub fn paired(what: impl Into<String>, unit: &'static str, floor_is: &str, ours: &[f64], floor: &[f64]) -> Figure {
        let ratios: Vec<f64> = ours.iter().zip(floor).map(|(ours, floor)| ours / floor).collect();
        Figure {
            what: what.into(),
            unit,
            ours: median(ours),
            floor_is: floor_is.to_owned(),
            floor: Some(median(floor)),
            ratio: Some(median(&ratios)),
        }
    }
}

/// The middle one; of an even number the mean of the two in the middle; of none not a number.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match (sorted.len(), sorted.len() / 2) {
        (0, _) => f64::NAN,
        (len, middle) if len % 2 == 0 => f64::midpoint(sorted[middle - 1], sorted[middle]),
        (_, middle) => sorted[middle],
    }
}

impl Report {
    /// Prints it: as a table, or as JSON.
    pub fn print(&self, json: bool) -> Result<()> {
        let text = if json { format!("{}\n", serde_json::to_string_pretty(self)?) } else { self.table()? };
        remote::print(&text)
    }

    fn table(&self) -> Result<String> {
        let mut text = String::new();
        self.method.iter().try_for_each(|sentence| writeln!(text, "{sentence}"))?;
        let width = self.figures.iter().map(|figure| figure.what.chars().count()).max().unwrap_or(0);
        writeln!(text, "\n{:width$}  {:>12}  {:>12}  {:>6}", "", "ours", "floor", "ratio")?;
        for figure in &self.figures {
            let floor = figure.floor.map(number).unwrap_or_default();
            let ratio = figure.ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default();
            let (what, ours) = (&figure.what, number(figure.ours));
            writeln!(
                text,
                "{what:width$}  {ours:>12}  {floor:>12}  {ratio:>6}  {}; floor: {}",
                figure.unit, figure.floor_is
            )?;
        }
        Ok(text)
    }
}

/// Three digits that count, and more for what is larger.
fn number(value: f64) -> String {
    let decimals = match value.abs() {
        ..1.0 => 3,
        1.0..10.0 => 2,
        10.0..100.0 => 1,
        _ => 0,
    };
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_the_middle_one() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn a_ratio_is_that_of_the_rounds_and_not_of_the_medians() {
        // The machine was twice as slow in the second round, for both.
        let figure = Figure::paired("read", "µs", "echo", &[10.0, 20.0, 12.0], &[5.0, 10.0, 8.0]);
        assert_eq!((figure.ours, figure.floor, figure.ratio), (12.0, Some(8.0), Some(2.0)));
    }

    #[test]
    fn a_table_has_a_line_for_each_figure() {
        let figures = vec![Figure::paired("read", "µs", "echo", &[123.4], &[9.87])];
        let text = Report { method: vec!["Method.".to_owned()], figures }.table().expect("a table");
        assert!(text.contains("read           123          9.87   12.50  µs; floor: echo\n"), "{text}");
    }
}
