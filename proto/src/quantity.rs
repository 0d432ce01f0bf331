//! Quantities of usage, exact.

use std::fmt;

/// An amount of usage in hundredths of the item's counted unit (a series, a log, a byte …).
///
/// Hundredths, because two items divide what they count: spans by 10 and RUM events by 100 (`domain.md` 4.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Quantity {
    /// Hundredths of a unit.
    pub hundredths: i64,
}

impl Quantity {
    /// No usage.
    pub const ZERO: Quantity = Quantity { hundredths: 0 };

    /// A whole number of units; `None` when it does not fit.
    pub fn whole(units: i64) -> Option<Quantity> {
        units.checked_mul(100).map(|hundredths| Quantity { hundredths })
    }

    /// The difference; `None` when it does not fit.
    pub fn checked_sub(self, other: Quantity) -> Option<Quantity> {
        self.hundredths.checked_sub(other.hundredths).map(|hundredths| Quantity { hundredths })
    }

    /// The sum; `None` when it does not fit.
    pub fn checked_add(self, other: Quantity) -> Option<Quantity> {
        self.hundredths.checked_add(other.hundredths).map(|hundredths| Quantity { hundredths })
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.hundredths < 0 { "-" } else { "" };
        let (units, rest) = (self.hundredths.unsigned_abs() / 100, self.hundredths.unsigned_abs() % 100);
        match rest {
            0 => write!(f, "{sign}{units}"),
            r if r % 10 == 0 => write!(f, "{sign}{units}.{}", r / 10),
            r => write!(f, "{sign}{units}.{r:02}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_without_needless_digits() {
        for (hundredths, text) in [(600_000, "6000"), (150, "1.5"), (-5, "-0.05"), (0, "0")] {
            assert_eq!(Quantity { hundredths }.to_string(), text);
        }
    }
}
