//! One value of a result: how a person reads it and how a script does. Money, quantities and times are exact.

use jiff::Timestamp;
use serde_json::{Value, json};
use tandem_proto::common::v1 as common;
use tandem_proto::money::{Currency, LineAmount, Money};
use tandem_proto::quantity::Quantity;

/// One value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell {
    /// There is none.
    Absent,
    /// A text or an identifier.
    Text(String),
    /// A whole number.
    Number(i64),
    /// Yes or no.
    Flag(bool),
    /// An instant, shown in UTC.
    Time(Timestamp),
    /// An amount in minor units.
    Money(Money),
    /// An amount with six places.
    Amount(LineAmount),
    /// Usage.
    Quantity(Quantity),
    /// Several texts.
    List(Vec<String>),
}

impl Cell {
    /// A text; an empty one is absent.
    pub fn text(text: impl Into<String>) -> Cell {
        let text = text.into();
        if text.is_empty() { Cell::Absent } else { Cell::Text(text) }
    }

    /// An enum value by its schema name without the enum's own prefix: `BILL_STATE_PAID` is `PAID`. Unspecified is
    /// absent.
    pub fn name(name: &str, prefix: &str) -> Cell {
        match name.strip_prefix(prefix).unwrap_or(name) {
            "UNSPECIFIED" => Cell::Absent,
            short => Cell::Text(short.to_owned()),
        }
    }

    /// A time of a message.
    pub fn time(time: Option<prost_types::Timestamp>) -> Cell {
        let instant = time.and_then(|t| Timestamp::new(t.seconds, t.nanos).ok());
        instant.map_or(Cell::Absent, Cell::Time)
    }

    /// Money of a message. A currency that is not ours is shown as it came.
    pub fn money(money: Option<&common::Money>) -> Cell {
        let Some(money) = money else { return Cell::Absent };
        match Money::from_message(money) {
            Some(money) => Cell::Money(money),
            None => Cell::Text(format!("{} minor units {}", money.minor_units, money.currency_code)),
        }
    }

    /// A line amount of a message. A currency that is not ours is shown as it came.
    pub fn amount(amount: Option<&common::LineAmount>) -> Cell {
        let Some(amount) = amount else { return Cell::Absent };
        match amount.currency_code.parse::<Currency>() {
            Ok(currency) => Cell::Amount(LineAmount { micros: amount.micros, currency }),
            Err(_) => Cell::Text(format!("{} millionths {}", amount.micros, amount.currency_code)),
        }
    }

    /// Usage in hundredths.
    pub fn quantity(hundredths: i64) -> Cell {
        Cell::Quantity(Quantity { hundredths })
    }

    /// As a person reads it.
    pub fn to_text(&self) -> String {
        match self {
            Cell::Absent => "-".to_owned(),
            // A value that came from outside must not be able to move the cursor or break the table.
            Cell::Text(text) => text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect(),
            Cell::Number(number) => number.to_string(),
            Cell::Flag(true) => "yes".to_owned(),
            Cell::Flag(false) => "no".to_owned(),
            Cell::Time(time) => time.strftime("%Y-%m-%d %H:%M:%SZ").to_string(),
            Cell::Money(money) => money.to_string(),
            Cell::Amount(amount) => amount.to_string(),
            Cell::Quantity(quantity) => quantity.to_string(),
            Cell::List(texts) if texts.is_empty() => "-".to_owned(),
            Cell::List(texts) => texts.join(", "),
        }
    }

    /// As a script reads it. Money is minor units, line amounts are micros, usage is a decimal text: all exact.
    pub fn to_json(&self) -> Value {
        match self {
            Cell::Absent => Value::Null,
            Cell::Text(text) => json!(text),
            Cell::Number(number) => json!(number),
            Cell::Flag(flag) => json!(flag),
            Cell::Time(time) => json!(time.to_string()),
            Cell::Money(money) => {
                json!({ "currency_code": money.currency.code(), "minor_units": money.minor })
            }
            Cell::Amount(amount) => {
                json!({ "currency_code": amount.currency.code(), "micros": amount.micros })
            }
            Cell::Quantity(quantity) => json!(quantity.to_string()),
            Cell::List(texts) => json!(texts),
        }
    }

    /// Numbers stand to the right, so that their digits line up.
    pub fn is_right_aligned(&self) -> bool {
        matches!(self, Cell::Number(_) | Cell::Money(_) | Cell::Amount(_) | Cell::Quantity(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_and_quantities_are_shown_exactly() {
        let money = common::Money { currency_code: "CNY".into(), minor_units: 9_007_199_254_740_993 };
        assert_eq!(Cell::money(Some(&money)).to_text(), "90071992547409.93 CNY");
        assert_eq!(Cell::money(Some(&money)).to_json()["minor_units"], 9_007_199_254_740_993_i64);
        assert_eq!(Cell::quantity(150).to_json(), json!("1.5"));
        let odd = common::Money { currency_code: "XAU".into(), minor_units: 3 };
        assert_eq!(Cell::money(Some(&odd)).to_text(), "3 minor units XAU");
    }

    #[test]
    fn a_foreign_text_cannot_break_a_table() {
        assert_eq!(Cell::text("a\x1b[2J\nb").to_text(), "a [2J b");
        assert_eq!(Cell::name("BILL_STATE_PAID", "BILL_STATE_").to_text(), "PAID");
        assert_eq!(Cell::name("BILL_STATE_UNSPECIFIED", "BILL_STATE_"), Cell::Absent);
    }
}
