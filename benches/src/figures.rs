//! One figure of several runs, and how it is shown.

use std::time::Duration;

/// The one in the middle, or the mean of the two in the middle.
///
/// # Panics
/// There are none.
#[must_use]
pub fn median(figures: impl IntoIterator<Item = f64>) -> f64 {
    percentile(figures, 0.5)
}

/// The figure that this part of them (0 to 1) is not above, between two neighbours by their distance.
///
/// # Panics
/// There are none.
#[must_use]
pub fn percentile(figures: impl IntoIterator<Item = f64>, part: f64) -> f64 {
    let mut sorted: Vec<f64> = figures.into_iter().collect();
    assert!(!sorted.is_empty(), "nothing was measured");
    sorted.sort_by(f64::total_cmp);
    let place = part * (sorted.len() - 1) as f64;
    let (below, above) = (place.floor() as usize, place.ceil() as usize);
    sorted[below] + (sorted[above] - sorted[below]) * place.fract()
}

/// A count in groups of three digits.
#[must_use]
pub fn thousands(count: f64) -> String {
    let digits = format!("{:.0}", count.max(0.0));
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Microseconds for each of so many.
#[must_use]
pub fn micros_each(used: Duration, count: f64) -> f64 {
    used.as_secs_f64() * 1e6 / count.max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_stand_in_order() {
        assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(percentile((0..=100).map(f64::from), 0.99), 99.0);
        assert_eq!(percentile([5.0], 0.99), 5.0);
    }

    #[test]
    fn counts_are_shown_in_threes() {
        for (count, text) in
            [(0.0, "0"), (999.0, "999"), (1e3, "1,000"), (1_234_567.4, "1,234,567")]
        {
            assert_eq!(thousands(count), text);
        }
    }
}
