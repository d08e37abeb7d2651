//! Figures next to several others of the same rounds.

use integration_tests::program::say;

/// Prints ours, and a line for each of the others with the median of the rounds' ratios.
pub fn print(unit: &str, ours: &[f64], others: &[(&str, &[f64])]) {
    say(&format!("{:28}  {:>10.0} {unit}", "ours", median(ours)));
    for (name, values) in others {
        let ratios: Vec<f64> = ours.iter().zip(*values).map(|(ours, other)| ours / other).collect();
        say(&format!("{name:28}  {:>10.0} {unit}   ours is {:.2} times that", median(values), median(&ratios)));
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match (sorted.len(), sorted.len() / 2) {
        (0, _) => f64::NAN,
        (len, middle) if len % 2 == 0 => f64::midpoint(sorted[middle - 1], sorted[middle]),
        (_, middle) => sorted[middle],
    }
}
