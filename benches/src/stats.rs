//! Rates, ratios and their middle. The one place with floating-point numbers: nothing here is money.
#![expect(clippy::float_arithmetic, reason = "rates and ratios of measured times are no money")]

use std::time::Duration;

/// How many a second.
pub(crate) fn rate(count: u32, took: Duration) -> f64 {
    f64::from(count) / took.as_secs_f64().max(f64::MIN_POSITIVE)
}

/// How many times the second the first is.
pub(crate) fn ratio(ours: f64, reference: f64) -> f64 {
    if reference == 0.0 { f64::NAN } else { ours / reference }
}

/// KiB as MiB.
pub(crate) fn mebibytes(kibibytes: u32) -> f64 {
    f64::from(kibibytes) / 1024.0
}

/// The middle, the least and the greatest of some numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    /// The middle one; of an even number of them the mean of the two in the middle.
    pub(crate) median: f64,
    /// The least.
    pub(crate) min: f64,
    /// The greatest.
    pub(crate) max: f64,
}

/// Spreads numbers out; `None` when there are none.
pub(crate) fn spread(numbers: impl IntoIterator<Item = f64>) -> Option<Spread> {
    let mut sorted: Vec<f64> = numbers.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    let (min, max) = (*sorted.first()?, *sorted.last()?);
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = *sorted.get((sorted.len() - 1) / 2)?;
    Some(Spread { median: (lower + upper) / 2.0, min, max })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        let odd = spread([3.0, 1.0, 2.0]).unwrap();
        assert_eq!((odd.median, odd.min, odd.max), (2.0, 1.0, 3.0));
        assert_eq!(spread([4.0, 1.0, 2.0, 3.0]).unwrap().median, 2.5);
        assert_eq!(spread([]), None);
    }

    #[test]
    fn a_ratio_to_nothing_is_no_number() {
        assert!(ratio(1.0, 0.0).is_nan());
        assert_eq!(ratio(1.0, 2.0), 0.5);
        assert_eq!(rate(10, Duration::from_secs(2)), 5.0);
    }
}
