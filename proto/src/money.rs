//! Money: the one place for amounts, currencies and rounding (`domain.md` D3).
//!
//! [`LineAmount`] has six decimal places and stands on bill lines; [`Money`] is whole minor units and is all that is
//! paid, posted and reported. Both carry their currency and offer only checked sums. There are no floats here.

use std::fmt;
use std::str::FromStr;

use crate::quantity::Quantity;

/// Micros (millionths of the major unit) in one minor unit.
pub const MICROS_PER_MINOR: i64 = 10_000;
const MICROS_PER_MAJOR: i64 = 1_000_000;

/// A currency the product is priced in. Amounts are never converted (D25).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Currency {
    /// Renminbi; the domestic Billing Center.
    Cny,
    /// United States dollar; the international Billing Center.
    Usd,
}

impl Currency {
    /// Every currency.
    pub const ALL: [Currency; 2] = [Currency::Cny, Currency::Usd];

    /// The ISO 4217 code.
    pub fn code(self) -> &'static str {
        match self {
            Currency::Cny => "CNY",
            Currency::Usd => "USD",
        }
    }
}

/// A text that is no currency of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be CNY or USD")]
pub struct UnknownCurrency;

impl FromStr for Currency {
    type Err = UnknownCurrency;
    fn from_str(text: &str) -> Result<Self, UnknownCurrency> {
        Currency::ALL.into_iter().find(|c| c.code() == text).ok_or(UnknownCurrency)
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// Why two amounts could not be combined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// The amounts are in two currencies.
    #[error("amounts in different currencies cannot be combined")]
    MixedCurrencies,
    /// The result does not fit.
    #[error("amount is out of range")]
    OutOfRange,
}

/// An amount in whole minor units (fen, cents).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Money {
    /// Minor units.
    pub minor: i64,
    /// The currency.
    pub currency: Currency,
}

impl Money {
    /// Nothing, in a currency.
    pub fn zero(currency: Currency) -> Money {
        Money { minor: 0, currency }
    }

    /// The sum.
    pub fn checked_add(self, other: Money) -> Result<Money, MoneyError> {
        let minor = self.same(other)?.minor.checked_add(other.minor).ok_or(MoneyError::OutOfRange)?;
        Ok(Money { minor, ..self })
    }

    /// The difference.
    pub fn checked_sub(self, other: Money) -> Result<Money, MoneyError> {
        let minor = self.same(other)?.minor.checked_sub(other.minor).ok_or(MoneyError::OutOfRange)?;
        Ok(Money { minor, ..self })
    }

    fn same(self, other: Money) -> Result<Money, MoneyError> {
        if self.currency == other.currency { Ok(self) } else { Err(MoneyError::MixedCurrencies) }
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.minor < 0 { "-" } else { "" };
        let minor = self.minor.unsigned_abs();
        write!(f, "{sign}{}.{:02} {}", minor / 100, minor % 100, self.currency)
    }
}

/// An amount with six decimal places, as it stands on a bill line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LineAmount {
    /// Millionths of the major unit.
    pub micros: i64,
    /// The currency.
    pub currency: Currency,
}

impl LineAmount {
    /// Nothing, in a currency.
    pub fn zero(currency: Currency) -> LineAmount {
        LineAmount { micros: 0, currency }
    }

    /// What a quantity costs: `quantity / unit_size × unit_price`, proportional, at six places, half away from zero.
    ///
    /// `unit_size` is how many counted units one price buys; it must be positive.
    pub fn of(quantity: Quantity, unit_size: i64, unit_price: LineAmount) -> Result<LineAmount, MoneyError> {
        let divisor = i128::from(unit_size) * 100;
        if divisor <= 0 {
            return Err(MoneyError::OutOfRange);
        }
        let product = i128::from(quantity.hundredths) * i128::from(unit_price.micros);
        let rounded = (product.abs() + divisor / 2) / divisor * product.signum();
        let micros = i64::try_from(rounded).map_err(|_| MoneyError::OutOfRange)?;
        Ok(LineAmount { micros, ..unit_price })
    }

    /// The sum.
    pub fn checked_add(self, other: LineAmount) -> Result<LineAmount, MoneyError> {
        if self.currency != other.currency {
            return Err(MoneyError::MixedCurrencies);
        }
        let micros = self.micros.checked_add(other.micros).ok_or(MoneyError::OutOfRange)?;
        Ok(LineAmount { micros, ..self })
    }
}

impl fmt::Display for LineAmount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.micros < 0 { "-" } else { "" };
        let micros = self.micros.unsigned_abs();
        let digits = format!("{:06}", micros % MICROS_PER_MAJOR.unsigned_abs());
        // At least two decimals, then only those that say something.
        let kept = digits.trim_end_matches('0').len().max(2);
        write!(f, "{sign}{}.{} {}", micros / MICROS_PER_MAJOR.unsigned_abs(), &digits[..kept], self.currency)
    }
}

/// Rounds a bill's sum half up to what is payable; also returns what rounding added.
///
/// Invariant: the sum plus the rounding equals the payable amount.
pub fn payable(sum: LineAmount) -> (Money, LineAmount) {
    let LineAmount { micros, currency } = sum;
    let above = micros.rem_euclid(MICROS_PER_MINOR);
    let rounding = if above < MICROS_PER_MINOR / 2 { -above } else { MICROS_PER_MINOR - above };
    let minor = micros.div_euclid(MICROS_PER_MINOR) + i64::from(rounding > 0);
    (Money { minor, currency }, LineAmount { micros: rounding, currency })
}

/// Reads a decimal such as `0.014` as micros. At most six places, no sign, no exponent.
pub fn parse_micros(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |t: &str| t.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || fraction.len() > 6 || !digits(whole) || !digits(fraction) {
        return None;
    }
    let fraction: i64 = format!("{fraction:0<6}").parse().ok()?;
    whole.parse::<i64>().ok()?.checked_mul(MICROS_PER_MAJOR)?.checked_add(fraction)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cny(micros: i64) -> LineAmount {
        LineAmount { micros, currency: Currency::Cny }
    }

    #[test]
    fn documented_lines_cost_what_the_documents_say() {
        for (units, size, price, want) in [
            (6_000, 1_000, "0.6", 3_600_000),
            (2_000_000, 1_000_000, "1.2", 2_400_000),
            (2_000_000, 1_000_000, "2", 4_000_000),
            (20_000, 10_000, "0.7", 1_400_000),
        ] {
            let price = cny(parse_micros(price).unwrap());
            assert_eq!(LineAmount::of(Quantity::whole(units).unwrap(), size, price), Ok(cny(want)));
        }
    }

    #[test]
    fn amounts_print_as_people_write_them() {
        assert_eq!(cny(3_600_000).to_string(), "3.60 CNY");
        assert_eq!(cny(-14_500).to_string(), "-0.0145 CNY");
        assert_eq!(Money { minor: -1340, currency: Currency::Usd }.to_string(), "-13.40 USD");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn sum_plus_rounding_is_the_payable(micros in i64::MIN / 2..i64::MAX / 2) {
            let (money, rounding) = payable(cny(micros));
            prop_assert_eq!(micros + rounding.micros, money.minor * MICROS_PER_MINOR);
            prop_assert!(rounding.micros > -MICROS_PER_MINOR / 2 && rounding.micros <= MICROS_PER_MINOR / 2);
        }

        #[test]
        fn a_line_is_never_off_by_more_than_half_a_micro(h in -1_000_000_000_000i64..1_000_000_000_000, size in 1i64..2_000_000_000, price in 0i64..100_000_000) {
            let line = LineAmount::of(Quantity { hundredths: h }, size, cny(price)).unwrap();
            let exact = i128::from(h) * i128::from(price);
            let got = i128::from(line.micros) * i128::from(size) * 100;
            prop_assert!((exact - got).abs() * 2 <= i128::from(size) * 100);
        }

        #[test]
        fn decimals_read_back(micros in 0i64..i64::MAX / 4) {
            let text = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
            prop_assert_eq!(parse_micros(&text), Some(micros));
        }
    }
}
